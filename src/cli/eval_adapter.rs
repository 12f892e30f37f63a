//! `sweep eval --adapter FILE`: scores an adapter file, from wherever it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::adapter::with_exit;
use super::fault::{Exit, OrExit};
use super::words::percent;
use super::{Context, device, printer};
use crate::adapter::AdapterFile;
use crate::device::Request as Devices;
use crate::eval::infer::Request;
use crate::eval::score::pass::{self, Protocol};
use crate::eval::score::robustness::{self, Scores};
use crate::event::{Condition, Metrics};
use crate::fs::write_atomic;
use crate::model::Network;
use crate::resolve::adapter;
use crate::weights;

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;

#[derive(Debug, Clone, clap::Args)]
#[group(id = "adapter_file")]
pub struct Args {
    /// Adapter (LoRA and decoder): of a run, of the reference project (`.pt`), or a PEFT folder
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

/// The flags of `sweep eval` besides [`Args`].
pub(super) struct Asked<'a> {
    pub(super) adapter: &'a Path,
    /// Keys of `data` and `eval`.
    pub(super) sets: &'a [String],
    pub(super) device: Option<&'a Devices>,
}

/// Scores the adapter as the flags ask.
pub(super) fn run(args: &Args, asked: &Asked<'_>, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let path = results.experiments().join("eval").join("adapter.toml");
    write_atomic(&path, b"# Written by `sweep eval --adapter`.\nname = \"eval\"\n")
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let (experiment, machine) = context.experiment(&path, asked.sets)?;
    let spec = &experiment.cells[0].spec;
    let file = AdapterFile::open(asked.adapter).map_err(with_exit)?;
    let weights = args.weights.as_deref().expect("clap requires it with `--adapter`");
    let data_dirs = &machine.data_dirs;
    let wanted = adapter::Asked { adapter: &file, weights, px: args.px, spec, data_dirs };
    let scoring = adapter::scoring(wanted).or_else(|error| {
        let is_usage = error.is_of_the_request();
        Err(error).or_exit(if is_usage { Exit::Usage } else { Exit::Environment })
    })?;
    let device = device::open(asked.device.unwrap_or(&experiment.schedule.devices))?;
    let encoder = (scoring.encoder.name.as_str(), scoring.encoder.arch);
    let encoder = weights::load(weights, encoder, &device).or_exit(Exit::Environment)?;
    let mut network = file.build(encoder).map_err(with_exit)?.merged();
    let mut rows = Vec::new();
    for set in &scoring.sets {
        for sight in &scoring.conditions {
            let row = score(&mut network, set, sight, &scoring.protocol)?;
            if !args.json {
                printer::aside(&line(&row));
            }
            rows.push(row);
        }
    }
    let line = words_of(&scoring.protocol.request, &scoring.encoder.name);
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
    set: &adapter::Set,
    sight: &adapter::Sight,
    protocol: &Protocol,
) -> anyhow::Result<Row> {
    let never = AtomicBool::new(false);
    let silent = &mut |_, _| Ok(());
    let images = (&set.split, sight.corruptor.as_ref());
    let scored =
        pass::score(network, images, protocol, silent, &never).or_exit(Exit::SomeFailed)?;
    let metrics = scored.expect("nothing asks it to stop").metrics;
    Ok(Row { set: set.name.clone(), condition: sight.condition.clone(), metrics })
}

fn words_of(request: &Request, encoder: &str) -> String {
    let [height, width] = request.input_px;
    let is_shifted = request.normal.mean.iter().any(|mean| mean.abs() > 0.0);
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
