//! Predictions over a split, clean or corrupted, and their scores.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};

use super::confusion::Confusion;
use super::per_image::ImageCounts;
use super::reference_metric::{ReferenceMetric, VoidIs};
use crate::corrupt::Corruptor;
use crate::data::loader::ordered_map;
use crate::data::split::Split;
use crate::data::{Mask, Rgb, transform};
use crate::eval::score::metrics;
use crate::eval::{Mode, Tta, infer};
use crate::event::Metrics;
use crate::kernel::upsampled::{self, Logits};
use crate::model::{self, Network};
use crate::weights::NotFinite;

/// Images of one forward pass. Fixed, because a batch's size may touch the last bits.
const BATCH: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load the evaluation set")]
    Data(#[from] crate::data::Error),
    #[error("cannot report progress")]
    Progress(#[from] io::Error),
    #[error(
        "the network's output for image `{image}` of `{split}` is not finite: {found}; nothing is \
         scored, because its weights or its training are broken"
    )]
    NotFinite { split: String, image: String, found: NotFinite },
}

/// How a set is scored.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub mode: Mode,
    pub tta: Tta,
    /// Height and width of the network's input in training; whole images are squashed to it.
    pub input_px: [u32; 2],
    /// Side of a patch.
    pub patch_px: u32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Batch over which the reference project's metric is averaged.
    pub reference_batch: u32,
    pub reference_void: VoidIs,
    /// Threads that load images.
    pub threads: usize,
}

/// What a pass over a set gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    pub metrics: Metrics,
    /// In the order of the split.
    pub images: ImageCounts,
}

/// An image on its way to the network, and its labels.
#[derive(Debug, PartialEq)]
struct Prepared {
    image: Image,
    /// At its original size.
    mask: Mask,
    /// At the network's input size, for the reference project's metric.
    mask_input: Mask,
}

#[derive(Debug, PartialEq)]
enum Image {
    /// Squashed and normalised, `[3, height, width]`.
    Ready(Vec<f32>),
    /// For several views, at its own size.
    Native(Rgb),
}

/// One image's predictions at the size of its labels and at that of the network's input.
struct Predicted {
    at_labels: Vec<u8>,
    at_input: Vec<u8>,
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
) -> Result<Option<Scored>, Error> {
    let n = split.len();
    let n_classes = split.n_classes() as usize;
    let mut confusion = Confusion::new(n_classes);
    let mut counts = ImageCounts::new(n_classes);
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
        let predicted = predict(network, &batch, protocol);
        for ((prepared, predicted), item) in batch.iter().zip(predicted).zip(&split.items[done..]) {
            let predicted = predicted.map_err(|found| {
                let (split, image) = (split.name.clone(), item.id.clone());
                Error::NotFinite { split, image, found }
            })?;
            confusion.add(&prepared.mask.classes, &predicted.at_labels);
            counts.add(&prepared.mask.classes, &predicted.at_labels);
            reference.add_image(&prepared.mask_input.classes, &predicted.at_input);
        }
        done += batch.len();
        progress(done, n)?;
    }
    let metrics = metrics::metrics(&confusion, reference.value(), n as u64);
    Ok(Some(Scored { metrics, images: counts }))
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
    let image = if infer::is_plain(protocol) {
        let squashed = transform::squash(&image, height, width);
        let mut values = vec![0.0; 3 * (height * width) as usize];
        transform::to_chw(&squashed, protocol.mean, protocol.std, &mut values);
        Image::Ready(values)
    } else {
        Image::Native(image)
    };
    let mask_input = transform::resize_nearest(&sample.mask, height, width);
    Ok(Prepared { image, mask: sample.mask, mask_input })
}

/// Predictions of a batch, in its order; for an image whose logits are not finite, how many are not.
fn predict(
    network: &mut Network,
    batch: &[Prepared],
    protocol: &Protocol,
) -> Vec<Result<Predicted, NotFinite>> {
    let size = |mask: &Mask| [mask.height as usize, mask.width as usize];
    let ready: Vec<&[f32]> = batch
        .iter()
        .filter_map(|prepared| match &prepared.image {
            Image::Ready(values) => Some(values.as_slice()),
            Image::Native(_) => None,
        })
        .collect();
    if ready.len() == batch.len() {
        let logits = forward(network, &ready, protocol.input_px);
        let per_image = logits.values.len() / batch.len();
        let views = batch.iter().zip(logits.values.chunks_exact(per_image));
        return views
            .map(|(prepared, values)| {
                check_finite(values)?;
                let (n_classes, grid) = (logits.n_classes, logits.grid);
                let at = |mask: &Mask| {
                    upsampled::arg_max(Logits { values, n_classes, grid }, size(mask))
                };
                Ok(Predicted { at_labels: at(&prepared.mask), at_input: at(&prepared.mask_input) })
            })
            .collect();
    }
    batch
        .iter()
        .filter_map(|prepared| match &prepared.image {
            Image::Native(image) => Some((prepared, image)),
            Image::Ready(_) => None,
        })
        .map(|(prepared, image)| {
            let at_labels = infer::predict(network, image, size(&prepared.mask), protocol)?;
            let Mask { width, height, .. } = prepared.mask;
            let mask = Mask { width, height, classes: at_labels };
            let [height, width] = protocol.input_px;
            let at_input = transform::resize_nearest(&mask, height, width).classes;
            Ok(Predicted { at_labels: mask.classes, at_input })
        })
        .collect()
}

struct BatchLogits {
    /// `[batch, n_classes, rows, columns]`
    values: Vec<f32>,
    n_classes: usize,
    grid: [usize; 2],
}

/// Logits of images that are squashed and normalised.
fn forward(network: &mut Network, batch: &[&[f32]], input_px: [u32; 2]) -> BatchLogits {
    let size = input_px.map(|px| px as usize);
    if network.prepared_px() != Some(size) {
        network.prepare(size);
    }
    let images: Vec<f32> = batch.iter().flat_map(|image| image.iter().copied()).collect();
    let images = Tensor::from_data(
        TensorData::new(images, [batch.len(), 3, size[0], size[1]]),
        &network.device(),
    );
    let logits = network.forward(images, model::Mode::Eval);
    let [_, n_classes, rows, columns] = logits.dims();
    BatchLogits { values: to_vec(logits), n_classes, grid: [rows, columns] }
}

/// Refuses logits that are not finite: the largest of them means nothing.
pub(in crate::eval) fn check_finite(logits: &[f32]) -> Result<(), NotFinite> {
    NotFinite::count("logits", logits).map_or(Ok(()), Err)
}

/// The values of a tensor, row-major.
pub(in crate::eval) fn to_vec(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::corrupt::{Corruption, Effect, Severity, TABLE};
    use crate::data::dataset::{self, Config, ShapesConfig};
    use crate::data::split::Split;
    use crate::model::network::Parts;
    use crate::model::params::Params;
    use crate::model::vit::Encoder;
    use crate::model::{DecoderConfig, TuneConfig, backbone};

    fn protocol() -> Protocol {
        Protocol {
            mode: Mode::Whole {},
            tta: Tta::default(),
            input_px: [28; 2],
            patch_px: 14,
            mean: [0.5; 3],
            std: [0.25; 3],
            reference_batch: 1,
            reference_void: VoidIs::LeftOut,
            threads: 1,
        }
    }

    /// What the network gets of the images from `first` on.
    fn pictures(
        split: &Arc<Split>,
        corruptor: &Corruptor,
        (threads, first): (usize, usize),
    ) -> Vec<Prepared> {
        let (split, corruptor) = (Arc::clone(split), corruptor.clone());
        let n = split.len() - first;
        let load = move |i| prepare(&split, first + i, Some(&corruptor), &protocol()).unwrap();
        ordered_map(n, threads, 3, load).collect()
    }

    #[test]
    fn an_image_without_finite_logits_is_named_and_nothing_is_scored() {
        let dir = tempfile::tempdir().unwrap();
        let shapes = ShapesConfig { n_train: 1, n_val: 2, side_px: 32, seed: 0 };
        let dataset = dataset::open(&Config::Shapes(shapes), &[dir.path().to_owned()]).unwrap();
        let split = Arc::new(dataset.split("val").unwrap());
        let row = backbone::variants().find(|row| row.name == "dinov2_tiny14").unwrap();
        let parts = Parts {
            tune: &TuneConfig::Frozen {},
            decoder: &DecoderConfig::Linear {},
            n_classes: split.n_classes() as usize,
            input_px: [28; 2],
            seed: 0,
        };
        let mut network = Network::new(Encoder::zeros(row.arch, &Device::flex()), &parts);
        let device = network.device();
        network.each("", &mut |name, mut slot| {
            if name == "decoder.classifier.bias" {
                let mut values = slot.to_file();
                values[1] = f32::NAN;
                slot.set_from_file(values, &device);
            }
        });
        let mut network = network.without_gradients();
        let tta = Tta { flip: true, ..Tta::default() };
        let slide = Mode::Slide { crop: 28, stride: 14, short_side: None };
        for protocol in
            [protocol(), Protocol { tta, ..protocol() }, Protocol { mode: slide, ..protocol() }]
        {
            let never = AtomicBool::new(false);
            let silent = &mut |_, _| Ok(());
            let scored = score(&mut network, (&split, None), &protocol, silent, &never);
            let text = scored.unwrap_err().to_string();
            let expect = format!("image `{}` of `val` is not finite", split.items[0].id);
            assert!(text.contains(&expect), "{text}");
        }
    }

    #[test]
    fn corrupted_pictures_depend_on_neither_threads_nor_start() {
        let dir = tempfile::tempdir().unwrap();
        let shapes = ShapesConfig { n_train: 1, n_val: 6, side_px: 32, seed: 0 };
        let dataset = dataset::open(&Config::Shapes(shapes), &[dir.path().to_owned()]).unwrap();
        let split = Arc::new(dataset.split("val").unwrap());
        let all = TABLE.iter().map(|row| Effect::Corruption(row.corruption));
        // Frost's textures are not here; ice is drawn by the same code.
        let all = all.filter(|effect| *effect != Effect::Corruption(Corruption::Frost));
        for effect in all.chain([Effect::ProceduralFrost, Effect::ReferenceDraw(3)]) {
            let severity = Severity::new(4).unwrap();
            let corruptor = Corruptor::new(effect, severity, None).unwrap();
            let expect = pictures(&split, &corruptor, (1, 0));
            assert!(expect[0] != expect[1]);
            for (threads, first) in [(2, 0), (8, 0), (1, 3), (8, 5)] {
                let got = pictures(&split, &corruptor, (threads, first));
                assert!(got == expect[first..], "{effect:?}, {threads} threads from {first}");
            }
        }
    }
}
