//! Computes the features of images and writes them to a safetensors file batch by batch: patch and
//! class tokens, layers, logits.
//!
//! Called by `sweep features` with a [`Model`] and an [`Input`].

mod input;
mod output;
mod dense;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::data::loader::ordered_map;
use crate::fs::write_atomic_with;
use crate::model::vit::{self, Encoder, FinalNorm};
use crate::model::{Mode, Network};
use crate::upsample;
use crate::weights;
pub use dense::Dense;
pub use input::{Images, Input, Ready};
use output::{Layout, Part};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load an image")]
    Image(#[from] crate::data::Error),
    #[error(transparent)]
    File(#[from] weights::Error),
    #[error("`{path}` has no usable `{}`: {reason}", input::TENSOR)]
    Input { path: PathBuf, reason: String },
    #[error(transparent)]
    Upsample(#[from] upsample::Error),
    #[error("cannot write the features")]
    Write(#[from] io::Error),
}

/// The model whose features are written.
pub enum Model {
    /// An encoder alone, which gives tokens.
    Encoder(Box<Encoder>),
    /// An encoder with an adapter's LoRA and decoder, which gives logits as well.
    Network(Box<Network>),
}

/// The features to compute beside the last layer's tokens, and the resources for it.
pub struct Wanted {
    /// Layers whose patch tokens are written, counted from 1, ascending; none above the encoder's
    /// depth.
    pub layers: Vec<usize>,
    /// The final norm of those layers; the last layer's own tokens are always normed.
    pub norm: FinalNorm,
    /// How the last layer's patch tokens are upsampled; they are not if `None`.
    pub dense: Option<Dense>,
    /// Images of one forward pass.
    pub batch: usize,
    /// Threads that load images.
    pub threads: usize,
}

/// Runs `model` over `input` and writes the features to `path`.
///
/// `patch_tokens` `[n, n_patches, dim]` and `class_token` `[n, dim]` are the last layer's after the
/// final norm; `layer.N` `[n, n_patches, dim]` are the layers asked for; `logits`
/// `[n, n_classes, rows, columns]` come from a decoder, before they are resized to the image; `dense`
/// `[n, dim, height, width]` are the patch tokens, upsampled to the input's size.
pub fn write(
    path: &Path,
    (model, input): (&mut Model, &Arc<Input>),
    wanted: &Wanted,
    metadata: &BTreeMap<String, String>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let n = input.len();
    let load = {
        let input = Arc::clone(input);
        move |i: usize| input.load(i)
    };
    let mut images = ordered_map(n, wanted.threads, 2 * wanted.batch, load);
    let grid = model.encoder().grid(input.px());
    let on_grid = model.encoder().layout(grid);
    write_atomic_with(path, |file| {
        let mut layout: Option<Layout> = None;
        let mut done = 0;
        while done < n {
            let batch: Vec<Ready> =
                images.by_ref().take(wanted.batch).collect::<Result<_, Error>>()?;
            let parts = model.run(&on_grid, to_tensor(&batch, input.px(), &model.device()), wanted);
            let layout = match &mut layout {
                Some(layout) => layout,
                none => {
                    let dense = wanted.dense.as_ref().map(|_| Dense::shape(&parts, input.px()));
                    none.insert(Layout::start(file, n, &parts, dense, metadata)?)
                }
            };
            layout.put(file, done, &parts)?;
            if let Some(dense) = &wanted.dense {
                let (images, parts) = (batch.as_slice(), parts.as_slice());
                let batch = dense::Batch { first: done, images, parts, px: input.px(), grid };
                dense.put(file, layout, &batch)?;
            }
            done += batch.len();
            progress(done, n);
        }
        Ok(())
    })
}

fn to_tensor(batch: &[Ready], [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = batch.iter().flat_map(|image| image.iter().copied()).collect();
    Tensor::from_data(TensorData::new(values, [batch.len(), 3, height, width]), device)
}

impl Model {
    /// The features model of an encoder alone.
    pub fn bare(encoder: Encoder) -> Self {
        Self::Encoder(Box::new(encoder))
    }

    pub fn encoder(&self) -> &Encoder {
        match self {
            Self::Encoder(encoder) => encoder,
            Self::Network(network) => network.encoder(),
        }
    }

    /// The encoder, with the adapter's low-rank updates.
    pub fn into_encoder(self) -> Encoder {
        match self {
            Self::Encoder(encoder) => *encoder,
            Self::Network(network) => network.encoder().clone(),
        }
    }

    fn device(&self) -> Device {
        self.encoder().device()
    }

    /// The features of one batch as parts of the file; `images` `[batch, 3, height, width]`.
    fn run(&mut self, on_grid: &vit::Layout, images: Tensor<4>, wanted: &Wanted) -> Vec<Part> {
        let decoded = match self {
            Self::Encoder(_) => vec![],
            Self::Network(network) => network.layers().to_vec(),
        };
        let encoder = self.encoder();
        let last = encoder.arch.depth - 1;
        let asked = wanted.layers.iter().map(|layer| layer - 1);
        let mut layers: Vec<usize> = asked.chain(decoded.iter().copied()).chain([last]).collect();
        layers.sort_unstable();
        layers.dedup();
        let hidden = encoder.hidden(on_grid, images, &layers, Mode::Eval);
        let after = |layer: usize| {
            let i = layers.binary_search(&layer).expect("it was asked for");
            hidden[i].clone()
        };
        let end = encoder.features(on_grid, &[after(last)], FinalNorm::Applied);
        let [batch, _, dim] = end.class[0].dims();
        let mut parts = vec![
            Part::new("patch_tokens", end.patches[0].clone()),
            Part::new("class_token", end.class[0].clone().reshape([batch, dim])),
        ];
        for layer in &wanted.layers {
            let features = encoder.features(on_grid, &[after(layer - 1)], wanted.norm);
            parts.push(Part::new(&format!("layer.{layer}"), features.patches[0].clone()));
        }
        let hidden: Vec<_> = decoded.iter().map(|layer| after(*layer)).collect();
        let features = encoder.features(on_grid, &hidden, FinalNorm::Applied);
        if let Self::Network(network) = self {
            parts.push(Part::new("logits", network.decode(&features, Mode::Eval)));
        }
        parts
    }
}
