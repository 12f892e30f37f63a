//! A linear map of features: a segmentation head of 1x1, or the components of a PCA.

use super::Map;
use super::ops::product;

/// `y = W x + b` for the channels of each pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[n_out, n_in]`.
    weight: Vec<f32>,
    /// `[n_out]`.
    bias: Vec<f32>,
}

impl Linear {
    /// From the weight `[n_out, n_in]`, row-major, and the bias `[n_out]`.
    ///
    /// # Panics
    /// If the bias is empty or the weight has not whole rows.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        assert!(!bias.is_empty() && weight.len().is_multiple_of(bias.len()), "whole rows");
        Self { weight, bias }
    }

    pub fn n_out(&self) -> usize {
        self.bias.len()
    }

    pub fn n_in(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    pub(super) fn weight(&self) -> &[f32] {
        &self.weight
    }

    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Maps every pixel.
    pub fn apply(&self, map: &Map) -> Map {
        self.applied(map, Some(&self.bias))
    }

    /// Maps every pixel, without the bias.
    pub(super) fn apply_unbiased(&self, map: &Map) -> Map {
        self.applied(map, None)
    }

    fn applied(&self, map: &Map, bias: Option<&[f32]>) -> Map {
        map.map_rows(self.n_out(), |row, out| {
            let rows: Vec<&[f32]> = row.chunks_exact(map.width()).collect();
            product(&self.weight, bias, &rows, out);
        })
    }
}
