//! reference_metric
