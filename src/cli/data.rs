//! `sweep data check`: reads every file of a dataset and reports what is wrong.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::fault::{Exit, fault};
use super::{Context, printer};
use crate::data::check::{Check, Report, labelled_splits};
use crate::data::dataset::{self, EvalSet, KINDS};
use crate::error::with_sources;
use crate::experiment;

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;

/// Check datasets
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read every image, mask and split list; report what is wrong, and the pixels of each class
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Kind of dataset, e.g. `voc`, or an experiment file (TOML) whose splits are checked
    #[arg(value_name = "DATASET|EXPERIMENT")]
    pub target: String,
    /// The dataset's folder, instead of its usual place in the data folders
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Check this split only; may be repeated
    #[arg(long, value_name = "NAME")]
    pub split: Vec<String>,
    /// Set a key, e.g. `data.images=img/{stem}.jpg` for a `folder`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    /// Number of threads; default: one per core
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

/// A dataset and the splits to check; none: all with labels.
#[derive(Debug)]
struct Target {
    config: dataset::Config,
    splits: Vec<String>,
}

/// A dataset that was checked.
#[derive(Debug, Serialize)]
struct Checked {
    kind: &'static str,
    name: String,
    root: PathBuf,
    report: Report,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Command::Check(args) = &args.command;
    let (targets, data_dirs) = targets(args, context)?;
    let threads = args.jobs.map_or(0, NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.context("cannot start threads")?;
    let mut checked = Vec::new();
    let mut exit = Exit::Done;
    for target in &targets {
        match pool.install(|| look(target, &data_dirs, context)) {
            Ok(found) => checked.push(found),
            Err(error) => {
                printer::note(&format_args!("error: {}", with_sources(&error)));
                exit = Exit::Environment;
            }
        }
    }
    let n_faults: usize = checked.iter().map(|found| found.report.faults().count()).sum();
    if args.json {
        let value = json!({ "version": VERSION, "n_faults": n_faults, "datasets": checked });
        printer::data(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    } else {
        let parts: Vec<_> = checked.iter().map(text::dataset).collect();
        printer::data(&parts.join("\n"));
    }
    Ok(match exit {
        Exit::Done if n_faults > 0 => Exit::SomeFailed,
        exit => exit,
    })
}

fn targets(args: &CheckArgs, context: &Context) -> anyhow::Result<(Vec<Target>, Vec<PathBuf>)> {
    let target = args.target.as_str();
    if KINDS.contains(&target) {
        let root = args.root.iter().map(|root| format!("data.root={}", root.display()));
        let mut set = vec![format!("data.kind={target}")];
        set.extend(root.chain(args.set.iter().cloned()));
        let config = context.data(&set)?;
        let data_dirs = context.machine()?.data_dirs.clone();
        return Ok((vec![Target { config, splits: args.split.clone() }], data_dirs));
    }
    let path = Path::new(target);
    if !path.is_file() {
        let words = format!(
            "`{target}` is neither a kind of dataset ({}) nor an experiment file",
            KINDS.join(", ")
        );
        return Err(fault(Exit::Usage, words));
    }
    if args.root.is_some() {
        let words = "`--root` works only with a kind of dataset; an experiment sets `data.root`";
        return Err(fault(Exit::Usage, words));
    }
    let (experiment, machine) = context.experiment(path, &args.set)?;
    let specs = experiment.cells.iter().map(|cell| &cell.spec);
    Ok((of_specs(specs, &args.split), machine.data_dirs))
}

/// Each dataset once, with the splits that are trained or scored on, or with those of `asked`.
fn of_specs<'a>(
    specs: impl Iterator<Item = &'a experiment::RunSpec>,
    asked: &[String],
) -> Vec<Target> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut targets: Vec<Target> = Vec::new();
    let mut seen: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut add = |config: &dataset::Config, split: &str| {
        let key = serde_json::to_string(config).expect("a config is plain data");
        let place = *places.entry(key).or_insert_with(|| {
            targets.push(Target { config: config.clone(), splits: asked.to_vec() });
            targets.len() - 1
        });
        if asked.is_empty() && seen.insert((place, split.to_owned())) {
            targets[place].splits.push(split.to_owned());
        }
    };
    for spec in specs {
        add(&spec.data, spec.data.train());
        for set in &spec.eval.sets {
            match set {
                EvalSet::Own(split) => add(&spec.data, split),
                EvalSet::Other { data, split } => add(data, split),
            }
        }
    }
    targets
}

fn look(
    target: &Target,
    data_dirs: &[PathBuf],
    context: &Context,
) -> Result<Checked, crate::data::Error> {
    let dataset = dataset::open(&target.config, data_dirs)?;
    let splits = match &target.splits[..] {
        [] => labelled_splits(&dataset)?,
        splits => splits.to_vec(),
    };
    let check = Check::new(&dataset, &splits)?;
    let bar =
        if context.globals.quiet { ProgressBar::hidden() } else { bar(check.len(), &dataset.name) };
    let report = check.run(&|| bar.inc(1));
    bar.finish_and_clear();
    Ok(Checked { kind: target.config.kind(), name: dataset.name, root: dataset.root, report })
}

/// The progress bar; it is drawn on a terminal only.
fn bar(n_pairs: usize, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let style = style.expect("the template is a good one");
    ProgressBar::new(n_pairs as u64).with_style(style).with_message(name.to_owned())
}
