//! `sweep eval --adapter FILE`: scores of an adapter that no run here made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::adapter::with_exit;
use super::fault::{Exit, OrExit, fault};
use super::words::percent;
use super::{Context, device, printer};
use crate::adapter::{AdapterFile, Kind, Normalise};
use crate::corrupt::frost::{self, Source};
use crate::corrupt::{self, Corruption, Corruptor, Severity};
use crate::data::dataset::{self, EvalSet};
use crate::data::split::Split;
use crate::device::Request as Devices;
use crate::eval::infer::Request;
use crate::eval::score::pass::{self, Protocol};
use crate::eval::score::reference_metric::VoidIs;
use crate::eval::score::robustness::{self, Scores};
use crate::event::{Condition, Metrics};
use crate::experiment::RunSpec;
use crate::fs::write_atomic;
use crate::host;
use crate::model::Network;
use crate::weights;

/// What an adapter of the reference project was made with, which its files do not say: the input
/// of its code's default, and its batch, over which its metric is averaged.
const REFERENCE_PX: u32 = 490;
const REFERENCE_BATCH: u32 = 12;
/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;

#[derive(Debug, Clone, clap::Args)]
#[group(id = "adapter_file")]
pub struct Args {
    /// LoRA and decoder to score: of a run, of the reference project (`.pt`), or a PEFT folder
    #[arg(long, alias = "lora-weights", value_name = "FILE", requires = "weights")]
    pub adapter: Option<PathBuf>,
    /// Weights of the adapter's encoder: a file, or a folder
    #[arg(long, value_name = "FILE", requires = "adapter")]
    pub weights: Option<PathBuf>,
    /// Side of the network's input, or height and width, in pixels [default: what the adapter was
    /// trained at; 490 for the reference project's]
    #[arg(long, value_name = "N|H,W", requires = "adapter",
          value_parser = super::features::parse_px)]
    pub px: Option<[u32; 2]>,
    /// Print the scores as JSON
    #[arg(long, requires = "adapter")]
    pub json: bool,
}

/// One score.
#[derive(Debug)]
struct Row {
    set: String,
    condition: Condition,
    metrics: Metrics,
}

/// What the flags of `sweep eval` say besides [`Args`].
pub(super) struct Asked<'a> {
    pub(super) adapter: &'a Path,
    /// Keys of `data` and `eval`.
    pub(super) sets: &'a [String],
    pub(super) device: Option<&'a Devices>,
}

/// Scores the adapter as the flags ask.
pub(super) fn run(args: &Args, asked: &Asked<'_>, context: &Context) -> anyhow::Result<Exit> {
    let adapter = asked.adapter;
    let results = context.results()?;
    let path = results.experiments().join("eval").join("adapter.toml");
    write_atomic(&path, b"# Written by `sweep eval --adapter`.\nname = \"eval\"\n")
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let (experiment, machine) = context.experiment(&path, asked.sets)?;
    let spec = &experiment.cells[0].spec;
    let file = AdapterFile::open(adapter).map_err(with_exit)?;
    let Some(n_classes) = file.about.n_classes.filter(|_| file.decoder().is_some()) else {
        return Err(fault(
            Exit::Usage,
            format_args!("`{}` has no decoder: nothing can be scored", adapter.display()),
        ));
    };
    let dataset = dataset::open(&spec.data, &machine.data_dirs).or_exit(Exit::Environment)?;
    if dataset.n_classes() as usize != n_classes {
        return Err(fault(
            Exit::Usage,
            format_args!(
                "`{}` tells {n_classes} classes apart, and `{}` has {}: choose the dataset with \
                 --set data.kind=… and --set data.root=…",
                adapter.display(),
                dataset.root.display(),
                dataset.n_classes()
            ),
        ));
    }
    let weights = args.weights.as_deref().expect("clap requires it with `--adapter`");
    let encoder_of = weights::identify(weights).or_exit(Exit::Environment)?;
    let protocol = protocol(args, &file, spec, &encoder_of);
    let device = device::open(asked.device.unwrap_or(&experiment.schedule.devices))?;
    let encoder = weights::load(weights, (&encoder_of.name, encoder_of.arch), &device)
        .or_exit(Exit::Environment)?;
    let mut network = file.build(encoder).map_err(with_exit)?.merged();
    let conditions = conditions(spec, &machine.data_dirs)?;
    let mut rows = Vec::new();
    for wanted in &spec.eval.sets {
        let (data, dataset) = match wanted {
            EvalSet::Own(_) => (&spec.data, dataset.clone()),
            EvalSet::Other { data, .. } => {
                (data, dataset::open(data, &machine.data_dirs).or_exit(Exit::Environment)?)
            }
        };
        let split = Arc::new(dataset.split(wanted.split()).or_exit(Exit::Environment)?);
        let set = format!("{}/{}", dataset::name(data, &dataset.root), wanted.split());
        for condition in &conditions {
            let row = score(&mut network, (&set, &split), condition, &protocol)?;
            if !args.json {
                printer::aside(&line(&row));
            }
            rows.push(row);
        }
    }
    let line = words_of(&protocol.request, &encoder_of.name);
    printer::data(&if args.json {
        let scores: Vec<_> = rows.iter().map(as_json).collect();
        let value = json!({ "version": VERSION, "protocol": line, "scores": scores });
        format!("{value:#}\n")
    } else {
        text(&rows, &line)
    });
    Ok(Exit::Done)
}

fn score(
    network: &mut Network,
    (set, split): (&str, &Arc<Split>),
    wanted: &Wanted,
    protocol: &Protocol,
) -> anyhow::Result<Row> {
    let never = AtomicBool::new(false);
    let silent = &mut |_, _| Ok(());
    let scored = pass::score(network, (split, wanted.corruptor.as_ref()), protocol, silent, &never)
        .or_exit(Exit::SomeFailed)?;
    let metrics = scored.expect("nothing asks it to stop").metrics;
    Ok(Row { set: set.to_owned(), condition: wanted.condition.clone(), metrics })
}

/// A condition to score under, with what makes it of clean images.
struct Wanted {
    condition: Condition,
    corruptor: Option<Corruptor>,
}

/// Clean, then each corruption of the suite at each level.
fn conditions(spec: &RunSpec, data_dirs: &[PathBuf]) -> anyhow::Result<Vec<Wanted>> {
    let mut all = vec![Wanted { condition: Condition::Clean, corruptor: None }];
    let Some(suite) = corrupt::suite::suite(&spec.eval.corruption.suite) else { return Ok(all) };
    let frost = if suite.contains(Corruption::Frost) {
        frost::find(data_dirs).or_exit(Exit::Environment)?
    } else {
        None
    };
    let source = if frost.is_some() { Source::Originals } else { Source::Procedural };
    for effect in suite.effects(source) {
        for level in spec.eval.corruption.severities.iter().filter_map(|l| Severity::new(*l)) {
            let corruptor = Corruptor::new(effect, level, frost.as_deref());
            let corruptor = corruptor.or_exit(Exit::Environment)?;
            let condition = Condition::Corrupted { effect: effect.name(), severity: level.get() };
            all.push(Wanted { condition, corruptor: Some(corruptor) });
        }
    }
    Ok(all)
}

fn protocol(
    args: &Args,
    file: &AdapterFile,
    spec: &RunSpec,
    encoder: &weights::Identified,
) -> Protocol {
    let patch = encoder.arch.patch as u32;
    let is_reference = file.kind == Kind::Reference;
    let trained = file.about.input_px.map(|px| px.map(|side| side as u32));
    let default = if is_reference { REFERENCE_PX } else { 37 * patch };
    let px = args.px.or(trained).unwrap_or([default; 2]);
    let (mean, std) = match file.normalise() {
        Normalise::Unknown {} => (encoder.mean, encoder.std),
        Normalise::None {} => ([0.0; 3], [1.0; 3]),
        Normalise::MeanStd { mean, std } => (mean, std),
    };
    let is_voc = matches!(spec.data, dataset::Config::Voc(_));
    Protocol {
        request: Request {
            mode: spec.eval.mode,
            tta: spec.eval.tta.clone(),
            input_px: px.map(|side| (side / patch).max(1) * patch),
            patch_px: patch,
            mean,
            std,
        },
        reference_batch: if is_reference { REFERENCE_BATCH } else { spec.train.batch_size },
        reference_void: if is_reference && is_voc { VoidIs::Background } else { VoidIs::LeftOut },
        threads: host::cores().get() as usize,
    }
}

fn words_of(request: &Request, encoder: &str) -> String {
    let [height, width] = request.input_px;
    let is_shifted = request.mean.iter().any(|mean| mean.abs() > 0.0);
    let normalised = if is_shifted { "mean/std" } else { "no mean/std" };
    let views = request.tta.n_views();
    let views = if views > 1 { format!(", {views} views") } else { String::new() };
    let mode = serde_json::to_value(request.mode).expect("a mode is plain data");
    let mode = mode["kind"].as_str().unwrap_or_default().to_owned();
    format!("{encoder}, {mode} {height}x{width}{views}, {normalised}, label size")
}

fn as_json(row: &Row) -> Value {
    json!({
        "set": row.set,
        "corruption": row.condition.effect(),
        "severity": row.condition.severity(),
        "metrics": row.metrics,
    })
}

fn line(row: &Row) -> String {
    let metrics = &row.metrics;
    format!(
        "{} {}: mIoU {} ({}/{} classes), pixels {}, ref. metric {} (not an mIoU)",
        row.set,
        row.condition,
        percent(metrics.miou),
        metrics.classes_present,
        metrics.classes_total,
        percent(metrics.pixel_accuracy),
        percent(metrics.reference_metric)
    )
}

fn text(rows: &[Row], protocol: &str) -> String {
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let mut sets: BTreeMap<&str, Scores> = BTreeMap::new();
    for row in rows {
        let scores = sets.entry(&row.set).or_default();
        if let Some(miou) = row.metrics.miou {
            scores.add(&row.condition, miou);
        }
    }
    for (set, scores) in sets {
        if let Some(summary) = robustness::summary(&scores) {
            let rpc = summary.rpc.map_or(String::new(), |rpc| format!(", rPC {:.2}", 100.0 * rpc));
            lines.push(format!("{set}: mPC {:.2}{rpc}", 100.0 * summary.mpc));
        }
    }
    lines.push(format!("protocol: {protocol}"));
    lines.join("\n") + "\n"
}
