//! Scores from a confusion matrix, for the passes over a set and for `sweep score`.

use super::confusion::Confusion;
use crate::event::Metrics;

/// Computes all scores of one pass over an evaluation set.
///
/// A class is present if the ground truth has a pixel of it; means are over present classes, in
/// the order of their indices. Where nothing is labelled no score is defined.
pub fn metrics(confusion: &Confusion, reference_metric: Option<f64>, n_images: u64) -> Metrics {
    let present: Vec<_> =
        (0..confusion.n_classes()).filter(|&class| confusion.row_sum(class) > 0).collect();
    let hits: u64 = present.iter().map(|&class| confusion.hits(class)).sum();
    Metrics {
        miou: mean(present.iter().filter_map(|&class| iou(confusion, class))),
        classes_present: present.len() as u32,
        classes_total: confusion.n_classes() as u32,
        iou_per_class: (0..confusion.n_classes())
            .map(|class| iou(confusion, class).filter(|_| confusion.row_sum(class) > 0))
            .collect(),
        pixel_accuracy: ratio(hits, confusion.total()),
        accuracy_mean: mean(
            present
                .iter()
                .filter_map(|&class| ratio(confusion.hits(class), confusion.row_sum(class))),
        ),
        reference_metric,
        n_images,
        n_pixels: confusion.total(),
        iou_frequency_weighted: iou_frequency_weighted(confusion),
        miou_union: miou_union(confusion),
    }
}

/// The mean of the classes' IoU, each weighted by its share of the labelled pixels.
fn iou_frequency_weighted(confusion: &Confusion) -> Option<f64> {
    let total = confusion.total();
    let share = |class| confusion.row_sum(class) as f64 / total as f64;
    let weighted =
        (0..confusion.n_classes()).filter_map(|class| Some(iou(confusion, class)? * share(class)));
    (total > 0).then(|| weighted.sum())
}

/// mmseg's mIoU: the mean over the classes that the ground truth *or the prediction* has. Not the
/// mIoU of the tables.
pub fn miou_union(confusion: &Confusion) -> Option<f64> {
    mean((0..confusion.n_classes()).filter_map(|class| iou(confusion, class)))
}

/// Intersection over union; `None` where the class is neither in the truth nor predicted.
fn iou(confusion: &Confusion, class: usize) -> Option<f64> {
    let hits = confusion.hits(class);
    ratio(hits, confusion.row_sum(class) + confusion.column_sum(class) - hits)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The mean of the values; `None` for no values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::VOID;

    fn score(n_classes: usize, truth: &[u8], predicted: &[u8]) -> (Metrics, f64) {
        let mut confusion = Confusion::new(n_classes);
        confusion.add(truth, predicted);
        (metrics(&confusion, Some(0.25), 1), miou_union(&confusion).unwrap_or(f64::NAN))
    }

    fn close(a: impl Into<Option<f64>>, b: f64) -> bool {
        a.into().is_some_and(|a| (a - b).abs() < 1e-12)
    }

    #[test]
    fn means_are_over_the_classes_of_the_ground_truth() {
        // Class 3 is predicted but absent: it costs class 0 its hit, and no more.
        let (scores, union) = score(5, &[0, 0, 1, 1, VOID], &[0, 3, 1, 0, 1]);
        assert_eq!((scores.classes_present, scores.classes_total, scores.n_pixels), (2, 5, 4));
        assert_eq!(scores.iou_per_class, [Some(1.0 / 3.0), Some(0.5), None, None, None]);
        assert!(close(scores.miou, 5.0 / 12.0));
        assert!(close(union, (1.0 / 3.0 + 0.5) / 3.0));
        assert!(close(scores.pixel_accuracy, 0.5) && close(scores.accuracy_mean, 0.5));
        assert!(close(scores.reference_metric, 0.25));
    }

    #[test]
    fn accuracies_weigh_pixels_or_classes() {
        let (scores, _) = score(2, &[0, 0, 0, 1], &[0, 0, 0, 0]);
        assert!(close(scores.pixel_accuracy, 0.75) && close(scores.accuracy_mean, 0.5));
        assert!(close(scores.miou, 0.75 / 2.0));
        assert!(close(scores.iou_frequency_weighted, 0.75 * 0.75));
    }

    #[test]
    fn where_nothing_is_labelled_no_score_is_defined() {
        let (scores, _) = score(2, &[VOID], &[1]);
        let Metrics { miou, pixel_accuracy, accuracy_mean, .. } = scores;
        assert_eq!([miou, pixel_accuracy, accuracy_mean], [None; 3]);
        assert_eq!([scores.iou_frequency_weighted, scores.miou_union], [None; 2]);
        assert_eq!((scores.classes_present, scores.n_pixels), (0, 0));
        assert_eq!(scores.iou_per_class, [None, None]);
    }

    /// Checks undefined scores as JSON, and journals that were written before scores could be
    /// undefined.
    #[test]
    fn what_is_undefined_is_null_and_older_journals_are_read() {
        let (scores, _) = score(2, &[VOID], &[1]);
        let json = serde_json::to_value(&scores).unwrap();
        for key in ["miou", "pixel_accuracy", "accuracy_mean", "iou_frequency_weighted"] {
            assert_eq!(json[key], serde_json::Value::Null, "{key}");
        }
        assert_eq!(serde_json::from_value::<Metrics>(json).unwrap(), scores);
        let old = r#"{"miou":0.5,"classes_present":1,"classes_total":2,"iou_per_class":[0.5,null],
            "pixel_accuracy":0.75,"accuracy_mean":0.75,"reference_metric":0.9,"n_images":1,
            "n_pixels":4}"#;
        let old: Metrics = serde_json::from_str(old).unwrap();
        assert_eq!((old.miou, old.reference_metric, old.miou_union), (Some(0.5), Some(0.9), None));
    }
}
