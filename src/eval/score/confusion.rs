//! The confusion matrix: exact pixel counts, so that scores do not depend on the order of images.

use crate::data::VOID;
use crate::kernel::confusion::counts_of;

/// Pixel counts, `[n_classes, n_classes]`: rows are the truth, columns the prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    n_classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix over `n_classes` classes.
    ///
    /// # Panics
    /// Where `n_classes` is above 255: index 255 is [`VOID`].
    pub fn new(n_classes: usize) -> Self {
        assert!(n_classes <= usize::from(VOID), "class indices end below the void index");
        Self { n_classes, counts: vec![0; n_classes * n_classes] }
    }

    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Counts the pixels of one image; those whose truth is [`VOID`] are left out.
    ///
    /// # Panics
    /// Where the slices differ in length or a class is `n_classes` or above: masks are checked
    /// when they are read, predictions are an argmax over the classes.
    pub fn add(&mut self, truth: &[u8], predicted: &[u8]) {
        self.add_counts(&counts_of(truth, predicted, self.n_classes));
    }

    /// Adds an image's counts, row-major.
    ///
    /// # Panics
    /// Where they are not over the same classes.
    pub fn add_counts(&mut self, counts: &[u64]) {
        assert_eq!(counts.len(), self.counts.len(), "counts over the same classes");
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    /// Adds `pixels` of `truth` that were predicted as `predicted`.
    ///
    /// # Panics
    /// Where a class is `n_classes` or above.
    pub fn add_count(&mut self, truth: usize, predicted: usize, pixels: u64) {
        assert!(truth < self.n_classes && predicted < self.n_classes, "a class of the matrix");
        self.counts[truth * self.n_classes + predicted] += pixels;
    }

    /// Adds the counts of `other`.
    ///
    /// # Panics
    /// Where the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.n_classes, other.n_classes, "matrices over the same classes");
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// Pixels of `class` in the ground truth.
    pub fn row_sum(&self, class: usize) -> u64 {
        self.row(class).iter().sum()
    }

    /// Labelled pixels predicted as `class`.
    pub fn column_sum(&self, class: usize) -> u64 {
        self.counts.iter().skip(class).step_by(self.n_classes).sum()
    }

    /// Pixels of `class` that were predicted as `class`.
    pub fn hits(&self, class: usize) -> u64 {
        self.row(class)[class]
    }

    /// Number of all labelled pixels.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Pixels of `class` in the ground truth, by predicted class.
    pub fn row(&self, class: usize) -> &[u64] {
        &self.counts[class * self.n_classes..][..self.n_classes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_truth_and_void_is_ignored() {
        let mut confusion = Confusion::new(3);
        confusion.add(&[0, 0, 1, 2, VOID], &[0, 1, 1, 0, 2]);
        assert_eq!(confusion.row(0), [1, 1, 0]);
        assert_eq!(confusion.row(1), [0, 1, 0]);
        assert_eq!(confusion.row(2), [1, 0, 0]);
        assert_eq!([0, 1, 2].map(|class| confusion.row_sum(class)), [2, 1, 1]);
        assert_eq!([0, 1, 2].map(|class| confusion.column_sum(class)), [2, 2, 0]);
        assert_eq!([0, 1, 2].map(|class| confusion.hits(class)), [1, 1, 0]);
        assert_eq!(confusion.total(), 4);
    }

    #[test]
    fn merging_is_adding() {
        let (mut whole, mut a, mut b) = (Confusion::new(2), Confusion::new(2), Confusion::new(2));
        whole.add(&[0, 1, 1, VOID], &[1, 1, 0, 0]);
        a.add(&[0, 1], &[1, 1]);
        b.add(&[1, VOID], &[0, 0]);
        a.merge(&b);
        assert_eq!(a, whole);
    }

    #[test]
    #[should_panic(expected = "class 1 predicted as 2, of 2")]
    fn a_prediction_outside_the_classes_is_a_bug() {
        Confusion::new(2).add(&[1], &[2]);
    }
}
