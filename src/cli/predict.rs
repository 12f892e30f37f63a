//! `sweep predict`: the classes that a trained network sees in images.

mod outputs;

use std::path::PathBuf;

use anyhow::Context as _;
use burn::tensor::Device;

use super::bar::Bar;
use super::fault::{Exit, OrExit as _, fault};
use super::inputs::{self, Inputs};
use super::{Context, adapter, device, features, printer, runs, words};
use crate::data::Rgb;
use crate::device::{self as devices, Request as Devices};
use crate::eval::Mode;
use crate::eval::infer::{self, Input, Item};
use crate::eval::maps::Maps;
use crate::resolve::trained::{Error, Trained};
use crate::viz::palette;
use outputs::{Output, Writer};

/// Write the classes that a trained network sees in images: masks, overlays, confidence
///
/// An image is predicted as scores do it: at its own size, by the run's own protocol. A run is named
/// by `--run`; any other adapter by its file and the weights of its encoder. A video gives an
/// overlay as a video, and the other files for each of its frames in a folder of its name; it needs
/// the program `ffmpeg`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// JPEG or PNG images, folders of them, patterns such as 'photos/*.jpg'; or one video
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The run's id or the start of it, as the table's last column shows it; or `latest`
    #[arg(long, value_name = "RUN", required_unless_present = "adapter", conflicts_with_all = ["adapter", "weights", "px"])]
    run: Option<String>,
    /// Adapter (LoRA and decoder): of a run, of the reference project (`.pt`), or a PEFT folder
    #[arg(long, value_name = "FILE", requires = "weights")]
    adapter: Option<PathBuf>,
    /// Weights of the adapter's encoder: a file, or a folder
    #[arg(long, value_name = "FILE", requires = "adapter")]
    weights: Option<PathBuf>,
    /// Side of the network's input, or height and width, in pixels [default: what the adapter was
    /// trained at; 490 for the reference project's]
    #[arg(long, value_name = "N|H,W", value_parser = features::parse_px)]
    px: Option<[u32; 2]>,
    /// Predict in windows of this side at this stride, instead of as the run was scored
    #[arg(long, value_name = "CROP,STRIDE", value_parser = parse_slide)]
    slide: Option<[u32; 2]>,
    /// Predict the mirrored image as well, and average
    #[arg(long)]
    flip: bool,
    /// Predict at these scales, and average, e.g. `0.75,1,1.25`
    #[arg(long, value_name = "SCALES", value_delimiter = ',', value_parser = parse_scale)]
    scales: Vec<f64>,
    /// Files to write for each image
    #[arg(long, value_enum, value_name = "FILES", value_delimiter = ',',
          default_values = ["mask", "overlay"])]
    write: Vec<Output>,
    /// The folder to write into
    #[arg(short, long, value_name = "FOLDER", default_value = "predictions")]
    output: PathBuf,
    #[arg(long, default_value_t = Devices::Auto, value_name = "DEVICE", help = devices::ALLOWED)]
    device: Devices,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let inputs = Inputs::of(&args.inputs)?;
    let device = device::open(&args.device)?;
    let mut trained = open(args, context, &device)?;
    let request = &mut trained.request;
    if let Some([crop, stride]) = args.slide {
        request.mode = Mode::Slide { crop, stride, short_side: None };
    }
    request.tta.flip |= args.flip;
    if !args.scales.is_empty() {
        request.tta.scales.clone_from(&args.scales);
    }
    let classes = names(&trained);
    let palette = palette::of_classes(&classes);
    let outputs = args.write.as_slice();
    let writer = Writer::new(&args.output, outputs, (&classes, palette));
    writer.check(&inputs)?;
    fs_err::create_dir_all(&args.output).or_exit(Exit::Environment)?;
    let (n, failed) = predict(&mut trained, &inputs, writer)?;
    let what = if matches!(inputs, Inputs::Video(_)) { "frame" } else { "image" };
    printer::aside(&format_args!("{} -> {}", words::count(n, what), args.output.display()));
    Ok(if failed > 0 { Exit::SomeFailed } else { Exit::Done })
}

fn open(args: &Args, context: &Context, device: &Device) -> anyhow::Result<Trained> {
    let opened = match (&args.run, &args.adapter, &args.weights) {
        (Some(run), _, _) => {
            let results = context.results()?;
            let run = runs::find(&results, run)?;
            Trained::of_run(&results.run(&run), device)
        }
        (None, Some(adapter), Some(weights)) => {
            Trained::of_adapter(adapter, weights, args.px, device)
        }
        (None, ..) => return Err(fault(Exit::Usage, "name a run, or an adapter with its weights")),
    };
    opened.map_err(with_exit)
}

/// Gives the error of something trained its exit.
pub(super) fn with_exit(error: Error) -> anyhow::Error {
    match error {
        Error::Adapter(error) => adapter::with_exit(error),
        Error::NotTrained { .. } => fault(Exit::SomeFailed, error),
        error => anyhow::Error::new(error),
    }
}

/// The names of the classes; numbers where they are not known.
fn names(trained: &Trained) -> Vec<String> {
    if trained.classes.len() == trained.n_classes {
        return trained.classes.clone();
    }
    (0..trained.n_classes).map(|class| class.to_string()).collect()
}

/// Predicts the pictures batch by batch and writes what is asked for; names each that cannot be
/// read. Returns how many were predicted, and how many could not be.
fn predict(
    trained: &mut Trained,
    inputs: &Inputs,
    mut writer: Writer<'_>,
) -> anyhow::Result<(usize, usize)> {
    let size = infer::batch_size(&trained.network.device());
    let request = trained.request.clone();
    let read = inputs.read(2 * size, move |image| request.input(image.clone()))?;
    let mut bar = Bar::new("predicted", inputs.count());
    let (mut n, mut failed, mut batch) = (0, 0, vec![]);
    for (i, read) in read.enumerate() {
        match (read?, inputs) {
            (Ok((image, input)), _) => batch.push((i, image, input)),
            (Err(error), Inputs::Images(paths)) => {
                failed += 1;
                let problem = inputs::unreadable(&paths[i], error);
                bar.note(&format_args!("not predicted: {problem}"));
            }
            (Err(error), Inputs::Video(_)) => return Err(error.into()),
        }
        if batch.len() == size {
            n += batch.len();
            write_batch(trained, &batch, inputs, &mut writer)?;
            batch.clear();
        }
        bar.step();
    }
    n += batch.len();
    write_batch(trained, &batch, inputs, &mut writer)?;
    writer.finish(inputs)?;
    Ok((n, failed))
}

fn write_batch(
    trained: &mut Trained,
    batch: &[(usize, Rgb, Input)],
    inputs: &Inputs,
    writer: &mut Writer<'_>,
) -> anyhow::Result<()> {
    let size = |image: &Rgb| [image.height as usize, image.width as usize];
    let items = batch.iter().map(|(_, image, input)| Item { input, size: size(image) });
    let items: Vec<_> = items.collect();
    let predictions = infer::predict(&mut trained.network, &items, &trained.request);
    for ((i, image, _), prediction) in batch.iter().zip(predictions) {
        let maps = Maps::of(&prediction, size(image), writer.wanted()).map_err(|found| {
            let name = inputs.name(*i);
            let words = format!("the network's output for {name} is not finite: {found}");
            fault(Exit::SomeFailed, words)
        })?;
        writer
            .write((inputs, *i), image, &maps)
            .with_context(|| format!("cannot write the predictions of {}", inputs.name(*i)))?;
    }
    Ok(())
}

/// `512,341`: the side of windows and their stride.
fn parse_slide(text: &str) -> Result<[u32; 2], String> {
    let sides: Result<Vec<u32>, _> = text.split(',').map(|side| side.trim().parse()).collect();
    match sides.as_deref() {
        Ok([crop, stride]) if *crop > 0 && (1..=*crop).contains(stride) => Ok([*crop, *stride]),
        _ => Err("write the side of a window and a stride up to it, such as 512,341".to_owned()),
    }
}

/// A scale, from a tenth to ten times.
fn parse_scale(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(scale) if (0.1..=10.0).contains(&scale) => Ok(scale),
        _ => Err("scales are numbers from 0.1 to 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_or_touch() {
        assert_eq!(parse_slide("512, 341"), Ok([512, 341]));
        for nonsense in ["512", "0,0", "10,11", "a,b", "1,2,3", "8,0"] {
            assert!(parse_slide(nonsense).is_err(), "{nonsense}");
        }
        assert!(parse_scale("0").is_err() && parse_scale("1.5") == Ok(1.5));
    }
}
