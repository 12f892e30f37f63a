//! Pictures for people.

mod font;
pub mod sheet;
