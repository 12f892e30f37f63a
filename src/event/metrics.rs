//! The numbers of one pass over an evaluation set.

use serde::{Deserialize, Serialize};

/// Scores of one pass over an evaluation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Mean IoU over the classes present in the ground truth, 0 to 1. This and the other means are
    /// `None` (null on the wire) where nothing is labelled: 0/0 is no score, and never 0.
    pub miou: Option<f64>,
    pub classes_present: u32,
    pub classes_total: u32,
    /// IoU of each class; `None` where the class is absent from the ground truth.
    pub iou_per_class: Vec<Option<f64>>,
    /// Correct pixels over labelled pixels.
    pub pixel_accuracy: Option<f64>,
    /// Mean over present classes of per-class recall.
    pub accuracy_mean: Option<f64>,
    /// The reference project's own number (bitwise and/or of class ids); **not** an mIoU.
    pub reference_metric: Option<f64>,
    pub n_images: u64,
    /// Labelled (not void) pixels.
    pub n_pixels: u64,
    /// IoU weighted by each class's share of the ground truth; `None` in journals older than this
    /// field.
    #[serde(default)]
    pub iou_frequency_weighted: Option<f64>,
    /// mmseg's mean, over the classes that the ground truth or the prediction has.
    #[serde(default)]
    pub miou_union: Option<f64>,
}
