//! Pictures for people to look at. Called by `sweep corrupt`.

mod font;
pub mod sheet;
