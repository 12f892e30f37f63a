//! The mean and the covariance of more rows than fit in memory, exact to rounding in f64.
//!
//! Rows come in blocks of a fixed size; each block's scatter is taken about its own mean and merged
//! with those before it (Chan, Golub, `LeVeque` 1983, "Algorithms for computing the sample
//! variance", formula 2.1, for matrices). What comes out depends on the order of the rows but not on
//! the number of threads.

use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows of one block, so that its copy in f64 is at most 17 MB at 1024 dimensions.
const BLOCK_ROWS: usize = 2048;
/// Rows of the scatter that one task computes.
const TASK_ROWS: usize = 64;

/// The count, the mean and the scatter of rows of `dim` values.
#[derive(Debug, Clone)]
pub struct Moments {
    n: u64,
    mean: Vec<f64>,
    /// The sum of `(x - mean)(x - mean)ᵀ`, `[dim, dim]`; only the upper triangle is kept.
    scatter: Vec<f64>,
}

impl Moments {
    /// The moments of no rows.
    pub fn new(dim: usize) -> Self {
        Self { n: 0, mean: vec![0.0; dim], scatter: vec![0.0; dim * dim] }
    }

    /// Number of rows so far.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean, `[dim]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Adds `rows` `[n, dim]`.
    pub fn add(&mut self, rows: &[f32]) {
        let dim = self.mean.len();
        for block in rows.chunks(BLOCK_ROWS * dim) {
            self.add_block(block);
        }
    }

    /// The covariance `[dim, dim]`, divided by n - 1 as scikit-learn's PCA does (by 1 for one row).
    pub fn covariance(&self) -> DMatrix<f64> {
        let dim = self.mean.len();
        let divisor = self.n.saturating_sub(1).max(1) as f64;
        DMatrix::from_fn(dim, dim, |i, j| self.scatter[i.min(j) * dim + i.max(j)] / divisor)
    }

    fn add_block(&mut self, rows: &[f32]) {
        let dim = self.mean.len();
        let n_new = rows.len() / dim;
        let mut mean = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        for sum in &mut mean {
            *sum /= n_new as f64;
        }
        let values = rows.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean));
        // Column-major, so that each row of tokens is a column: [dim, n].
        let centred =
            DMatrix::from_iterator(dim, n_new, values.map(|(x, mean)| f64::from(*x) - mean));
        let transposed = centred.transpose();
        let n = self.n + n_new as u64;
        let weight = self.n as f64 * n_new as f64 / n as f64;
        let delta: Vec<f64> = mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        let tasks = self.scatter.par_chunks_mut(TASK_ROWS * dim).enumerate();
        tasks.for_each(|(task, scatter)| {
            let first = task * TASK_ROWS;
            // [rows of the task, n] x [n, columns from the diagonal on]
            let product =
                centred.rows(first, scatter.len() / dim) * transposed.columns(first, dim - first);
            for (i, row) in scatter.chunks_exact_mut(dim).enumerate() {
                for j in first + i..dim {
                    row[j] += product[(i, j - first)] + weight * delta[first + i] * delta[j];
                }
            }
        });
        let share = n_new as f64 / n as f64;
        self.mean.iter_mut().zip(delta).for_each(|(mean, delta)| *mean += delta * share);
        self.n = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn rows(n: usize, dim: usize) -> Vec<f32> {
        let mut rng = rng::keyed(0, "pca-test", &[]);
        // Far from zero, where sums of squares would lose their digits.
        (0..n * dim).map(|i| 300.0 + ((i % dim) as f64 * rng::normal(&mut rng)) as f32).collect()
    }

    #[test]
    fn the_moments_are_those_of_the_definition_however_rows_are_split() {
        let (n, dim) = (5000, 70);
        let rows = rows(n, dim);
        let mean = |j: usize| (0..n).map(|i| f64::from(rows[i * dim + j])).sum::<f64>() / n as f64;
        for step in [n, 1, 77, 3000] {
            let mut moments = Moments::new(dim);
            rows.chunks(step * dim).for_each(|part| moments.add(part));
            assert_eq!(moments.n(), n as u64);
            let covariance = moments.covariance();
            for (a, b) in [(0, 0), (1, 1), (69, 69), (3, 66), (66, 3)] {
                let (mean_a, mean_b) = (mean(a), mean(b));
                let product =
                    |row: &[f32]| (f64::from(row[a]) - mean_a) * (f64::from(row[b]) - mean_b);
                let expect = rows.chunks_exact(dim).map(product).sum::<f64>() / (n - 1) as f64;
                assert!(
                    (covariance[(a, b)] - expect).abs() < 1e-8 * (1.0 + expect.abs()),
                    "{a} {b}"
                );
                assert!((moments.mean()[a] - mean_a).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let rows = rows(3000, 130);
        let [one, three] = [1, 3].map(|n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                let mut moments = Moments::new(130);
                moments.add(&rows);
                moments
            })
        });
        assert_eq!((one.mean, one.scatter), (three.mean, three.scatter));
    }
}
