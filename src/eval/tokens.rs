//! Patch tokens of many images, of any sizes, kept on disk so that only those of one image are in
//! memory.
//!
//! `sweep pca` fills a [`Store`] by an [`Extractor`] and reads it as often as it needs.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use crate::fs::Scratch;
use crate::model::Mode;
use crate::model::vit::{Encoder, FinalNorm, Layout};

/// An encoder up to one of its layers.
pub struct Extractor {
    encoder: Encoder,
    /// Index of the layer, from 0.
    layer: usize,
    norm: FinalNorm,
    /// What depends on the grid only.
    layouts: BTreeMap<[usize; 2], Layout>,
}

/// Patch tokens of images, one after the other.
#[derive(Debug)]
pub struct Store {
    scratch: Scratch,
    /// Width of a token.
    dim: usize,
    /// Of each image the first value, and rows and columns of patches.
    images: Vec<(usize, [usize; 2])>,
}

impl Extractor {
    /// An encoder up to layer `layer`, counted from 1.
    ///
    /// # Panics
    /// If it has no such layer.
    pub fn new(encoder: Encoder, layer: usize, norm: FinalNorm) -> Self {
        assert!((1..=encoder.arch.depth).contains(&layer), "a layer of the encoder");
        Self { encoder, layer: layer - 1, norm, layouts: BTreeMap::new() }
    }

    pub fn dim(&self) -> usize {
        self.encoder.arch.dim
    }

    pub fn device(&self) -> Device {
        self.encoder.device()
    }

    /// The patch tokens `[batch, n_patches, dim]` of images `[3, height, width]` of one size
    /// `px` (height, width), normalised.
    ///
    /// # Panics
    /// If the patch does not divide the sides, or an image is of another size.
    pub fn run(&mut self, images: &[Vec<f32>], px: [usize; 2]) -> Vec<f32> {
        let grid = self.encoder.grid(px);
        let encoder = &self.encoder;
        let layout = self.layouts.entry(grid).or_insert_with(|| encoder.layout(grid));
        let shape = [images.len(), 3, px[0], px[1]];
        let images = Tensor::from_data(TensorData::new(images.concat(), shape), &encoder.device());
        let hidden = encoder.hidden(layout, images, &[self.layer], Mode::Eval);
        let features = encoder.features(layout, &hidden, self.norm);
        let patches = features.patches[0].clone().into_data().convert::<f32>();
        patches.try_into_vec().expect("converted to f32")
    }
}

impl Store {
    pub fn new(scratch: Scratch, dim: usize) -> Self {
        Self { scratch, dim, images: vec![] }
    }

    /// Adds the tokens `[rows * columns, dim]` of one image.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn push(&mut self, tokens: &[f32], grid: [usize; 2]) -> io::Result<()> {
        assert_eq!(tokens.len(), grid[0] * grid[1] * self.dim, "tokens of {grid:?} patches");
        self.images.push((self.scratch.len(), grid));
        self.scratch.push(tokens)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows and columns of patches of image `i`.
    pub fn grid(&self, i: usize) -> [usize; 2] {
        self.images[i].1
    }

    /// Number of patches of images `range`.
    pub fn n_patches(&self, range: Range<usize>) -> usize {
        self.images[range].iter().map(|(_, grid)| grid[0] * grid[1]).sum()
    }

    /// The tokens of image `i`, `[rows * columns, dim]`.
    pub fn read(&self, i: usize) -> io::Result<Vec<f32>> {
        let (first, [rows, columns]) = self.images[i];
        self.scratch.read(first..first + rows * columns * self.dim)
    }
}
