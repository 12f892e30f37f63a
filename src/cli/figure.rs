//! `sweep figure corruption`: what runs see in corrupted images, as one picture.

mod draw;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::fault::{Exit, OrExit as _, fault};
use super::predict::with_exit;
use super::{Context, device, printer, runs};
use crate::corrupt::frost::{self, Source};
use crate::corrupt::{self, Corruptor, Effect, Severity, TABLE};
use crate::data::split::Split;
use crate::data::{Mask, Rgb, dataset, image_io};
use crate::device::{self as devices, Request as Devices};
use crate::eval::infer::{self, Item};
use crate::eval::maps::{Maps, Wanted};
use crate::eval::score::confusion::Confusion;
use crate::eval::score::metrics::metrics;
use crate::experiment::nearest;
use crate::fs::write_atomic;
use crate::resolve::trained::{Trained, files_of, split_of};
use crate::{report, rng};
use draw::{Column, Row};

/// The reference project's pipeline, of which a figure has one draw.
const ONE_OF: &str = "reference_oneof";

/// Columns of a figure, at most: more are too small to see.
const COLUMNS_MAX: usize = 24;

/// Draw figures of trained runs
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    figure: Kind,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Kind {
    Corruption(Corruption),
}

/// Draw images under corruption, and what runs see in them
///
/// A column for each image under each corruption and level: the image, as it is corrupted for
/// scores, its labels, and what each run predicts, with the mIoU of that image.
#[derive(Debug, Clone, clap::Args)]
struct Corruption {
    /// Runs by their ids, or the starts of them, or `latest`: a row each
    #[arg(long, required = true, value_name = "RUN", num_args = 1..)]
    run: Vec<String>,
    /// Images of the runs' evaluation set, by name [default: --n drawn ones]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    images: Vec<String>,
    /// Number of images that are drawn
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "images",
          value_parser = clap::value_parser!(u8).range(1..=24))]
    n: u8,
    /// Seed by which images are drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Corruptions, e.g. `fog,motion_blur`; `all` for the 15 of ImageNet-C; `reference_oneof` for a draw
    /// of the reference project's pipeline
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["fog"])]
    corruptions: Vec<String>,
    /// Levels, 1 to 5; 0 is the clean image
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_values = ["5"],
          value_parser = clap::value_parser!(u8).range(0..=5))]
    levels: Vec<u8>,
    /// The file to write, PNG or SVG by its ending
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[arg(long, default_value_t = Devices::Auto, value_name = "DEVICE", help = devices::ALLOWED)]
    device: Devices,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Kind::Corruption(args) = &args.figure;
    let is_svg = is_svg(&args.output)?;
    let effects = effects(args, context)?;
    let results = context.results()?;
    let ids = args.run.iter().map(|run| runs::find(&results, run));
    let ids = ids.collect::<anyhow::Result<Vec<_>>>()?;
    let (first, order) = files_of(&results.run(&ids[0])).map_err(with_exit)?;
    let dataset = dataset::open_at(&first.spec.data, &order.facts.data_root);
    let dataset = dataset.or_exit(Exit::Environment)?;
    let split = match order.facts.sets.first() {
        Some(set) => split_of(set, &dataset),
        None => dataset.split("val"),
    };
    let split = split.or_exit(Exit::Environment)?;
    refuse_an_input(&args.output, &split)?;
    let columns = columns(args, &split, &effects)?;
    let device = device::open(&args.device)?;
    let mut rows = vec![];
    for id in &ids {
        let dir = results.run(id);
        let (file, _) = files_of(&dir).map_err(with_exit)?;
        if file.classes != first.classes {
            let words = format!("the runs {} and {id} have other classes: draw them apart", ids[0]);
            return Err(fault(Exit::Usage, words));
        }
        let title = format!("{} ({})", report::title(&file.spec), &id.as_str()[..8]);
        let mut trained = Trained::of_run(&dir, &device).map_err(with_exit)?;
        rows.push(Row { title, seen: see(&mut trained, &columns, &device)? });
    }
    let figure = draw::figure(&columns, &rows, split.classes());
    let bytes = if is_svg {
        figure.to_svg().into_bytes()
    } else {
        image_io::write_png_rgb(&figure.to_rgb())
    };
    write_atomic(&args.output, &bytes).or_exit(Exit::Environment)?;
    let (width, height) = (figure.width, figure.height);
    printer::aside(&format_args!("wrote `{}` ({width}x{height})", args.output.display()));
    Ok(Exit::Done)
}

/// Refuses an output that would replace a file of the set.
fn refuse_an_input(output: &Path, split: &Split) -> anyhow::Result<()> {
    // One that does not exist replaces nothing.
    let Ok(real) = fs_err::canonicalize(output) else { return Ok(()) };
    let is_output = |path: &Path| fs_err::canonicalize(path).is_ok_and(|path| path == real);
    if split.items.iter().any(|item| is_output(&item.image) || is_output(&item.mask)) {
        let words = format!("the output `{}` is a file of the dataset", output.display());
        return Err(fault(Exit::Usage, words));
    }
    Ok(())
}

/// Whether the output is an SVG; another than PNG or SVG is refused.
fn is_svg(output: &Path) -> anyhow::Result<bool> {
    let ending = output.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("svg") => Ok(true),
        Some("png") => Ok(false),
        _ => {
            let words =
                format!("the name of the output `{}` must end in .png or .svg", output.display());
            Err(fault(Exit::Usage, words))
        }
    }
}

/// The corruptors of the conditions that are asked for, with their words; `None` for the clean
/// image.
fn effects(
    args: &Corruption,
    context: &Context,
) -> anyhow::Result<Vec<(String, Option<Corruptor>)>> {
    let textures = frost::find(&context.machine()?.data_dirs).or_exit(Exit::Environment)?;
    let source = if textures.is_some() { Source::Originals } else { Source::Procedural };
    let mut found = vec![];
    if args.levels.contains(&0) {
        found.push(("clean".to_owned(), None));
    }
    for name in &args.corruptions {
        for effect in named(name, source)? {
            for level in args.levels.iter().filter_map(|level| Severity::new(*level)) {
                let corruptor = Corruptor::new(effect, level, textures.as_deref());
                let corruptor = corruptor.or_exit(Exit::Environment)?;
                let name = effect.name();
                // A draw's number says nothing in a picture of one.
                let name = if suite_of_draws(&name) { "one-of".to_owned() } else { name };
                let words = format!("{name} {}", level.get());
                if found.iter().all(|(known, _)| *known != words) {
                    found.push((words, Some(corruptor)));
                }
            }
        }
    }
    Ok(found)
}

fn suite_of_draws(effect: &str) -> bool {
    effect.starts_with(ONE_OF)
}

/// The effects that a name stands for.
fn named(name: &str, source: Source) -> anyhow::Result<Vec<Effect>> {
    let suite = match name {
        "all" => corrupt::suite::suite("imagenet-c-15"),
        _ => corrupt::suite::suite(name),
    };
    if let Some(suite) = suite {
        let all = suite.effects(source);
        let n = if name == ONE_OF { 1 } else { all.len() };
        return Ok(all.into_iter().take(n).collect());
    }
    if let Some(row) = TABLE.iter().find(|row| row.name == name) {
        return Ok(vec![Effect::of(row.corruption, source)]);
    }
    let names = TABLE.iter().map(|row| row.name).chain(["all", ONE_OF]);
    let close = nearest(name, names.clone());
    let close = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
    let names: Vec<_> = names.collect();
    let words = format!("no corruption is called `{name}`; known: {}{close}", names.join(", "));
    Err(fault(Exit::Usage, words))
}

/// The columns: each image under each condition.
fn columns(
    args: &Corruption,
    split: &Split,
    effects: &[(String, Option<Corruptor>)],
) -> anyhow::Result<Vec<Column>> {
    let images = images(args, split)?;
    let n = images.len() * effects.len();
    if n > COLUMNS_MAX {
        let words = format!(
            "{} images under {} conditions are {n} columns, more than {COLUMNS_MAX}: ask for fewer \
             of --n, --images, --corruptions or --levels",
            images.len(),
            effects.len()
        );
        return Err(fault(Exit::Usage, words));
    }
    let mut columns = vec![];
    for index in images {
        let sample = split.load(index).or_exit(Exit::Environment)?;
        for (words, corruptor) in effects {
            let mut mask = sample.mask.clone();
            let seen = match corruptor {
                // As scores do it.
                Some(corruptor) => corruptor.corrupt(0, &sample.id, (&sample.image, &mut mask)),
                None => sample.image.clone(),
            };
            columns.push(Column {
                title: sample.id.clone(),
                condition: words.clone(),
                image: sample.image.clone(),
                seen,
                truth: mask,
            });
        }
    }
    Ok(columns)
}

/// Indices of the images that are asked for, or drawn.
fn images(args: &Corruption, split: &Split) -> anyhow::Result<Vec<usize>> {
    if args.images.is_empty() {
        let mut rng = rng::keyed(args.seed, "figure", &[]);
        let mut left: Vec<usize> = (0..split.len()).collect();
        let n = usize::from(args.n).min(left.len());
        let drawn = (0..n).map(|_| left.remove(rng::below(&mut rng, left.len() as u64) as usize));
        return Ok(drawn.collect());
    }
    let found = args.images.iter().map(|name| {
        split.items.iter().position(|item| item.id == *name).ok_or_else(|| {
            let close = nearest(name, split.items.iter().map(|item| item.id.as_str()));
            let close = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
            let set = &split.name;
            fault(Exit::Usage, format!("--images: `{set}` has no image called `{name}`{close}"))
        })
    });
    found.collect()
}

/// What a run predicts in each column, with the mIoU of the image; `None` where nothing is labelled.
fn see(
    trained: &mut Trained,
    columns: &[Column],
    device: &Device,
) -> anyhow::Result<Vec<(Mask, Option<f64>)>> {
    let mut all = vec![];
    for batch in columns.chunks(infer::batch_size(device)) {
        let size = |image: &Rgb| [image.height as usize, image.width as usize];
        let inputs: Vec<_> =
            batch.iter().map(|column| trained.request.input(column.seen.clone())).collect();
        let items = batch.iter().zip(&inputs);
        let items: Vec<_> =
            items.map(|(column, input)| Item { input, size: size(&column.seen) }).collect();
        let predictions = infer::predict(&mut trained.network, &items, &trained.request);
        for (column, prediction) in batch.iter().zip(predictions) {
            let maps = Maps::of(&prediction, size(&column.seen), Wanted::default());
            let mask = maps.map_err(|found| fault(Exit::SomeFailed, found))?.mask;
            let mut confusion = Confusion::new(trained.n_classes);
            confusion.add(&column.truth.classes, &mask.classes);
            let miou = metrics(&confusion, None, 1).miou;
            all.push((mask, miou));
        }
    }
    Ok(all)
}
