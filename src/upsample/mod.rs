//! Learned upsampling of features: from a grid of patches to the pixels of an image that guides it.
//!
//! `sweep upsample`, `sweep features` and `sweep pca` open a [`Model`] (a [`Method`] with its
//! weights), and give it a [`Task`]: the image, the features of its patches, and the size wanted.
//! [`Model::prepare`] does what needs the whole image; [`Prepared::rows`] then makes any rows of the
//! result, so that a caller never holds more of it than it wants. Which rows are made together, and
//! by how many threads, changes no value.
//!
//! All of it runs on the CPU in f32, whatever the encoder ran on. The formulas are those of the
//! original code: see each method's file.

mod map;
mod ops;
mod tensors;
mod linear;
mod attention;
mod bilinear;
mod jbu;
mod anyup;
mod naf;
mod model;
mod pairs;

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::weights;
pub use linear::Linear;
pub use map::Map;
pub use model::Model;
pub use pairs::{Job, Pairs, write};
use tensors::Tensors;

/// Every method. A new one is a file with its `METHOD`, and a line here.
pub const METHODS: &[&Method] = &[
    // The order is that of the help.
    &bilinear::METHOD,
    &jbu::METHOD,
    &anyup::METHOD,
    &naf::METHOD,
];

/// A way to upsample features.
pub struct Method {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name in the literature.
    pub title: &'static str,
    /// A tensor that its weight files have and other methods' have not; none where it has no
    /// weights.
    mark: Option<&'static str>,
    /// Tells whether a tensor of its published files, by name, belongs to something else that is
    /// stored with it.
    is_beside: fn(&str) -> bool,
    /// Tells whether it has a window whose size may be chosen.
    pub takes_kernel: bool,
    /// Makes the upsampler from its weights; what does not fit is noted in the [`Tensors`].
    build: fn(&mut Tensors, &Options) -> Box<dyn Upsampler>,
}

/// The settings of a method beside its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Side of the attention window, odd; the published one if `None`.
    pub kernel: Option<usize>,
}

/// Features of one image, to be upsampled.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The image, `[3, height, width]`, normalised by ImageNet's mean and deviation.
    pub image: &'a Map,
    /// The features of its patches, `[channels, rows, columns]`.
    pub features: &'a Map,
    /// A linear map of the features. The result is that of mapping the upsampled features, but only
    /// the mapped channels are upsampled.
    pub projection: Option<&'a Linear>,
    /// Height and width of the result.
    pub size: [usize; 2],
}

/// A method with its weights.
trait Upsampler: Send + Sync {
    /// Height and width of the result where no other size is asked for.
    fn size(&self, image: [usize; 2], _features: [usize; 2]) -> [usize; 2] {
        image
    }

    /// Does what needs the whole image.
    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error>;
}

/// Features that are upsampled as their rows are asked for.
pub trait Prepared: Send + Sync {
    fn channels(&self) -> usize;

    /// Height and width of the whole result.
    fn size(&self) -> [usize; 2];

    /// Rows `range` of the result, as a map of that height. A row's values do not depend on the
    /// rows it is made with.
    ///
    /// # Panics
    /// If the range ends behind the last row.
    fn rows(&self, range: Range<usize>) -> Map;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] weights::Error),
    #[error("`{path}` has the weights of {found}, not of {wanted}: use --method {name}")]
    OtherMethod { path: PathBuf, found: &'static str, wanted: &'static str, name: &'static str },
    #[error("`{path}` is not a weight file of {wanted}: {problems}")]
    Unfit { path: PathBuf, wanted: &'static str, problems: String },
    /// The image, the features and the size do not fit each other or the method.
    #[error("{0}")]
    Task(String),
    #[error("`{path}` has no usable `{tensor}`: {reason}")]
    Input { path: PathBuf, tensor: &'static str, reason: String },
    #[error("cannot write the upsampled features")]
    Write(#[from] io::Error),
}

impl Method {
    /// The method of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().copied().find(|method| method.name == name)
    }

    /// Tells whether it has weights, so that a file must be named.
    pub fn has_weights(&self) -> bool {
        self.mark.is_some()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
