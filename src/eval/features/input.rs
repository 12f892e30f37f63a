//! The input of `sweep features`: images, or a tensor that is fed to the encoder unchanged.

use std::path::{Path, PathBuf};

use super::Error;
use crate::data::{image_io, transform};
use crate::weights::{NotFinite, TensorFile};

/// Name of the tensor in a safetensors file that is fed to the encoder.
pub(super) const TENSOR: &str = "input";

/// One image as the encoder takes it, `[3, height, width]`.
pub type Ready = Vec<f32>;

/// The inputs of one call; all have one size.
pub enum Input {
    Images(Images),
    Tensor {
        file: TensorFile,
        n: usize,
        /// Height and width.
        px: [usize; 2],
    },
}

/// Image files, squashed to one size and normalised.
#[derive(Debug, Clone)]
pub struct Images {
    pub paths: Vec<PathBuf>,
    /// Height and width.
    pub px: [u32; 2],
    pub normal: transform::Normal,
}

impl Input {
    /// The tensor `input` `[batch, 3, height, width]` of a safetensors file, for patches of
    /// `patch` pixels.
    pub fn tensor(path: &Path, patch: usize) -> Result<Self, Error> {
        let failed = |reason: String| Error::Input { path: path.to_owned(), reason };
        let file = TensorFile::open(path)?;
        let Some(shape) = file.shape(TENSOR) else {
            let names = file.names();
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(failed(format!("it is missing; the file's tensors: {found}")));
        };
        let &[n, 3, height, width] = shape.as_slice() else {
            return Err(failed(format!("it is {shape:?}, not [batch, 3, height, width]")));
        };
        if n == 0 {
            return Err(failed("its batch is empty".to_owned()));
        }
        let fits = |side: usize| side > 0 && side.is_multiple_of(patch);
        if !fits(height) || !fits(width) {
            return Err(failed(format!(
                "its size of {height}x{width} is no multiple of the patch of {patch} pixels"
            )));
        }
        let dtype = file.dtype(TENSOR).unwrap_or_default();
        if !TensorFile::is_readable(&dtype) {
            return Err(failed(format!("it is {dtype}; f32, f16 and bf16 can be read")));
        }
        Ok(Self::Tensor { file, n, px: [height, width] })
    }

    /// Number of images in all.
    pub fn len(&self) -> usize {
        match self {
            Self::Images(images) => images.paths.len(),
            Self::Tensor { n, .. } => *n,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width.
    pub fn px(&self) -> [usize; 2] {
        match self {
            Self::Images(images) => images.px.map(|side| side as usize),
            Self::Tensor { px, .. } => *px,
        }
    }

    /// Loads image `i` as `[3, height, width]`.
    pub(super) fn load(&self, i: usize) -> Result<Ready, Error> {
        match self {
            Self::Images(images) => {
                let [height, width] = images.px;
                let image = image_io::read_rgb(&images.paths[i])?;
                let image = transform::squash(&image, height, width);
                let mut values = vec![0.0; 3 * (height * width) as usize];
                transform::to_chw(&image, images.normal, &mut values);
                Ok(values)
            }
            Self::Tensor { file, px: [height, width], .. } => {
                let n = 3 * height * width;
                let values = file.read_range(TENSOR, i * n..(i + 1) * n)?;
                match NotFinite::count(TENSOR, &values) {
                    None => Ok(values),
                    Some(found) => Err(Error::Input {
                        path: file.path().to_owned(),
                        reason: format!(
                            "image {i} of it (from 0) has values that are not finite: {found}"
                        ),
                    }),
                }
            }
        }
    }
}
