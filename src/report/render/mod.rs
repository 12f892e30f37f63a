//! A table as text, one file a format.

pub(super) mod csv;
pub(super) mod json;
pub(super) mod markdown;
pub(super) mod terminal;
