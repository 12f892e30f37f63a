//! A basis of principal components: fitted to moments, and rows projected onto it.

use nalgebra::SymmetricEigen;
use rayon::prelude::*;

use super::covariance::Moments;

/// Principal components of rows of `dim` values, the one of the largest variance first.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// The mean that is subtracted, `[dim]`.
    pub mean: Vec<f32>,
    /// Unit vectors `[n_components, dim]`. The sign of each is such that its entry of the largest
    /// magnitude is positive.
    pub components: Vec<f32>,
    /// Variance along each component, `[n_components]`, with n - 1 as divisor.
    pub variance: Vec<f32>,
}

impl Basis {
    /// The `n_components` components of the largest variance, fewer where `dim` is smaller.
    ///
    /// The same as scikit-learn's `PCA(n_components)` up to the sign.
    pub fn fit(moments: &Moments, n_components: usize) -> Self {
        let eigen = SymmetricEigen::new(moments.covariance());
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        // A stable sort, so that equal values keep their order.
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        order.truncate(n_components);
        let component = |place: &usize| {
            let column = eigen.eigenvectors.column(*place);
            let sign = if column[column.iamax()] < 0.0 { -1.0 } else { 1.0 };
            column.iter().map(|x| (sign * x) as f32).collect::<Vec<_>>()
        };
        Self {
            mean: moments.mean().iter().map(|x| *x as f32).collect(),
            components: order.iter().flat_map(component).collect(),
            // Rounding may leave a variance of nothing below zero.
            variance: order.iter().map(|i| eigen.eigenvalues[*i].max(0.0) as f32).collect(),
        }
    }

    /// Width of the rows.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Number of components.
    pub fn n(&self) -> usize {
        self.variance.len()
    }

    /// The weights `[dim]` and the bias that give a row's value along component `i`.
    pub fn row(&self, i: usize) -> (Vec<f32>, f32) {
        let component = &self.components[i * self.dim()..][..self.dim()];
        let pairs = component.iter().zip(&self.mean);
        let at_mean: f64 = pairs.map(|(c, mean)| f64::from(*c) * f64::from(*mean)).sum();
        (component.to_vec(), -at_mean as f32)
    }

    /// Projects `rows` `[n, dim]` onto components `which` (from 0); `[n, which.len()]`.
    ///
    /// # Panics
    /// Where there is no such component.
    pub fn project(&self, rows: &[f32], which: &[usize]) -> Vec<f32> {
        let dim = self.dim();
        let row = |row: &[f32]| {
            let centred: Vec<f64> =
                row.iter().zip(&self.mean).map(|(x, mean)| f64::from(x - mean)).collect();
            let along = |i: &usize| {
                let component = &self.components[i * dim..(i + 1) * dim];
                centred.iter().zip(component).map(|(x, c)| x * f64::from(*c)).sum::<f64>() as f32
            };
            which.iter().map(along).collect::<Vec<_>>()
        };
        rows.par_chunks_exact(dim).flat_map_iter(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn components_are_ordered_and_their_largest_entry_is_positive() {
        let mut rng = rng::keyed(1, "pca-test", &[]);
        let scale = [1.0, 5.0, 3.0, 0.1];
        let rows: Vec<f32> =
            (0..4000).map(|i| (10.0 + scale[i % 4] * rng::normal(&mut rng)) as f32).collect();
        let mut moments = Moments::new(4);
        moments.add(&rows);
        let basis = Basis::fit(&moments, 3);
        assert_eq!((basis.dim(), basis.n()), (4, 3));
        for (component, axis) in basis.components.chunks_exact(4).zip([1, 2, 0]) {
            assert!(component[axis] > 0.99, "{component:?}");
        }
        assert!(basis.variance.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", basis.variance);
        let projected = basis.project(&rows, &[1, 0]);
        let square: f32 = projected.chunks_exact(2).map(|pair| pair[1] * pair[1]).sum();
        assert!((square / 999.0 / basis.variance[0] - 1.0).abs() < 1e-4);
        assert_eq!(Basis::fit(&moments, 9).n(), 4);
    }

    #[test]
    fn rows_without_variance_have_a_basis_all_the_same() {
        let mut moments = Moments::new(3);
        moments.add(&[2.0; 30]);
        let basis = Basis::fit(&moments, 3);
        assert_eq!(basis.variance, [0.0; 3]);
        assert_eq!(basis.project(&[2.0; 3], &[0, 1, 2]), [0.0; 3]);
    }
}
