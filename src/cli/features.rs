//! `sweep features`: writes an encoder's tokens, and a decoder's logits, of images or of a tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::encoder::{self, Named};
use super::fault::{Exit, OrExit, fault};
use super::{Context, device, printer, upsampler, words};
use crate::adapter::AdapterFile;
use crate::device::{self as devices, Request};
use crate::eval::features::{self, Dense, Error, Images, Input, Wanted};
use crate::fs::hash::sha256_file;
use crate::host;
use crate::model::DecoderConfig;
use crate::model::backbone::Backbone;
use crate::model::vit::FinalNorm;
use crate::upsample::{METHODS, Method};
use crate::weights;

/// Format of the file that is written.
const VERSION: u32 = 1;
/// Longest side of an input; a longer one is a typo, as attention over it would take too much.
const SIDE_PX_MAX: u32 = 8192;

/// Write an encoder's tokens of images, and a decoder's logits, to a safetensors file
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = CONTENT)]
pub struct Args {
    /// JPEG or PNG images, squashed to --px and normalised as the weights require; or one
    /// safetensors file, whose tensor `input` [batch, 3, height, width] is fed unchanged
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    encoder: encoder::Args,
    /// Layers to write as well, counted from 1
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    layers: Vec<usize>,
    /// Write --layers without the final norm
    #[arg(long, requires = "layers")]
    no_norm: bool,
    /// Write the last layer's patch tokens upsampled to the input's size as well
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(METHODS.iter().map(|method| method.name)))]
    upsample: Option<String>,
    /// Weights of the upsampler: its published file, or safetensors with the same names
    #[arg(long, value_name = "FILE", requires = "upsample")]
    upsample_weights: Option<PathBuf>,
    /// Side of the network's input, or height and width, in pixels [default: what the adapter was
    /// trained at, else 518 for patches of 14, 512 for patches of 16]
    #[arg(long, value_name = "N|H,W", value_parser = parse_px)]
    px: Option<[u32; 2]>,
    #[arg(long, default_value_t = Request::Auto, value_name = "DEVICE", help = devices::ALLOWED)]
    device: Request,
    /// Images per forward pass; fewer take less memory
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch_size: u16,
    /// The file to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
}

const CONTENT: &str = "\
The file, all f32, n images in the order given:
  patch_tokens  [n, n_patches, dim]           last layer, after the final norm; row by row
  class_token   [n, dim]                      last layer, after the final norm
  layer.N       [n, n_patches, dim]           patch tokens after layer N of --layers, through the final
                                              norm (as `get_intermediate_layers` of the official code)
                                              unless --no-norm
  logits        [n, n_classes, rows, columns] where --adapter has a decoder; not resized to the image
  dense         [n, dim, height, width]       patch_tokens upsampled to the input by --upsample
Its metadata: variant, weights_sha256, px, grid, mean, std, layers_norm, inputs, adapter_sha256,
upsample, upsample_weights_sha256, program, version.";

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    let device = device::open(&args.device)?;
    let named = args.encoder.name()?;
    let wanted = wanted(args, &named)?;
    let input = Arc::new(input(args, &named)?);
    let metadata = metadata(args, &named.backbone, &input)?;
    let mut model = named.load(&device)?;
    let mut progress = |done: usize, n: usize| {
        if n > wanted.batch {
            printer::aside(&format_args!("{done}/{n} images"));
        }
    };
    features::write(&args.output, (&mut model, &input), &wanted, &metadata, &mut progress)
        .map_err(|error| failed(error, &args.output))?;
    let n = words::count(input.len(), "image");
    printer::aside(&format_args!("{n} of {} -> {}", named.backbone.name, args.output.display()));
    Ok(Exit::Done)
}

fn failed(error: Error, output: &Path) -> anyhow::Error {
    let is_write = matches!(error, Error::Write(_));
    let error = match error {
        Error::Upsample(error) => return upsampler::with_exit(error),
        error => anyhow::Error::new(error),
    };
    if is_write { error.context(format!("`{}`", output.display())) } else { error }
}

fn wanted(args: &Args, named: &Named<'_>) -> anyhow::Result<Wanted> {
    let backbone = &named.backbone;
    let depth = backbone.arch.depth;
    if let Some(layer) = args.layers.iter().find(|layer| **layer == 0 || **layer > depth) {
        let words = format!("--layers {layer}: {} has layers 1 to {depth}", backbone.name);
        return Err(fault(Exit::Usage, words));
    }
    let mut layers = args.layers.clone();
    layers.sort_unstable();
    layers.dedup();
    let norm = if args.no_norm { FinalNorm::LeftOut } else { FinalNorm::Applied };
    let threads = host::cores().get() as usize;
    let dense = match args.upsample.as_deref().and_then(Method::find) {
        Some(method) => {
            let flag = "--upsample-weights";
            let model = upsampler::open(method, flag, args.upsample_weights.as_deref(), None)?;
            Some(Dense { model, normal: named.normal() })
        }
        None => None,
    };
    Ok(Wanted { layers, norm, dense, batch: usize::from(args.batch_size), threads })
}

fn input(args: &Args, named: &Named<'_>) -> anyhow::Result<Input> {
    let patch = named.backbone.arch.patch;
    let is_tensor = |path: &&PathBuf| path.extension().is_some_and(|end| end == "safetensors");
    let input = match (args.inputs.iter().find(is_tensor), args.inputs.len()) {
        (Some(path), 1) => {
            if args.px.is_some() {
                let words = "--px works only with images; a tensor is fed in its own size";
                return Err(fault(Exit::Usage, words));
            }
            Input::tensor(path, patch).or_exit(Exit::Usage)?
        }
        (Some(path), _) => {
            let words = format!("`{}` is not an image: it must be the only input", path.display());
            return Err(fault(Exit::Usage, words));
        }
        (None, _) => Input::Images(images(args, named)?),
    };
    let adapter = named.adapter.as_ref();
    let grid_min = adapter.and_then(AdapterFile::decoder).and_then(DecoderConfig::grid_min);
    let needed = grid_min.map_or(1, |min| min.side);
    let [rows, columns] = input.px().map(|side| side / patch);
    if rows.min(columns) < needed {
        let words = format!(
            "an input of {rows}x{columns} patches is too small for the adapter's decoder: it needs \
             {needed}x{needed}, {} pixels",
            needed * patch
        );
        return Err(fault(Exit::Usage, words));
    }
    Ok(input)
}

fn images(args: &Args, named: &Named<'_>) -> anyhow::Result<Images> {
    if let Some(path) = args.inputs.iter().find(|path| !path.is_file()) {
        let reason = if path.is_dir() { "is a folder; name its images" } else { "does not exist" };
        return Err(fault(Exit::Usage, format!("input `{}` {reason}", path.display())));
    }
    let patch = named.backbone.arch.patch as u32;
    let trained = named.adapter.as_ref().and_then(|file| file.about.input_px);
    let trained = trained.map(|px| px.map(|side| side as u32));
    let asked = args.px.or(trained).unwrap_or([encoder::side_px(patch); 2]);
    let px = asked.map(|side| side / patch * patch);
    if px.contains(&0) {
        let [height, width] = asked;
        let words = format!("--px: {height}x{width} is less than one patch of {patch} pixels");
        return Err(fault(Exit::Usage, words));
    }
    if px != asked {
        printer::aside(&format_args!(
            "warning: {}x{} is lowered to {}x{}, multiples of the patch of {patch} pixels",
            asked[0], asked[1], px[0], px[1]
        ));
    }
    Ok(Images { paths: args.inputs.clone(), px, normal: named.normal() })
}

fn metadata(
    args: &Args,
    backbone: &Backbone,
    input: &Input,
) -> anyhow::Result<BTreeMap<String, String>> {
    let [height, width] = input.px();
    let [rows, columns] = input.px().map(|side| side / backbone.arch.patch);
    let (mean, std) = match input {
        Input::Images(images) => (listed(images.normal.mean), listed(images.normal.std)),
        Input::Tensor { .. } => ("as given".to_owned(), "as given".to_owned()),
    };
    let inputs: Vec<_> = args.inputs.iter().map(|path| path.to_string_lossy()).collect();
    let mut metadata = vec![
        ("version", VERSION.to_string()),
        ("program", format!("sweep {}", env!("CARGO_PKG_VERSION"))),
        ("variant", backbone.name.clone()),
        ("weights_sha256", weights::digest(&args.encoder.weights, &mut |file| sha256_file(file))?),
        ("px", format!("{height}x{width}")),
        ("grid", format!("{rows}x{columns}")),
        ("mean", mean),
        ("std", std),
        ("layers_norm", if args.no_norm { "none" } else { "final" }.to_owned()),
        ("inputs", json!(inputs).to_string()),
    ];
    if let Some(path) = args.encoder.adapter.as_ref().filter(|path| path.is_file()) {
        metadata.push(("adapter_sha256", sha256_file(path)?));
    }
    metadata.extend(args.upsample.clone().map(|method| ("upsample", method)));
    if let Some(path) = &args.upsample_weights {
        let sum = weights::digest(path, &mut |file| sha256_file(file))?;
        metadata.push(("upsample_weights_sha256", sum));
    }
    Ok(metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn listed(values: [f32; 3]) -> String {
    values.map(|value| value.to_string()).join(",")
}

/// `518`, `308,616` or `308x616`: height and width.
pub(super) fn parse_px(text: &str) -> Result<[u32; 2], String> {
    let sides: Result<Vec<u32>, _> =
        text.split([',', 'x']).map(|side| side.trim().parse()).collect();
    let sides = match sides.as_deref() {
        Ok([side]) => [*side; 2],
        Ok([height, width]) => [*height, *width],
        _ => return Err("write one side, or height,width, in pixels".to_owned()),
    };
    if sides.iter().any(|side| *side == 0 || *side > SIDE_PX_MAX) {
        return Err(format!("sides are 1 to {SIDE_PX_MAX} pixels"));
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_side_or_two() {
        assert_eq!(parse_px("518"), Ok([518, 518]));
        assert_eq!(parse_px("308,616"), Ok([308, 616]));
        assert_eq!(parse_px("308x616"), Ok([308, 616]));
        for nonsense in ["", "0", "a", "1,2,3", "-1", "9000", "14,0"] {
            assert!(parse_px(nonsense).is_err(), "{nonsense}");
        }
    }
}
