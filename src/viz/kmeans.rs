//! Unsupervised segments: patch tokens in clusters, by Lloyd's algorithm from k-means++ starts
//! (Arthur and Vassilvitskii 2007), as scikit-learn's `KMeans(n_init=1)`.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

use crate::eval::tokens::Store;
use crate::rng::{self, ChaCha8Rng};

/// Passes over all tokens, at most.
const PASSES_MAX: usize = 100;
/// Squared shift of the centres at which they have settled, as a share of the tokens' variance.
const SETTLED: f64 = 1e-4;
/// Values that are summed side by side.
const LANES: usize = 16;
/// Most clusters.
pub const K_MAX: usize = 255;

/// Centres of clusters, the one of the most tokens first.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// `[k, dim]`.
    centres: Vec<f32>,
    dim: usize,
}

impl Clusters {
    /// Clusters the tokens of `images` into `k`; what is drawn comes from `seed`.
    ///
    /// # Panics
    /// If there are fewer tokens than clusters, or more than [`K_MAX`] clusters.
    pub fn fit(store: &Store, images: Range<usize>, k: usize, seed: u64) -> io::Result<Self> {
        assert!((1..=K_MAX).contains(&k) && k <= store.n_patches(images.clone()), "k <= tokens");
        let mut clusters = Self::start(store, images.clone(), k, seed)?;
        let variance = variance(store, images.clone())?;
        for _ in 0..PASSES_MAX {
            let sums = clusters.sums(store, images.clone())?;
            let moved = clusters.moved(&sums);
            let shift = clusters.shift(&moved);
            clusters = moved;
            if shift <= SETTLED * variance {
                break;
            }
        }
        let counts = clusters.sums(store, images)?.counts;
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|a, b| counts[*b].cmp(&counts[*a]));
        let centres = order.iter().flat_map(|i| clusters.centre(*i).to_vec()).collect();
        Ok(Self { centres, dim: clusters.dim })
    }

    /// The nearest cluster of each of `tokens` `[n, dim]`.
    pub fn assign(&self, tokens: &[f32]) -> Vec<u8> {
        let nearest = |token: &[f32]| {
            let distances = self.centres.chunks_exact(self.dim).map(|c| distance(token, c));
            let nearest = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            nearest.map_or(0, |(i, _)| i as u8)
        };
        tokens.par_chunks_exact(self.dim).map(nearest).collect()
    }

    fn centre(&self, i: usize) -> &[f32] {
        &self.centres[i * self.dim..][..self.dim]
    }

    /// Tokens far from one another as first centres: each is drawn by its squared distance to those
    /// before it, the best of a few draws.
    fn start(store: &Store, images: Range<usize>, k: usize, seed: u64) -> io::Result<Self> {
        let dim = store.dim();
        let mut rng = rng::keyed(seed, "kmeans", &[]);
        let n = store.n_patches(images.clone());
        let first = token(store, images.clone(), rng::below(&mut rng, n as u64) as usize)?;
        let mut nearest = distances(store, images.clone(), &first)?;
        let mut centres = first;
        let n_draws = 2 + (k as f64).ln() as usize;
        while centres.len() < k * dim {
            let mut best: Option<(f64, Vec<f32>, Vec<f32>)> = None;
            for _ in 0..n_draws {
                let drawn = token(store, images.clone(), draw(&mut rng, &nearest))?;
                let own = distances(store, images.clone(), &drawn)?;
                let left: Vec<f32> = nearest.iter().zip(own).map(|(a, b)| a.min(b)).collect();
                let sum = left.iter().map(|x| f64::from(*x)).sum();
                if best.as_ref().is_none_or(|(least, ..)| sum < *least) {
                    best = Some((sum, left, drawn));
                }
            }
            let (_, left, drawn) = best.expect("there is at least one draw");
            nearest = left;
            centres.extend(drawn);
        }
        Ok(Self { centres, dim })
    }

    fn sums(&self, store: &Store, images: Range<usize>) -> io::Result<Sums> {
        let k = self.centres.len() / self.dim;
        let mut sums = Sums { values: vec![0.0; self.centres.len()], counts: vec![0; k] };
        for i in images {
            let tokens = store.read(i)?;
            let assigned = self.assign(&tokens);
            for (token, cluster) in tokens.chunks_exact(self.dim).zip(assigned) {
                let cluster = usize::from(cluster);
                sums.counts[cluster] += 1;
                let to = &mut sums.values[cluster * self.dim..][..self.dim];
                to.iter_mut().zip(token).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        Ok(sums)
    }

    /// The means of the clusters; one without tokens stays where it is.
    fn moved(&self, sums: &Sums) -> Self {
        let mut moved = self.clone();
        let rows = moved.centres.chunks_exact_mut(self.dim).zip(sums.values.chunks_exact(self.dim));
        for ((centre, sum), n) in rows.zip(&sums.counts).filter(|(_, n)| **n > 0) {
            centre.iter_mut().zip(sum).for_each(|(x, sum)| *x = (sum / *n as f64) as f32);
        }
        moved
    }

    /// The squared distance that the centres moved.
    fn shift(&self, other: &Self) -> f64 {
        let pairs = self.centres.iter().zip(&other.centres);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }
}

/// Tokens by cluster.
struct Sums {
    /// `[k, dim]`.
    values: Vec<f64>,
    counts: Vec<u64>,
}

/// The token number `index` of `images`.
fn token(store: &Store, images: Range<usize>, mut index: usize) -> io::Result<Vec<f32>> {
    for i in images {
        let n = store.n_patches(i..i + 1);
        if index < n {
            let dim = store.dim();
            return Ok(store.read(i)?[index * dim..][..dim].to_vec());
        }
        index -= n;
    }
    unreachable!("the index is below the number of tokens")
}

/// The squared distances of all tokens of `images` to one.
fn distances(store: &Store, images: Range<usize>, to: &[f32]) -> io::Result<Vec<f32>> {
    let mut all = vec![];
    for i in images {
        let tokens = store.read(i)?;
        let own = tokens.par_chunks_exact(to.len()).map(|token| distance(token, to));
        all.extend(own.collect::<Vec<_>>());
    }
    Ok(all)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += (a[i] - b[i]) * (a[i] - b[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// An index, drawn in proportion to its weight.
fn draw(rng: &mut ChaCha8Rng, weights: &[f32]) -> usize {
    let sum: f64 = weights.iter().map(|x| f64::from(*x)).sum();
    let mut left = rng::uniform(rng) * sum;
    for (i, weight) in weights.iter().enumerate() {
        left -= f64::from(*weight);
        if left < 0.0 {
            return i;
        }
    }
    // All tokens are alike, or rounding is in the way.
    weights.len() - 1
}

/// The mean of the variances of the values of tokens.
fn variance(store: &Store, images: Range<usize>) -> io::Result<f64> {
    let dim = store.dim();
    let n = store.n_patches(images.clone()) as f64;
    let (mut sums, mut squares) = (vec![0.0; dim], vec![0.0; dim]);
    for i in images {
        for token in store.read(i)?.chunks_exact(dim) {
            for (i, x) in token.iter().enumerate() {
                sums[i] += f64::from(*x);
                squares[i] += f64::from(*x).powi(2);
            }
        }
    }
    let one = |(sum, square): (&f64, &f64)| square / n - (sum / n).powi(2);
    Ok(sums.iter().zip(&squares).map(one).sum::<f64>() / dim as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Scratch;

    /// Two images of tokens around three points.
    fn store(dir: &tempfile::TempDir) -> Store {
        let mut rng = rng::keyed(3, "kmeans-test", &[]);
        let mut store = Store::new(Scratch::new_in(dir.path()).unwrap(), 20);
        let points = [0, 0, 0, 1, 1, 2];
        for _ in 0..2 {
            let values = (0..60).flat_map(|i| {
                let at = 5.0 * f64::from(points[i % 6]);
                (0..20).map(|_| (at + rng::normal(&mut rng)) as f32).collect::<Vec<_>>()
            });
            let tokens: Vec<f32> = values.collect();
            store.push(&tokens, [6, 10]).unwrap();
        }
        store
    }

    #[test]
    fn tokens_around_points_are_their_clusters_the_largest_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        for seed in 0..5 {
            let clusters = Clusters::fit(&store, 0..2, 3, seed).unwrap();
            for i in 0..2 {
                let found = clusters.assign(&store.read(i).unwrap());
                let expect: Vec<u8> = [0, 0, 0, 1, 1, 2].repeat(10);
                assert_eq!(found, expect, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_clusters_and_equal_tokens_are_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let fit = |k, seed| Clusters::fit(&store, 0..2, k, seed).unwrap();
        assert_eq!(fit(7, 1), fit(7, 1));
        let mut same = Store::new(Scratch::new_in(dir.path()).unwrap(), 4);
        same.push(&[1.0; 24], [2, 3]).unwrap();
        let clusters = Clusters::fit(&same, 0..1, 6, 0).unwrap();
        assert_eq!(clusters.assign(&[1.0; 4]), [0]);
    }
}
