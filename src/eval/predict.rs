//! Predictions over a split, clean or corrupted, and their scores.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};

use super::confusion::Confusion;
use super::reference_metric::{ReferenceMetric, VoidIs};
use super::scores;
use crate::data::corrupt::Corruptor;
use crate::data::loader::ordered_map;
use crate::data::split::Split;
use crate::data::{Mask, transform};
use crate::event::Metrics;
use crate::kernel::upsampled::{self, Logits};
use crate::model::{Mode, Network};

/// Images of one forward pass. Fixed, because a batch's size may touch the last bits.
const BATCH: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load the evaluation set")]
    Data(#[from] crate::data::Error),
    #[error("cannot report progress")]
    Progress(#[from] io::Error),
}

/// How a set is scored: the whole image squashed to the input, logits resized to the label's own
/// size.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Height and width of the network's input.
    pub input_px: [u32; 2],
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Batch over which the reference project's metric is averaged.
    pub reference_batch: u32,
    pub reference_void: VoidIs,
    /// Threads that load images.
    pub threads: usize,
}

/// An image ready for the network, and its labels.
struct Prepared {
    /// `[3, height, width]`
    image: Vec<f32>,
    /// At its original size.
    mask: Mask,
    /// At the network's input size, for the reference project's metric.
    mask_input: Mask,
}

/// Scores `network` on `split`; `None` when `stop` was set before the end.
///
/// `progress` is called after each batch with (images done, images in all).
pub fn score(
    network: &mut Network,
    (split, corruptor): (&Arc<Split>, Option<&Corruptor>),
    protocol: &Protocol,
    progress: &mut dyn FnMut(usize, usize) -> io::Result<()>,
    stop: &AtomicBool,
) -> Result<Option<Metrics>, Error> {
    let n = split.len();
    let n_classes = split.n_classes() as usize;
    let mut confusion = Confusion::new(n_classes);
    let mut reference =
        ReferenceMetric::new(protocol.reference_batch as usize, protocol.reference_void);
    let load = {
        let (split, protocol) = (Arc::clone(split), protocol.clone());
        let corruptor = corruptor.cloned();
        move |i: usize| prepare(&split, i, corruptor.as_ref(), &protocol)
    };
    let mut images = ordered_map(n, protocol.threads, 2 * BATCH, load);
    let mut done = 0;
    while done < n {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batch = images.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>()?;
        let logits = forward(network, &batch, protocol.input_px);
        let per_image = logits.values.len() / batch.len();
        for (prepared, values) in batch.iter().zip(logits.values.chunks_exact(per_image)) {
            let at_patches = Logits { values, n_classes, grid: logits.grid };
            let at_size = |mask: &Mask| {
                upsampled::arg_max(at_patches, [mask.height as usize, mask.width as usize])
            };
            confusion.add(&prepared.mask.classes, &at_size(&prepared.mask));
            reference.add_image(&prepared.mask_input.classes, &at_size(&prepared.mask_input));
        }
        done += batch.len();
        progress(done, n)?;
    }
    Ok(Some(scores::metrics(&confusion, reference.value(), n as u64)))
}

fn prepare(
    split: &Split,
    i: usize,
    corruptor: Option<&Corruptor>,
    protocol: &Protocol,
) -> Result<Prepared, crate::data::Error> {
    let mut sample = split.load(i)?;
    // Corrupted at native resolution, before any resize.
    let image = match corruptor {
        None => sample.image,
        Some(corruptor) => corruptor.corrupt(0, &sample.id, (&sample.image, &mut sample.mask)),
    };
    let [height, width] = protocol.input_px;
    let squashed = transform::squash(&image, height, width);
    let mut values = vec![0.0; 3 * (height * width) as usize];
    transform::to_chw(&squashed, protocol.mean, protocol.std, &mut values);
    let mask_input = transform::resize_nearest(&sample.mask, height, width);
    Ok(Prepared { image: values, mask: sample.mask, mask_input })
}

struct BatchLogits {
    /// `[batch, n_classes, rows, columns]`
    values: Vec<f32>,
    grid: [usize; 2],
}

fn forward(network: &mut Network, batch: &[Prepared], input_px: [u32; 2]) -> BatchLogits {
    let [height, width] = input_px.map(|px| px as usize);
    let images: Vec<f32> =
        batch.iter().flat_map(|prepared| prepared.image.iter().copied()).collect();
    let images = Tensor::from_data(
        TensorData::new(images, [batch.len(), 3, height, width]),
        &network.device(),
    );
    let logits = network.forward(images, Mode::Eval);
    let [_, _, rows, columns] = logits.dims();
    let values = logits.into_data().convert::<f32>().try_into_vec().expect("converted to f32");
    BatchLogits { values, grid: [rows, columns] }
}
