//! Scores: the confusion matrix, the counts of each image, and the numbers computed from them.

pub mod confusion;
pub mod masks;
pub mod metrics;
pub mod pass;
pub mod per_image;
pub mod reference_metric;
pub mod robustness;
