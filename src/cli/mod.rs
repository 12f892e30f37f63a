//! One file a verb; the only module that prints.
