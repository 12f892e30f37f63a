//! The foreground of images: the patches on one side of a value of the first component, as in
//! DINOv2's figures.

use std::io;
use std::ops::Range;

use clap::ValueEnum;

use super::Settings;
use super::basis::Basis;
use super::covariance::Moments;
use crate::eval::tokens::Store;

/// The side of the first component that is the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Foreground {
    /// No background: all patches are shown
    Off,
    /// The side that is rarer at the images' borders
    Auto,
    /// Values above the threshold
    Above,
    /// Values below the threshold
    Below,
}

/// A direction and a value on it: patches beyond it are the foreground.
#[derive(Debug, Clone, PartialEq)]
pub struct Separation {
    /// The mean and the one component, turned so that the foreground lies above.
    pub basis: Basis,
    /// Value of the component at the boundary.
    pub at: f32,
}

impl Separation {
    /// The separation by the first component of all tokens of `images`, whose moments are `all`.
    pub(super) fn fit(
        all: &Moments,
        store: &Store,
        images: Range<usize>,
        settings: &Settings,
    ) -> io::Result<Self> {
        let basis = Basis::fit(all, 1);
        let at = settings.threshold * basis.variance[0].sqrt();
        let above = Self { basis, at };
        let is_above = match settings.foreground {
            Foreground::Above | Foreground::Off => true,
            Foreground::Below => false,
            Foreground::Auto => above.share_at_borders(store, images)? <= 0.5,
        };
        Ok(if is_above { above } else { above.flipped() })
    }

    /// How far each of `tokens` `[n, dim]` lies in the foreground; above 0 inside.
    pub(super) fn values(&self, tokens: &[f32]) -> Vec<f32> {
        let values = self.basis.project(tokens, &[0]);
        values.into_iter().map(|value| value - self.at).collect()
    }

    /// The weights and the bias that give [`Self::values`].
    pub(super) fn row(&self) -> (Vec<f32>, f32) {
        let (weights, bias) = self.basis.row(0);
        (weights, bias - self.at)
    }

    /// Those of `tokens` `[n, dim]` that are in the foreground.
    pub fn inside(&self, tokens: &[f32]) -> Vec<f32> {
        let rows = tokens.chunks_exact(self.basis.dim()).zip(self.values(tokens));
        rows.filter(|(_, value)| *value > 0.0).flat_map(|(row, _)| row.iter().copied()).collect()
    }

    fn flipped(mut self) -> Self {
        self.basis.components.iter_mut().for_each(|x| *x = -*x);
        self.at = -self.at;
        self
    }

    /// Share of the patches at the images' borders that are in the foreground.
    fn share_at_borders(&self, store: &Store, images: Range<usize>) -> io::Result<f64> {
        let (mut n_inside, mut n) = (0_u64, 0_u64);
        for i in images {
            let [rows, columns] = store.grid(i);
            let values = self.values(&store.read(i)?);
            for (place, value) in values.iter().enumerate() {
                let (y, x) = (place / columns, place % columns);
                if y == 0 || x == 0 || y + 1 == rows || x + 1 == columns {
                    n += 1;
                    n_inside += u64::from(*value > 0.0);
                }
            }
        }
        Ok(n_inside as f64 / n.max(1) as f64)
    }
}
