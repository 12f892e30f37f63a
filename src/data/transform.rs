//! Resizing and normalising.
