//! Loads samples in parallel, in order and a bounded way ahead, and makes the batches of training.

mod cache;
mod ordered;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::cache::Budget;
pub use self::ordered::{OrderedMap, ordered_map};
use super::split::Split;
use super::transform::{self, DrawKey, Pixel, Training, pack, pad_mask};
use super::{Error, Mask, Rgb, VOID};
use crate::rng;
use cache::Cache;

/// Least number of batches loaded ahead of the training step.
const DEPTH_MIN: usize = 4;

/// The settings of a [`TrainLoader`].
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
    /// Whether void pixels become class 0, as in the reference project.
    pub void_as_background: bool,
    /// Loading threads; 0: the caller loads when it asks.
    pub threads: usize,
    /// Batches prepared ahead, at least 1.
    pub depth: usize,
    /// The cache of samples between epochs.
    pub cache: Budget,
}

/// Batches of a split in an order drawn for each epoch. What they hold depends on neither threads
/// nor cache nor the batch an epoch is started from.
#[derive(Debug, Clone)]
pub struct TrainLoader {
    config: Arc<TrainLoaderConfig>,
    cache: Arc<Cache>,
}

/// Some images with their targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, height, width]`
    pub images: Vec<Pixel>,
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
    waited: Duration,
}

struct Prepared {
    id: String,
    image: Vec<Pixel>,
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
        let cache = Cache::new(config.split.len(), config.cache.clone());
        Self { config: Arc::new(config), cache: Arc::new(cache) }
    }

    pub fn config(&self) -> &TrainLoaderConfig {
        &self.config
    }

    /// The last, smaller batch is kept.
    pub fn batches_per_epoch(&self) -> usize {
        self.config.split.len().div_ceil(self.config.batch_size)
    }

    /// The first problem of the cache, returned once. It changes no batch.
    pub fn take_warning(&self) -> Option<String> {
        self.cache.take_problem()
    }

    /// The batches of `epoch` from `first_batch` on, loaded ahead in the background.
    pub fn epoch(&self, epoch: u32, first_batch: usize) -> Epoch {
        let (config, cache) = (Arc::clone(&self.config), Arc::clone(&self.cache));
        let batch_size = config.batch_size;
        let order = order(&config, epoch);
        let skipped = first_batch.saturating_mul(batch_size).min(order.len());
        let n_samples = order.len() - skipped;
        let (threads, depth) = (config.threads, config.depth.max(1).saturating_mul(batch_size));
        let prepare = move |i: usize| prepare((&config, &cache), epoch, order[skipped + i]);
        let samples = ordered_map(n_samples, threads, depth, prepare);
        Epoch { samples, batch_size, failed: false, waited: Duration::ZERO }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = Instant::now();
        let batch = self.assemble();
        self.waited += asked.elapsed();
        batch
    }
}

impl Epoch {
    /// Time that the caller has spent in `next`.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    fn assemble(&mut self) -> Option<Result<Batch, Error>> {
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

/// Batches to load ahead with so many threads: two samples for each of them, or more, so that all
/// have work at small batches too.
pub fn depth(threads: usize, batch_size: usize) -> usize {
    DEPTH_MIN.max((2 * threads).div_ceil(batch_size))
}

fn order(config: &TrainLoaderConfig, epoch: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..config.split.len()).collect();
    let mut rng = rng::keyed(config.seed, "shuffle", &[u64::from(epoch)]);
    rng::shuffle(&mut rng, &mut order);
    order
}

fn prepare(
    (config, cache): (&TrainLoaderConfig, &Cache),
    epoch: u32,
    index: usize,
) -> Result<Prepared, Error> {
    let sample = cache.get_or_load(index, || load(config, index))?;
    let key = DrawKey { seed: config.seed, epoch, index };
    let (image, mut mask) = config.training().apply(sample, key);
    if config.void_as_background {
        for class in &mut mask.classes {
            if *class == VOID {
                *class = 0;
            }
        }
    }
    let mask = pad_mask(mask, config.input_px);
    let image = pack(&image, config.input_px);
    Ok(Prepared { id: config.split.items[index].id.clone(), image, targets: mask.classes })
}

/// The part of [`prepare`] that is the same in every epoch.
fn load(config: &TrainLoaderConfig, index: usize) -> Result<(Rgb, Mask), Error> {
    let sample = config.split.load(index)?;
    Ok(config.training().prefix((sample.image, sample.mask)))
}

#[cfg(test)]
mod tests;
