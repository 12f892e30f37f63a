//! Confusion counts on the host.

use crate::data::VOID;

pub(super) fn counts(truth: &[u8], predicted: &[u8], n_classes: usize) -> Vec<u64> {
    let mut counts = vec![0; n_classes * n_classes];
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        if truth == VOID {
            continue;
        }
        let (truth, predicted) = (usize::from(truth), usize::from(predicted));
        assert!(
            truth < n_classes && predicted < n_classes,
            "class {truth} predicted as {predicted}, of {n_classes}"
        );
        counts[truth * n_classes + predicted] += 1;
    }
    counts
}
