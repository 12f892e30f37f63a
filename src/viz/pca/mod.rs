//! Principal components of patch tokens as colours, after the figures of DINOv2 (Oquab et al. 2023,
//! figure 1) and DINOv3 (Siméoni et al. 2025).
//!
//! `sweep pca` fits a [`Fitted`] to the tokens of a [`Store`], or reads one from a file, and asks it
//! for colours.

pub mod covariance;
pub mod basis;
pub mod foreground;
mod file;

use std::io;
use std::ops::Range;

use clap::ValueEnum;

use crate::eval::tokens::Store;
use crate::upsample::Linear;
pub use basis::Basis;
use covariance::Moments;
pub use file::Error;
pub use foreground::{Foreground, Separation};

/// How the values of three components become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// From the smallest to the largest value of each component, as in DINOv2's figures
    Dinov2,
    /// Each component divided by its standard deviation, then `sigmoid(2 x)`, as in DINOv3's notebook
    Dinov3,
}

/// A component that is shown as red, green or blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Number of the component, from 0.
    pub index: usize,
    /// Whether its sign is turned.
    pub is_flipped: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub foreground: Foreground,
    /// Value of the first component, in its standard deviations, that separates foreground and
    /// background.
    pub threshold: f32,
    pub style: Style,
    /// The components that are red, green and blue.
    pub shown: [Shown; 3],
}

/// A basis, with all that is needed to turn tokens into colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub basis: Basis,
    /// How the foreground is told from the background, where it is.
    pub separation: Option<Separation>,
    /// Smallest and largest value of each component in the foreground.
    pub bounds: Vec<[f32; 2]>,
    /// Number of patches that the components were fitted to; 0 of those from a file.
    pub n_patches: u64,
}

/// Number of components that are shown: red, green and blue.
const N_SHOWN: usize = 3;

impl Settings {
    /// Number of components that a basis must have.
    pub fn n_components(&self) -> usize {
        self.shown.iter().map(|shown| shown.index + 1).max().unwrap_or(0)
    }
}

impl Fitted {
    /// The principal components of the tokens of `images`: of all patches, or of those of the
    /// foreground, which may be none.
    pub fn fit(store: &Store, images: Range<usize>, settings: &Settings) -> io::Result<Self> {
        let n = settings.n_components();
        let mut all = Moments::new(store.dim());
        for i in images.clone() {
            all.add(&store.read(i)?);
        }
        if settings.foreground == Foreground::Off {
            let (basis, n_patches) = (Basis::fit(&all, n), all.n());
            return Self { basis, separation: None, bounds: vec![], n_patches }
                .bounded(store, images);
        }
        let separation = Separation::fit(&all, store, images.clone(), settings)?;
        let mut inside = Moments::new(store.dim());
        for i in images.clone() {
            inside.add(&separation.inside(&store.read(i)?));
        }
        let (basis, n_patches) = (Basis::fit(&inside, n), inside.n());
        Self { basis, separation: Some(separation), bounds: vec![], n_patches }
            .bounded(store, images)
    }

    /// The same with the bounds of the foreground of `images`.
    pub fn bounded(mut self, store: &Store, images: Range<usize>) -> io::Result<Self> {
        let which: Vec<usize> = (0..self.basis.n()).collect();
        let mut bounds = vec![[f32::INFINITY, f32::NEG_INFINITY]; which.len()];
        for i in images {
            let mut tokens = store.read(i)?;
            if let Some(separation) = &self.separation {
                tokens = separation.inside(&tokens);
            }
            for values in self.basis.project(&tokens, &which).chunks_exact(which.len().max(1)) {
                for (value, [low, high]) in values.iter().zip(&mut bounds) {
                    *low = low.min(*value);
                    *high = high.max(*value);
                }
            }
        }
        // Nothing was inside.
        bounds.iter_mut().filter(|[low, high]| low > high).for_each(|pair| *pair = [0.0; 2]);
        self.bounds = bounds;
        Ok(self)
    }

    /// The values of tokens `[n, dim]` that colours are made of, `[n, n_values]`: those of the three
    /// components shown, then, where there is a foreground, how far the token lies inside.
    pub fn values(&self, tokens: &[f32], shown: &[Shown; N_SHOWN]) -> Vec<f32> {
        let which = shown.map(|shown| shown.index);
        let components = self.basis.project(tokens, &which);
        let Some(separation) = &self.separation else { return components };
        let inside = separation.values(tokens);
        let pixels = components.chunks_exact(N_SHOWN).zip(inside);
        pixels.flat_map(|(values, inside)| values.iter().copied().chain([inside])).collect()
    }

    /// The linear map that gives [`Self::values`] of a pixel's features.
    pub fn map(&self, shown: &[Shown; N_SHOWN]) -> Linear {
        let rows = shown.map(|shown| self.basis.row(shown.index));
        let separation = self.separation.as_ref().map(Separation::row);
        let rows: Vec<_> = rows.into_iter().chain(separation).collect();
        let weight = rows.iter().flat_map(|(weight, _)| weight.iter().copied()).collect();
        Linear::new(weight, rows.iter().map(|(_, bias)| *bias).collect())
    }

    /// The colours of values `[n, n_values]`; the background is black.
    pub fn colours(&self, values: &[f32], settings: &Settings) -> Vec<u8> {
        let n_values = N_SHOWN + usize::from(self.separation.is_some());
        let colour = |values: &[f32]| {
            if values.get(N_SHOWN).is_some_and(|inside| *inside <= 0.0) {
                return [0; N_SHOWN];
            }
            std::array::from_fn(|i| {
                let level = self.level(values[i], settings.shown[i], settings.style);
                (255.0 * level.clamp(0.0, 1.0)).round() as u8
            })
        };
        values.chunks_exact(n_values).flat_map(colour).collect()
    }

    /// A component's value as a level from 0 to 1.
    fn level(&self, value: f32, shown: Shown, style: Style) -> f32 {
        let level = match style {
            Style::Dinov2 => {
                let [low, high] = self.bounds[shown.index];
                // All alike is neither bright nor dark.
                if high > low { (value - low) / (high - low) } else { 0.5 }
            }
            Style::Dinov3 => {
                let deviation = self.basis.variance[shown.index].sqrt();
                let whitened = if deviation > 0.0 { value / deviation } else { 0.0 };
                1.0 / (1.0 + (-2.0 * whitened).exp())
            }
        };
        if shown.is_flipped { 1.0 - level } else { level }
    }
}

#[cfg(test)]
mod tests;
