//! The reference project's own "mIoU" (RobvanGastel/dinov2-finetune), exactly as its code
//! computes it. It is **not** an mIoU.
//!
//! It takes the bitwise `and` and `or` of class *indices*, sums each over an image, and divides:
//! confusing class 15 with class 14 is nearly free, missing an object of class 20 costs twenty
//! times as much as one of class 1. Kept so that its published numbers can be compared with.

use crate::data::{Mask, VOID};

/// Added to both sums, so that an image without any object has the ratio 1.
const SMOOTH: f64 = 1e-6;

/// The class that a void pixel of the ground truth counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidIs {
    /// None: the pixel is left out.
    LeftOut,
    /// Class 0, as the reference's VOC loader has it.
    Background,
}

impl VoidIs {
    /// Gives void pixels the class that they count as, if any.
    pub fn apply(self, mask: &mut Mask) {
        if self == Self::Background {
            mask.classes.iter_mut().filter(|class| **class == VOID).for_each(|class| *class = 0);
        }
    }
}

/// The reference project's metric so far: the mean over batches of the mean over a batch's images,
/// so that the batch size is part of the protocol.
#[derive(Debug, Clone)]
pub struct ReferenceMetric {
    void_is: VoidIs,
    batch_size: usize,
    /// Sum over the batch being filled.
    sum: f64,
    n_images: usize,
    /// Sum of the means of full batches.
    sum_of_means: f64,
    n_batches: usize,
    /// Pixels that were not left out.
    n_pixels: u64,
}

impl ReferenceMetric {
    /// The metric of no images yet.
    ///
    /// # Panics
    /// Where `batch_size` is 0.
    pub fn new(batch_size: usize, void_is: VoidIs) -> Self {
        assert!(batch_size > 0, "a batch holds at least one image");
        Self {
            void_is,
            batch_size,
            sum: 0.0,
            n_images: 0,
            sum_of_means: 0.0,
            n_batches: 0,
            n_pixels: 0,
        }
    }

    /// Adds the next image; batches are filled in this order.
    ///
    /// # Panics
    /// Where the slices differ in length.
    pub fn add_image(&mut self, truth: &[u8], predicted: &[u8]) {
        assert_eq!(truth.len(), predicted.len(), "one prediction for each pixel");
        let (mut both, mut either) = (0u64, 0u64);
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            let truth = match (truth, self.void_is) {
                (VOID, VoidIs::LeftOut) => continue,
                (VOID, VoidIs::Background) => 0,
                (class, _) => class,
            };
            self.n_pixels += 1;
            both += u64::from(truth & predicted);
            either += u64::from(truth | predicted);
        }
        self.add(both, either);
    }

    /// Adds the next image by its confusion counts, row-major, of masks whose void is as
    /// [`VoidIs::apply`] makes it.
    pub fn add_counts(&mut self, counts: &[u64], n_classes: usize) {
        let (mut both, mut either) = (0u64, 0u64);
        for (entry, pixels) in counts.iter().enumerate() {
            let (truth, predicted) = (entry / n_classes, entry % n_classes);
            self.n_pixels += pixels;
            both += (truth & predicted) as u64 * pixels;
            either += (truth | predicted) as u64 * pixels;
        }
        self.add(both, either);
    }

    fn add(&mut self, both: u64, either: u64) {
        self.sum += (both as f64 + SMOOTH) / (either as f64 + SMOOTH);
        self.n_images += 1;
        if self.n_images == self.batch_size {
            self.sum_of_means += self.sum / self.n_images as f64;
            self.n_batches += 1;
            (self.sum, self.n_images) = (0.0, 0);
        }
    }

    /// The metric of all images so far; an incomplete last batch is a batch. `None` where no pixel
    /// was counted, though the formula gives an image without any a 1.
    pub fn value(&self) -> Option<f64> {
        let (mut sum, mut count) = (self.sum_of_means, self.n_batches);
        if self.n_images > 0 {
            sum += self.sum / self.n_images as f64;
            count += 1;
        }
        (self.n_pixels > 0).then(|| sum / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::confusion::counts_of;

    fn check(truth: &[u8], predicted: &[u8], expect: f64) {
        let mut metric = ReferenceMetric::new(1, VoidIs::LeftOut);
        metric.add_image(truth, predicted);
        let value = metric.value().unwrap();
        assert!((value - expect).abs() < 1e-6, "{value} for {expect}");
    }

    #[test]
    fn classes_are_compared_bit_by_bit() {
        // Person (15) as motorbike (14): nothing right.
        check(&[15; 8], &[14; 8], 14.0 / 15.0);
        // Bus (6) as car (7).
        check(&[6; 8], &[7; 8], 6.0 / 7.0);
        check(&[0, 15, 3], &[0, 0, 0], 0.0);
        check(&[0, 0], &[0, 0], 1.0);
        check(&[7, 0, 20], &[7, 0, 20], 1.0);
        // Missing one of two objects of the same size: its class index decides what it costs.
        check(&[1, 20], &[0, 20], 20.0 / 21.0);
        check(&[1, 20], &[1, 0], 1.0 / 21.0);
    }

    #[test]
    fn void_is_left_out_or_background() {
        let value = |void_is| {
            let mut metric = ReferenceMetric::new(1, void_is);
            metric.add_image(&[VOID, 4], &[4, 4]);
            metric.value().unwrap()
        };
        assert!((value(VoidIs::LeftOut) - 1.0).abs() < 1e-6);
        assert!((value(VoidIs::Background) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn counts_give_what_the_pixels_give() {
        let (truth, predicted) = ([VOID, 4, 7, 0, 7, 20], [4, 4, 3, 2, 7, 0]);
        for void_is in [VoidIs::LeftOut, VoidIs::Background] {
            let (mut pixels, mut counts) =
                (ReferenceMetric::new(1, void_is), ReferenceMetric::new(1, void_is));
            pixels.add_image(&truth, &predicted);
            let mut mask = Mask { width: 3, height: 2, classes: truth.to_vec() };
            void_is.apply(&mut mask);
            counts.add_counts(&counts_of(&mask.classes, &predicted, 21), 21);
            assert_eq!(pixels.value().map(f64::to_bits), counts.value().map(f64::to_bits));
        }
    }

    #[test]
    fn batches_are_averaged_first() {
        let value = |batch_size| {
            let mut metric = ReferenceMetric::new(batch_size, VoidIs::LeftOut);
            for predicted in [1, 1, 0] {
                metric.add_image(&[1], &[predicted]);
            }
            metric.value().unwrap()
        };
        // Ratios 1, 1, 0: the lone image of the last batch weighs as much as the two before.
        assert!((value(2) - 0.5).abs() < 1e-5);
        assert!((value(3) - 2.0 / 3.0).abs() < 1e-5);
    }

    #[test]
    fn of_no_pixel_there_is_no_metric() {
        let value = |void_is, truth: &[u8]| {
            let mut metric = ReferenceMetric::new(2, void_is);
            if !truth.is_empty() {
                metric.add_image(truth, &[1; 2]);
            }
            metric.value()
        };
        assert_eq!(value(VoidIs::LeftOut, &[]), None);
        assert_eq!(value(VoidIs::LeftOut, &[VOID; 2]), None);
        assert!(value(VoidIs::Background, &[VOID; 2]).is_some());
    }
}
