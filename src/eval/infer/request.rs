//! What predictions are asked for, and images made ready for it.

use super::super::{Mode, Tta};
use crate::data::{Rgb, transform};

/// How images become predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub mode: Mode,
    pub tta: Tta,
    /// Height and width of the network's input in training; whole images are squashed to it.
    pub input_px: [u32; 2],
    /// Side of a patch.
    pub patch_px: u32,
    /// What is taken off an image, RGB of 0 to 1, and what it is divided by then.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// An image on its way to the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Input(pub(super) Form);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// Squashed to the network's input and normalised, `[3, height, width]`: for one plain view.
    Ready(Vec<f32>),
    /// At its own size, of which windows and views are made.
    Native(Rgb),
}

impl Request {
    /// Makes `image` ready, as far as that goes without the network.
    pub fn input(&self, image: Rgb) -> Input {
        if !self.is_plain() {
            return Input(Form::Native(image));
        }
        let [height, width] = self.input_px;
        Input(Form::Ready(self.normalised(&transform::squash(&image, height, width))))
    }

    /// Whether one squashed view is all that is asked for.
    fn is_plain(&self) -> bool {
        self.mode == Mode::Whole {} && self.tta == Tta::default()
    }

    /// `[3, height, width]`
    pub(super) fn normalised(&self, image: &Rgb) -> Vec<f32> {
        let mut values = vec![0.0; 3 * (image.height * image.width) as usize];
        transform::to_chw(image, self.mean, self.std, &mut values);
        values
    }
}
