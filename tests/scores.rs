//! Confusion matrix and scores against the reference project's own numbers.
//!
//! `tests/data/scores/v2_reg.safetensors` holds two predictions of a tiny model for the same two
//! images, `[2, 56, 70]` with 6 classes, and the confusion matrices (rows are the truth).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use dino_sweep::eval::score::confusion::Confusion;
use dino_sweep::eval::score::metrics::{metrics, miou_union};
use dino_sweep::eval::score::reference_metric::{ReferenceMetric, VoidIs};
use safetensors::SafeTensors;

const N_CLASSES: usize = 6;
const IMAGE_PIXELS: usize = 56 * 70;

/// Scores of one prediction, as the reference's code printed them.
struct Expected {
    case: &'static str,
    reference_metric: f64,
    miou: f64,
    pixel_accuracy: f64,
}

#[test]
fn scores_match_the_reference_project() {
    check(&Expected {
        case: "linear",
        reference_metric: 0.061_846_312_135_457_99,
        miou: 0.032_001_452_707_010_33,
        pixel_accuracy: 0.111_238_367_931_281_32,
    });
    check(&Expected {
        case: "linear_nolora",
        reference_metric: 0.165_293_157_100_677_5,
        miou: 0.043_678_449_533_032_55,
        pixel_accuracy: 0.147_315_676_449_534_72,
    });
}

fn check(expected: &Expected) {
    let bytes = fs_err::read("tests/data/scores/v2_reg.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let truth = file.tensor("target").unwrap();
    let predicted = file.tensor(&format!("{}.argmax", expected.case)).unwrap();
    let counts = file.tensor(&format!("{}.confusion", expected.case)).unwrap();

    let mut reference = ReferenceMetric::new(2, VoidIs::LeftOut);
    let mut confusion = Confusion::new(N_CLASSES);
    let images = truth.data().chunks(IMAGE_PIXELS).zip(predicted.data().chunks(IMAGE_PIXELS));
    for (truth, predicted) in images {
        let mut image = Confusion::new(N_CLASSES);
        image.add(truth, predicted);
        confusion.merge(&image);
        reference.add_image(truth, predicted);
    }

    let rows: Vec<u64> = (0..N_CLASSES).flat_map(|class| confusion.row(class)).copied().collect();
    let expected_rows: Vec<u64> = counts
        .data()
        .chunks_exact(4)
        .map(|bytes| u64::from(u32::from_le_bytes(bytes.try_into().unwrap())))
        .collect();
    assert_eq!(rows, expected_rows, "{}", expected.case);

    let scores = metrics(&confusion, reference.value(), 2);
    let close = |name: &str, ours: f64, theirs: f64, tolerance: f64| {
        assert!((ours - theirs).abs() < tolerance, "{} {name}: {ours} {theirs}", expected.case);
    };
    close("miou", scores.miou.unwrap(), expected.miou, 1e-15);
    // Every class is present, so both rules agree.
    close("miou_union", miou_union(&confusion).unwrap(), expected.miou, 1e-15);
    close("pixel accuracy", scores.pixel_accuracy.unwrap(), expected.pixel_accuracy, 1e-15);
    // PyTorch divides in f32.
    close("reference", scores.reference_metric.unwrap(), expected.reference_metric, 1e-8);
    assert_eq!((scores.classes_present, scores.n_images), (6, 2));
}
