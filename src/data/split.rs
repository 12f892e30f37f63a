//! Splits of a dataset.
