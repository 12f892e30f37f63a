//! Scores a network on a split in one pass: loads its images, corrupts them, predicts them by
//! [`infer`], and counts.
//!
//! Called by workers for scores and for validation while training, and by `sweep eval`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::confusion::Confusion;
use super::per_image::ImageCounts;
use super::reference_metric::{ReferenceMetric, VoidIs};
use burn::tensor::{Int, Tensor};

use crate::corrupt::Corruptor;
use crate::data::loader::ordered_map;
use crate::data::split::Split;
use crate::data::{Mask, transform};
use crate::eval::infer::{self, Item, Request};
use crate::eval::score::metrics;
use crate::event::Metrics;
use crate::kernel::{classes, confusion};
use crate::model::Network;
use crate::weights::NotFinite;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load the evaluation set")]
    Data(#[from] crate::data::Error),
    #[error("cannot report progress")]
    Progress(#[from] io::Error),
    #[error(
        "the network's output for image `{image}` of `{split}` is not finite: {found}; nothing \
         was scored, as its weights are damaged or its training diverged"
    )]
    NotFinite { split: String, image: String, found: NotFinite },
}

/// The settings by which a set is scored.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub request: Request,
    /// Batch over which the reference project's metric is averaged.
    pub reference_batch: u32,
    pub reference_void: VoidIs,
    /// Threads that load images.
    pub threads: usize,
}

/// The result of a pass over a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    pub metrics: Metrics,
    /// Counts of each image, in the order of the split.
    pub images: ImageCounts,
}

/// An image prepared for the network, and its labels.
#[derive(Debug, PartialEq)]
struct Prepared {
    input: infer::Input,
    /// Labels at their original size.
    mask: Mask,
    /// Labels at the network's input size, with void pixels as the reference project's metric wants
    /// them.
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
    let batch_size = infer::batch_size(&network.device());
    let mut images = ordered_map(n, protocol.threads, 2 * batch_size, load);
    let mut tally = |counted: Counting, done: &mut usize| {
        let items = &split.items[*done..];
        for (counted, item) in counted.read().into_iter().zip(items) {
            let counted = counted.map_err(|found| {
                let (split, image) = (split.name.clone(), item.id.clone());
                Error::NotFinite { split, image, found }
            })?;
            confusion.add_counts(&counted.at_labels);
            counts.add_counts(&counted.at_labels);
            reference.add_counts(&counted.at_input, n_classes);
            *done += 1;
        }
        Ok::<_, Error>(progress(*done, n)?)
    };
    let (mut done, mut started) = (0, 0);
    // A batch's counts are read when the next one has been handed to the device, which so never
    // waits for the host.
    let mut last: Option<Counting> = None;
    while started < n {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batch = images.by_ref().take(batch_size).collect::<Result<Vec<_>, _>>()?;
        let counting = Counting::start(network, &batch, &protocol.request, n_classes);
        started += batch.len();
        if let Some(last) = last.replace(counting) {
            tally(last, &mut done)?;
        }
    }
    if let Some(last) = last {
        tally(last, &mut done)?;
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
    let [height, width] = protocol.request.input_px;
    let mut mask_input = transform::resize_nearest(&sample.mask, height, width);
    protocol.reference_void.apply(&mut mask_input);
    let input = protocol.request.input(image);
    Ok(Prepared { input, mask: sample.mask, mask_input })
}

/// One image's confusion counts, `[n_classes, n_classes]`.
struct Counted {
    /// Counts at the size of the image's labels.
    at_labels: Vec<u64>,
    /// Counts at the size of the network's input.
    at_input: Vec<u64>,
}

/// The counts of a batch, which the device may still be working on.
struct Counting {
    /// For each image its counts at the size of its labels, those at the size of the input, and
    /// NaN and infinite logits, one after another.
    counts: Tensor<1, Int>,
    /// Number of logits of each image.
    n_logits: Vec<usize>,
    n_classes: usize,
}

impl Counting {
    /// Predicts a batch and counts its pixels, image by image in its order.
    fn start(
        network: &mut Network,
        batch: &[Prepared],
        request: &Request,
        n_classes: usize,
    ) -> Self {
        let size = |mask: &Mask| [mask.height as usize, mask.width as usize];
        let items: Vec<_> = batch
            .iter()
            .map(|image| Item { input: &image.input, size: size(&image.mask) })
            .collect();
        let device = network.device();
        let counts = |mask: &Mask, predicted| {
            let [height, width] = size(mask);
            let truth = classes::tensor(mask.classes.clone(), [1, height, width], &device);
            confusion::counts(truth, predicted, n_classes).flatten(0, 1)
        };
        let (mut all, mut n_logits) = (vec![], vec![]);
        for (image, prediction) in batch.iter().zip(infer::predict(network, &items, request)) {
            let (not_finite, n) = prediction.not_finite();
            all.push(counts(&image.mask, prediction.classes()));
            let at_input = prediction.classes_at(size(&image.mask_input));
            all.push(counts(&image.mask_input, at_input));
            all.push(not_finite);
            n_logits.push(n);
        }
        Self { counts: Tensor::cat(all, 0), n_logits, n_classes }
    }

    /// Waits for the device, and returns the counts of each image or what is wrong with its logits.
    fn read(self) -> Vec<Result<Counted, NotFinite>> {
        let counts = self.counts.into_data().convert::<u64>();
        let counts: Vec<u64> = counts.try_into_vec().expect("converted to u64");
        let n = self.n_classes * self.n_classes;
        let of_image = |(counts, n_logits): (&[u64], usize)| {
            let not_finite = [0, 1].map(|i| counts[2 * n + i] as usize);
            match NotFinite::of_counts("logits", not_finite, n_logits) {
                Some(found) => Err(found),
                None => Ok(Counted {
                    at_labels: counts[..n].to_vec(),
                    at_input: counts[n..2 * n].to_vec(),
                }),
            }
        };
        counts.chunks_exact(2 * n + 2).zip(self.n_logits).map(of_image).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::corrupt::{Corruption, Effect, Severity, TABLE};
    use crate::data::dataset::{self, Config, ShapesConfig};
    use crate::data::split::Split;
    use crate::data::transform::Normal;
    use crate::eval::{Mode, Tta};
    use crate::model::decoder::linear;
    use crate::model::network::Parts;
    use crate::model::params::Params;
    use crate::model::vit::Encoder;
    use crate::model::{DecoderConfig, TuneConfig, backbone};

    fn protocol() -> Protocol {
        let request = Request {
            mode: Mode::Whole {},
            tta: Tta::default(),
            input_px: [28; 2],
            patch_px: 14,
            normal: Normal { mean: [0.5; 3], std: [0.25; 3] },
        };
        Protocol { request, reference_batch: 1, reference_void: VoidIs::LeftOut, threads: 1 }
    }

    /// The images and labels from index `first` on, prepared for the network.
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
        let shapes =
            ShapesConfig { n_train: 1, n_val: 2, side_px: 32, seed: 0, ..ShapesConfig::default() };
        let dataset = dataset::open(&Config::Shapes(shapes), &[dir.path().to_owned()]).unwrap();
        let split = Arc::new(dataset.split("val").unwrap());
        let row = backbone::variants().find(|row| row.name == "dinov2_tiny14").unwrap();
        let parts = Parts {
            tune: &TuneConfig::Frozen {},
            decoder: &DecoderConfig::Linear(linear::Config {}),
            n_classes: split.n_classes() as usize,
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
        let with = |change: &dyn Fn(&mut Request)| {
            let mut protocol = protocol();
            change(&mut protocol.request);
            protocol
        };
        let several = with(&|request| request.tta = tta.clone());
        let windows = with(&|request| request.mode = slide);
        for protocol in [protocol(), several, windows] {
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
        let shapes =
            ShapesConfig { n_train: 1, n_val: 6, side_px: 32, seed: 0, ..ShapesConfig::default() };
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
