//! Turns written values into cells, for the loader: assignments of keys, layers of them, and the
//! grid multiplied out.

pub(super) mod assign;
pub(super) mod draft;
pub(super) mod settings;
pub(super) mod expand;
