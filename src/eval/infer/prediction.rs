//! The prediction for one image, made from the logits of its forward passes.

use burn::tensor::{Int, Tensor};

use crate::data::transform;
use crate::kernel::arg_max::arg_max;
use crate::kernel::finite;
use crate::kernel::probabilities::Probabilities;
use crate::weights::NotFinite;

/// The prediction for one image: classes and probabilities of its pixels.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Height and width that the prediction was asked for at.
    size: [usize; 2],
    from: Source,
    /// Class of each pixel, `[1, height, width]` at that size; `None` where the logits can be
    /// resized to any.
    classes: Option<Tensor<3, Int>>,
}

#[derive(Debug, Clone)]
enum Source {
    /// Logits of one view, `[1, n_classes, rows, columns]`.
    Logits(Tensor<4>),
    /// Summed probabilities of several views, at the size asked for.
    Probabilities(Probabilities),
}

impl Prediction {
    /// The prediction from the logits of an image squashed to the network's input; they can be
    /// resized to any size.
    pub(super) fn squashed(logits: Tensor<4>, size: [usize; 2]) -> Self {
        Self { size, from: Source::Logits(logits), classes: None }
    }

    /// The prediction from the mean logits of an image's windows, or from those of one scaled view.
    pub(super) fn view(logits: Tensor<4>, size: [usize; 2]) -> Self {
        let classes = Some(arg_max(logits.clone(), size));
        Self { size, from: Source::Logits(logits), classes }
    }

    /// The prediction from the summed probabilities of several views.
    pub(super) fn views(sums: Probabilities, size: [usize; 2]) -> Self {
        let classes = Some(sums.arg_max());
        Self { size, from: Source::Probabilities(sums), classes }
    }

    /// Checks that all logits are finite: the largest of others would mean nothing.
    pub fn check(&self) -> Result<(), NotFinite> {
        let (counts, n) = self.not_finite();
        let counts: Vec<i64> =
            counts.into_data().convert::<i64>().try_into_vec().expect("converted to i64");
        let counts = [0, 1].map(|i| counts[i] as usize);
        NotFinite::of_counts("logits", counts, n).map_or(Ok(()), Err)
    }

    /// The numbers of NaN and of infinite logits, `[2]` on the device, and the number of all.
    pub(in crate::eval) fn not_finite(&self) -> (Tensor<1, Int>, usize) {
        let values = match &self.from {
            Source::Logits(logits) => logits.clone(),
            Source::Probabilities(sums) => sums.mean(),
        };
        let n = values.dims().iter().product();
        (finite::counts(values), n)
    }

    /// The class of each pixel, `[1, height, width]`, at the size that was asked for.
    pub fn classes(&self) -> Tensor<3, Int> {
        self.classes_at(self.size)
    }

    /// The class of each pixel at another size: from the logits where the image was one squashed
    /// view, else the nearest pixel of [`Self::classes`].
    pub fn classes_at(&self, size: [usize; 2]) -> Tensor<3, Int> {
        let made = match (&self.classes, &self.from) {
            (Some(classes), _) => classes.clone(),
            (None, Source::Logits(logits)) => return arg_max(logits.clone(), size),
            (None, Source::Probabilities(sums)) => sums.arg_max(),
        };
        if size == self.size {
            return made;
        }
        let device = made.device();
        let [rows, columns] = transform::nearest_sources(self.size, size).map(|sources| {
            let sources: Vec<u32> = sources.into_iter().map(|at| at as u32).collect();
            Tensor::<1, Int>::from_data(sources.as_slice(), &device)
        });
        made.select(1, rows).select(2, columns)
    }

    /// The probability of each class, `[1, n_classes, height, width]` at the size that was asked
    /// for: the softmax of the upsampled logits, its mean over the views.
    pub fn probabilities(&self) -> Tensor<4> {
        match &self.from {
            Source::Probabilities(sums) => sums.mean(),
            Source::Logits(logits) => {
                let [_, n_classes, _, _] = logits.dims();
                let mut sums = Probabilities::new(n_classes, self.size, &logits.device());
                sums.add(logits.clone());
                sums.mean()
            }
        }
    }
}
