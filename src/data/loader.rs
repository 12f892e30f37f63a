//! Ordered, bounded parallel loading, and the batches of training.

mod ordered;

use std::sync::Arc;

pub use self::ordered::{OrderedMap, ordered_map};
use super::split::Split;
use super::transform::{self, DrawKey, Training, pad_mask, to_chw_padded};
use super::{Error, VOID};
use crate::rng;

/// What a [`TrainLoader`] makes batches of, and how.
#[derive(Debug, Clone)]
pub struct TrainLoaderConfig {
    pub split: Arc<Split>,
    /// Network input, height and width.
    pub input_px: [u32; 2],
    pub transform: transform::Config,
    pub photometric: bool,
    /// At least 1.
    pub batch_size: usize,
    pub seed: u64,
    /// Probability of a horizontal flip.
    pub flip: f64,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Void pixels become class 0, as in the reference project.
    pub void_as_background: bool,
    /// Loading threads; 0: the caller loads when it asks.
    pub threads: usize,
    /// Batches prepared ahead, at least 1.
    pub depth: usize,
}

/// Batches of a split in an order drawn for each epoch. What they hold depends on neither threads
/// nor the batch an epoch is started from.
#[derive(Debug, Clone)]
pub struct TrainLoader {
    config: Arc<TrainLoaderConfig>,
}

/// Some images with their targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, 3, height, width]`, normalised.
    pub images: Vec<f32>,
    /// `[n, height, width]`; 255 is ignored.
    pub targets: Vec<u8>,
    pub ids: Vec<String>,
    pub n: usize,
}

/// The batches of one epoch. The first error ends it.
pub struct Epoch {
    samples: OrderedMap<Result<Prepared, Error>>,
    batch_size: usize,
    failed: bool,
}

struct Prepared {
    id: String,
    image: Vec<f32>,
    targets: Vec<u8>,
}

impl TrainLoaderConfig {
    fn training(&self) -> Training {
        Training {
            transform: self.transform,
            input_px: self.input_px,
            flip: self.flip,
            photometric: self.photometric,
        }
    }
}

impl TrainLoader {
    pub fn new(config: TrainLoaderConfig) -> Self {
        assert!(config.batch_size > 0, "batches hold images");
        Self { config: Arc::new(config) }
    }

    pub fn config(&self) -> &TrainLoaderConfig {
        &self.config
    }

    /// The last, smaller batch is kept.
    pub fn batches_per_epoch(&self) -> usize {
        self.config.split.len().div_ceil(self.config.batch_size)
    }

    /// The batches of `epoch` from `first_batch` on, loaded ahead in the background.
    pub fn epoch(&self, epoch: u32, first_batch: usize) -> Epoch {
        let config = Arc::clone(&self.config);
        let batch_size = config.batch_size;
        let order = order(&config, epoch);
        let skipped = first_batch.saturating_mul(batch_size).min(order.len());
        let n_samples = order.len() - skipped;
        let (threads, depth) = (config.threads, config.depth.max(1).saturating_mul(batch_size));
        let prepare = move |i: usize| prepare(&config, epoch, order[skipped + i]);
        let samples = ordered_map(n_samples, threads, depth, prepare);
        Epoch { samples, batch_size, failed: false }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let mut batch = Batch { images: Vec::new(), targets: Vec::new(), ids: Vec::new(), n: 0 };
        for sample in self.samples.by_ref().take(self.batch_size) {
            match sample {
                Ok(sample) => batch.push(sample, self.batch_size),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        (batch.n > 0).then_some(Ok(batch))
    }
}

impl Batch {
    fn push(&mut self, sample: Prepared, n_expected: usize) {
        if self.n == 0 {
            self.images.reserve_exact(sample.image.len() * n_expected);
            self.targets.reserve_exact(sample.targets.len() * n_expected);
        }
        self.images.extend_from_slice(&sample.image);
        self.targets.extend_from_slice(&sample.targets);
        self.ids.push(sample.id);
        self.n += 1;
    }
}

fn order(config: &TrainLoaderConfig, epoch: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..config.split.len()).collect();
    let mut rng = rng::keyed(config.seed, "shuffle", &[u64::from(epoch)]);
    rng::shuffle(&mut rng, &mut order);
    order
}

fn prepare(config: &TrainLoaderConfig, epoch: u32, index: usize) -> Result<Prepared, Error> {
    let sample = config.split.load(index)?;
    let key = DrawKey { seed: config.seed, epoch, index };
    let (image, mut mask) = config.training().apply((sample.image, sample.mask), key);
    if config.void_as_background {
        for class in &mut mask.classes {
            if *class == VOID {
                *class = 0;
            }
        }
    }
    let mask = pad_mask(mask, config.input_px);
    let mut values = vec![0.0; 3 * mask.classes.len()];
    to_chw_padded(&image, config.input_px, (config.mean, config.std), &mut values);
    Ok(Prepared { id: sample.id, image: values, targets: mask.classes })
}

#[cfg(test)]
mod tests;
