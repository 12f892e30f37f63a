//! `sweep pca`: the principal components of an encoder's features as colours.

mod flags;
mod encode;
mod look;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;

use super::bar::Bar;
use super::fault::{Exit, OrExit as _, fault};
use super::inputs::{self, Inputs};
use super::{Context, device, encoder, printer, upsampler, words};
use crate::data::{Rgb, image_io, transform};
use crate::device::{self as devices, Request};
use crate::eval::tokens::{Extractor, Store};
use crate::fs::hash::sha256_file;
use crate::fs::{Scratch, write_atomic};
use crate::model::vit::FinalNorm;
use crate::upsample::{METHODS, Method};
use crate::viz::contact::Contact;
use crate::viz::kmeans::{Clusters, K_MAX};
use crate::viz::pca::{Fitted, Foreground, Settings, Style};
use crate::viz::video::Writer;
use crate::weights;
use encode::Encoded;
use flags::{Basis, Components, Px};
use look::{Look, Painter};

/// Format of the file of a basis.
const VERSION: u32 = 1;
/// Images on a sheet, at most.
const SHEET_MAX: usize = 60;
/// Enlargement of patches to squares, which is no method of upsampling.
const NEAREST: &str = "nearest";

/// Show an encoder's features of images or of a video as colours
///
/// The three first principal components of the patch tokens are red, green and blue: parts that
/// look alike to the encoder have one colour.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = CONTENT)]
pub struct Args {
    /// JPEG or PNG images, folders of them, patterns such as 'photos/*.jpg'; or one video
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    encoder: encoder::Args,
    /// Layer whose patch tokens are shown, counted from 1 [default: the last]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Show them without the final norm
    #[arg(long)]
    no_norm: bool,
    /// Shorter side of the network's input, in pixels, the image's aspect kept; or height and width
    /// [default: 518 for patches of 14, 512 for patches of 16]
    #[arg(long, value_name = "N|H,W")]
    px: Option<Px>,
    /// The images that share a basis: `joint` for all, `each` for none, `chunk=N` for N after one
    /// another; or the file of a basis from --save-basis
    #[arg(long, value_name = "BASIS", default_value_t = Basis::Joint)]
    basis: Basis,
    /// Write the basis of all images to this safetensors file
    #[arg(long, value_name = "FILE", conflicts_with = "kmeans")]
    save_basis: Option<PathBuf>,
    /// Components that are red, green and blue, counted from 1; `-2` turns the second's sign
    #[arg(long, value_name = "R,G,B", default_value = "1,2,3", allow_hyphen_values = true)]
    components: Components,
    /// The side of the first component that is the foreground, which gets a basis of its own; the
    /// rest is black
    #[arg(long, value_enum, value_name = "SIDE", default_value_t = Foreground::Off)]
    foreground: Foreground,
    /// The first component's value between foreground and background, in its standard deviations
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_hyphen_values = true)]
    threshold: f32,
    /// How values become colours
    #[arg(long, value_enum, value_name = "STYLE", default_value_t = Style::Dinov2)]
    style: Style,
    /// Show K clusters of the tokens (k-means) instead of components
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=K_MAX as i64),
          conflicts_with_all = ["foreground", "style", "components", "upsample"])]
    kmeans: Option<u8>,
    /// Seed of the clusters' start
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// How patches are enlarged: as squares, or by a method that upsamples features
    #[arg(long, value_name = "METHOD", default_value = NEAREST, value_parser = PossibleValuesParser::new(
        std::iter::once(NEAREST).chain(METHODS.iter().map(|method| method.name))))]
    upsample: String,
    /// Weights of the upsampler: its published file, or safetensors with the same names
    #[arg(long, value_name = "FILE", requires = "upsample")]
    upsample_weights: Option<PathBuf>,
    /// Write the input beside its colours
    #[arg(long)]
    beside: bool,
    /// Write all images with their colours into one picture as well
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// The folder to write into: NAME.png for an image, NAME.mp4 for a video
    #[arg(short, long, value_name = "FOLDER", default_value = "pca")]
    output: PathBuf,
    #[arg(long, default_value_t = Request::Auto, value_name = "DEVICE", help = devices::ALLOWED)]
    device: Request,
}

const CONTENT: &str = "\
Pictures have their images' own size. A video keeps its size and frame rate, without sound; it
needs the program `ffmpeg`.
The file of --save-basis, all f32: mean [dim], components [n, dim], variance, minimum, maximum [n];
with --foreground also foreground.mean, foreground.component [dim], foreground.threshold [1]. One
from elsewhere needs mean, components and variance only.";

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    let inputs = Inputs::of(&args.inputs)?;
    let named = args.encoder.name()?;
    let arch = named.backbone.arch;
    let layer = args.layer.unwrap_or(arch.depth);
    if !(1..=arch.depth).contains(&layer) {
        let name = &named.backbone.name;
        let words = format!("--layer {layer}: {name} has layers 1 to {}", arch.depth);
        return Err(fault(Exit::Usage, words));
    }
    let settings = settings(args, arch.dim)?;
    let about = about(args, &named.backbone.name, layer)?;
    let given = match &args.basis {
        Basis::File(path) => Some(read_basis(path, (arch.dim, &settings), &about)?),
        _ => None,
    };
    let upsampler = match Method::find(&args.upsample) {
        Some(method) => {
            let file = args.upsample_weights.as_deref();
            Some(upsampler::open(method, "--upsample-weights", file, None)?)
        }
        None if args.upsample_weights.is_some() => {
            let words = "--upsample-weights: name the method with --upsample";
            return Err(fault(Exit::Usage, words));
        }
        None => None,
    };
    check(args, &inputs)?;
    let patch = arch.patch as u32;
    let px = args.px.unwrap_or(Px::Shorter(encoder::side_px(patch)));
    px.check(patch).map_err(|words| fault(Exit::Usage, words))?;
    let device = device::open(&args.device)?;
    fs_err::create_dir_all(&args.output).or_exit(Exit::Environment)?;
    let scratch = Scratch::new_in(&args.output).or_exit(Exit::Environment)?;
    let norm = if args.no_norm { FinalNorm::LeftOut } else { FinalNorm::Applied };
    let extractor = Extractor::new(named.load(&device)?.into_encoder(), layer, norm);
    let store = Store::new(scratch, arch.dim);
    let encoded = encode::encode(&inputs, (extractor, store), (px, patch), named.normal())?;
    let n_failed = encoded.failed.len();
    if encoded.store.is_empty() {
        let words = if n_failed > 0 { "no image could be read" } else { "the video has no frames" };
        return Err(fault(Exit::SomeFailed, words));
    }
    let painter = Painter { settings, upsampler };
    draw(args, &encoded, &painter, (given, &about))?;
    let n = encoded.store.len();
    let what = if matches!(inputs, Inputs::Video(_)) { "frame" } else { "image" };
    let (n, output) = (words::count(n, what), args.output.display());
    printer::aside(&format_args!("{n} of {} -> {output}", named.backbone.name));
    Ok(if n_failed > 0 { Exit::SomeFailed } else { Exit::Done })
}

fn settings(args: &Args, dim: usize) -> anyhow::Result<Settings> {
    let shown = args.components.0;
    let settings = Settings {
        foreground: args.foreground,
        threshold: args.threshold,
        style: args.style,
        shown,
    };
    if settings.n_components() > dim {
        let n = settings.n_components();
        let words = format!("--components: tokens of width {dim} have no component {n}");
        return Err(fault(Exit::Usage, words));
    }
    if !args.threshold.is_finite() {
        return Err(fault(Exit::Usage, "--threshold must be a number"));
    }
    Ok(settings)
}

/// What a basis is of, for its file.
fn about(args: &Args, variant: &str, layer: usize) -> anyhow::Result<BTreeMap<String, String>> {
    let needs_sum = args.save_basis.is_some();
    let sum = needs_sum.then(|| weights::digest(&args.encoder.weights, &mut |f| sha256_file(f)));
    let adapter = args.encoder.adapter.as_ref().filter(|path| needs_sum && path.is_file());
    let about = [
        ("version", Some(VERSION.to_string())),
        ("program", Some(format!("sweep {}", env!("CARGO_PKG_VERSION")))),
        ("variant", Some(variant.to_owned())),
        ("layer", Some(layer.to_string())),
        ("norm", Some(if args.no_norm { "none" } else { "final" }.to_owned())),
        ("weights_sha256", sum.transpose()?),
        ("adapter_sha256", adapter.map(|path| sha256_file(path)).transpose()?),
    ];
    let about = about.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Ok(about.collect())
}

/// The basis in a file, which must be of this encoder's layer where it says of which it is.
fn read_basis(
    path: &Path,
    (dim, settings): (usize, &Settings),
    about: &BTreeMap<String, String>,
) -> anyhow::Result<Fitted> {
    let (fitted, metadata) =
        Fitted::read(path, (dim, settings.n_components())).or_exit(Exit::Usage)?;
    for key in ["variant", "layer", "norm"] {
        let other = metadata.get(key).filter(|value| about.get(key) != Some(value));
        if let Some(other) = other {
            let words = format!(
                "the basis `{}` is of other tokens: its {key} is {other}, here it is {}",
                path.display(),
                about[key]
            );
            return Err(fault(Exit::Usage, words));
        }
    }
    if settings.foreground != Foreground::Off {
        let words = "--foreground: a basis from a file has its own foreground, or none";
        return Err(fault(Exit::Usage, words));
    }
    Ok(fitted)
}

/// Refuses what cannot end well, before anything is computed.
fn check(args: &Args, inputs: &Inputs) -> anyhow::Result<()> {
    if args.save_basis.is_some() && matches!(args.basis, Basis::Chunk(_)) {
        let words = "--save-basis: there is one basis to save only with --basis joint";
        return Err(fault(Exit::Usage, words));
    }
    if args.kmeans.is_some() && matches!(args.basis, Basis::File(_)) {
        return Err(fault(Exit::Usage, "--kmeans: clusters have no basis to read from a file"));
    }
    if let Some(sheet) = &args.sheet {
        if !sheet.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
            let words = format!("--sheet: the name of `{}` must end in .png", sheet.display());
            return Err(fault(Exit::Usage, words));
        }
        match inputs {
            Inputs::Video(_) => {
                return Err(fault(Exit::Usage, "--sheet: a video's frames are too many for one"));
            }
            Inputs::Images(paths) if paths.len() > SHEET_MAX => {
                let (n, max) = (paths.len(), SHEET_MAX);
                let words = format!("--sheet: {n} images are too many for one; {max} are not");
                return Err(fault(Exit::Usage, words));
            }
            Inputs::Images(_) => {}
        }
    }
    let paths = inputs.paths();
    let own =
        paths.iter().map(|path| (output(args, path, inputs), format!("`{}`", path.display())));
    let sheet = args.sheet.clone().map(|path| (path, "--sheet".to_owned()));
    let basis = args.save_basis.clone().map(|path| (path, "--save-basis".to_owned()));
    inputs::check_outputs(paths, own.chain(sheet).chain(basis).collect())
}

/// The file that is written for an input.
fn output(args: &Args, input: &Path, inputs: &Inputs) -> PathBuf {
    let name = input.file_stem().unwrap_or_default().to_string_lossy();
    let ending = if matches!(inputs, Inputs::Video(_)) { "mp4" } else { "png" };
    args.output.join(format!("{name}.{ending}"))
}

/// Fits what is to be fitted and writes the pictures.
fn draw(
    args: &Args,
    encoded: &Encoded,
    painter: &Painter,
    (given, about): (Option<Fitted>, &BTreeMap<String, String>),
) -> anyhow::Result<()> {
    let (store, n) = (&encoded.store, encoded.store.len());
    let group = match args.basis {
        Basis::Joint | Basis::File(_) => n,
        Basis::Chunk(frames) => frames.min(n),
    };
    let mut bar = Bar::new("pictures", Some(n));
    let mut look: Option<Look> = None;
    let mut sheet = args.sheet.as_ref().map(|_| Contact::default());
    let mut video: Option<Writer> = None;
    let needs_images = args.beside || args.sheet.is_some() || painter.upsampler.is_some();
    let mut images = needs_images.then(|| encoded.inputs.read(4, |_| ())).transpose()?;
    for i in 0..n {
        if i % group == 0 {
            let images = i..n.min(i + group);
            look = Some(match (args.kmeans, &given) {
                (Some(k), _) => clusters(store, images, (usize::from(k), args.seed))?,
                (None, Some(fitted)) => file_look(fitted, store, images)?,
                (None, None) => components(store, images, &painter.settings, &bar)?,
            });
            if let (Some(path), Some(Look::Components(fitted))) = (&args.save_basis, &look) {
                fitted.write(path, about).or_exit(Exit::Environment)?;
            }
        }
        let image = match &mut images {
            Some(images) => {
                let again = || format!("{} changed while it was in use", encoded.inputs.name(i));
                let image = images.next().ok_or_else(|| fault(Exit::Environment, again()))??;
                Some(image.or_exit(Exit::Environment)?.0)
            }
            None => None,
        };
        let look = look.as_ref().expect("the first of a group sets it");
        let colours = painter.paint(look, encoded, i, image.as_ref())?;
        if let (Some(sheet), Some(image), Inputs::Images(paths)) =
            (&mut sheet, &image, &encoded.inputs)
        {
            let name = paths[i].file_stem().unwrap_or_default().to_string_lossy();
            sheet.add(&name, &[image, &colours]);
        }
        let picture = match &image {
            Some(image) if args.beside => side_by_side(image, &colours),
            _ => colours,
        };
        write(args, encoded, (i, &picture), &mut video)?;
        bar.step();
    }
    if let Some(video) = video {
        video.finish().map_err(inputs::with_exit)?;
    }
    if let (Some(path), Some(sheet)) = (&args.sheet, sheet) {
        let bytes = image_io::write_png_rgb(&sheet.figure(|_| None).to_rgb());
        write_atomic(path, &bytes).or_exit(Exit::Environment)?;
    }
    Ok(())
}

fn write(
    args: &Args,
    encoded: &Encoded,
    (i, picture): (usize, &Rgb),
    video: &mut Option<Writer>,
) -> anyhow::Result<()> {
    match &encoded.inputs {
        Inputs::Images(paths) => {
            let bytes = image_io::write_png_rgb(picture);
            let path = output(args, &paths[i], &encoded.inputs);
            write_atomic(&path, &bytes).or_exit(Exit::Environment)
        }
        Inputs::Video(source) => {
            let size = [picture.height, picture.width];
            let writer = match video {
                Some(writer) => writer,
                none => {
                    let path = output(args, &source.path, &encoded.inputs);
                    let writer = Writer::create(&path, size, &source.rate);
                    none.insert(writer.map_err(inputs::with_exit)?)
                }
            };
            let frame = transform::squash(picture, writer.size()[0], writer.size()[1]);
            writer.put(&frame).map_err(inputs::with_exit)
        }
    }
}

fn clusters(
    store: &Store,
    images: std::ops::Range<usize>,
    (k, seed): (usize, u64),
) -> anyhow::Result<Look> {
    let n = store.n_patches(images.clone());
    if k > n {
        let words = format!("--kmeans {k}: there are only {n} patches to cluster");
        return Err(fault(Exit::Usage, words));
    }
    Ok(Look::Segments(Clusters::fit(store, images, k, seed).or_exit(Exit::Environment)?))
}

fn components(
    store: &Store,
    images: std::ops::Range<usize>,
    settings: &Settings,
    bar: &Bar,
) -> anyhow::Result<Look> {
    let fitted = Fitted::fit(store, images, settings).or_exit(Exit::Environment)?;
    if fitted.n_patches == 0 {
        bar.note("warning: no patch is in the foreground, so all is black: try another --threshold or --foreground");
    }
    Ok(Look::Components(fitted))
}

/// The basis of a file, with the bounds of these images where it has none.
fn file_look(
    fitted: &Fitted,
    store: &Store,
    images: std::ops::Range<usize>,
) -> anyhow::Result<Look> {
    let fitted = fitted.clone();
    let fitted = if fitted.bounds.is_empty() {
        fitted.bounded(store, images).or_exit(Exit::Environment)?
    } else {
        fitted
    };
    Ok(Look::Components(fitted))
}

/// Two pictures of one height, the first at the left.
fn side_by_side(left: &Rgb, right: &Rgb) -> Rgb {
    let rows = |image: &Rgb| 3 * image.width as usize;
    let pairs = left.pixels.chunks_exact(rows(left)).zip(right.pixels.chunks_exact(rows(right)));
    let pixels = pairs.flat_map(|(a, b)| a.iter().chain(b).copied()).collect();
    Rgb { width: left.width + right.width, height: left.height, pixels }
}
