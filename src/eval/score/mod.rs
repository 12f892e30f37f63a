//! Scores: the confusion matrix, what is counted for each image, and the numbers made of them.

pub mod confusion;
pub mod masks;
pub mod metrics;
pub mod pass;
pub mod per_image;
pub mod reference_metric;
pub mod robustness;
