//! One file a verb; the only module that prints.

pub mod index;
pub mod printer;
pub mod readme;
pub mod show;
pub mod table;
