//! `sweep features`: an encoder's tokens, and a decoder's logits, of images or of a tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use serde_json::json;

use super::fault::{Exit, OrExit, fault};
use super::{device, printer, words};
use crate::eval::features::{self, Error, Images, Input, Model, Wanted};
use crate::files::hash::sha256_file;
use crate::model::backbone;
use crate::model::vit::{Arch, Encoder, FinalNorm};
use crate::model::weights::{self, TensorFile};

/// Format of the file that is written.
const VERSION: u32 = 1;
/// Side of the images that the encoders were made for: 37 patches of 14, 32 of 16.
const SIDES_PX: [(usize, u32); 2] = [(14, 518), (16, 512)];
const SIDE_PX_MAX: u32 = 8192;

/// Write an encoder's tokens of images, and a decoder's logits, to a safetensors file
///
/// The file holds `patch_tokens` [n, n_patches, dim] and `class_token` [n, dim] of the last layer
/// after the final norm; `layer.N` [n, n_patches, dim], the patch tokens of each of --layers, after
/// the final norm too (as the official `get_intermediate_layers` gives them) unless --no-norm; with
/// a decoder in --adapter also `logits` [n, n_classes, rows, columns], before they are resized. All
/// are f32. Its metadata say what it was made from.
#[derive(Debug, Clone, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Images (JPEG or PNG), squashed to --px and normalised as the weights want it; or one
    /// safetensors file, whose tensor `input` [batch, 3, height, width] is fed as it is
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Weights of the encoder: a file, the index of a sharded one, or a folder
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The encoder in it, such as `dinov2_vits14_reg`, instead of finding out
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// LoRA and decoder of a run, or of the reference project (`.pt`)
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Layers to write as well, counted from 1
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    layers: Vec<usize>,
    /// Leave the final norm out of --layers
    #[arg(long)]
    no_norm: bool,
    /// Side of the network's input, or height and width, in pixels; default 518 for patches of 14,
    /// 512 for 16, or what the adapter was trained at
    #[arg(long, value_name = "N|H,W", value_parser = parse_px)]
    px: Option<[u32; 2]>,
    /// `auto`, `cpu` or `cuda:N`
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Images of one forward pass; fewer take less memory
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch_size: u16,
    /// The file to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
}

/// The encoder that was asked for.
struct Backbone {
    name: String,
    arch: Arch,
    mean: [f32; 3],
    std: [f32; 3],
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    check_paths(args)?;
    let device = device::open(&args.device)?;
    let backbone = backbone(args)?;
    let layers = layers(args, &backbone)?;
    let input = input(args, &backbone)?;
    let (mut model, mean_std) = model(args, &backbone, (&input, &device))?;
    todo!()
}
