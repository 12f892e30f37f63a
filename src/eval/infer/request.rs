//! The settings that predictions are made with, and the preparation of images for them.

use super::super::{Mode, Tta};
use crate::data::Rgb;
use crate::data::transform::{self, Normal, Pixel};

/// The settings by which images become predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub mode: Mode,
    pub tta: Tta,
    /// Height and width of the network's input in training; whole images are squashed to it.
    pub input_px: [u32; 2],
    /// Side of a patch.
    pub patch_px: u32,
    pub normal: Normal,
}

/// An image prepared for the network by [`Request::input`].
#[derive(Debug, Clone, PartialEq)]
pub struct Input(pub(super) Form);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// The image squashed to the network's input, `[height, width]`: for one plain view.
    Ready(Vec<Pixel>),
    /// The image at its own size, from which windows and views are cut.
    Native(Rgb),
}

impl Request {
    /// Prepares `image` as far as that is possible without the network.
    pub fn input(&self, image: Rgb) -> Input {
        if !self.is_plain() {
            return Input(Form::Native(image));
        }
        let [height, width] = self.input_px;
        let image = transform::squash(&image, height, width);
        Input(Form::Ready(transform::pack(&image, self.input_px)))
    }

    /// Tells whether the request asks for nothing but one squashed view.
    fn is_plain(&self) -> bool {
        self.mode == Mode::Whole {} && self.tta == Tta::default()
    }

    /// The normalised image, `[3, height, width]`.
    pub(super) fn normalised(&self, image: &Rgb) -> Vec<f32> {
        let mut values = vec![0.0; 3 * (image.height * image.width) as usize];
        transform::to_chw(image, self.normal, &mut values);
        values
    }
}
