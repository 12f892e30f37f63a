//! `sweep show`: all about one run.

use std::fmt::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use crate::cli::{index, printer};
use crate::event::{FailureClass, Outcome, ScoreEnded};
use crate::files::ResultsDir;
use crate::spec::Machine;
use crate::store::{AttemptRow, Error, RunDetails};

/// Show a run: its spec, how far it is, its attempts, losses and scores.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's id or the start of it, as the table's last column shows it.
    pub run: String,
    #[arg(long)]
    pub json: bool,
}

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;
/// Exit code where the command line is wrong.
const USAGE: u8 = 2;

pub async fn run(args: &Args, machine: &Machine) -> anyhow::Result<ExitCode> {
    let results = ResultsDir::new(&machine.results);
    let store = index::open(&results).await?;
    let details = match store.run_details(&args.run).await {
        Ok(details) => details,
        Err(error) if error.class() == FailureClass::Input => {
            printer::note(&error.to_string());
            return Ok(ExitCode::from(USAGE));
        }
        Err(error) => return Err(error.into()),
    };
    let dir = results.run(&details.run);
    let dir = dir.root().display().to_string();
    if args.json {
        let value = json!({ "version": VERSION, "directory": dir, "details": details });
        printer::data(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    } else {
        printer::data(&text(&details, &dir));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(details: &RunDetails, dir: &str) -> String {
    let mut text = format!("run {}: {}\n{dir}\n", details.run, status(details));
    if !details.experiments.is_empty() {
        text += &format!("in {}\n", details.experiments.join(", "));
    }
    match &details.facts {
        Some(facts) => {
            let spec = toml::to_string(&facts.spec).unwrap_or_else(|error| error.to_string());
            text += &section("spec", spec.lines().map(str::to_owned));
        }
        None => text += &details.problem.as_ref().map_or(String::new(), |p| format!("{p}\n")),
    }
    text += &section("attempts", details.attempts.iter().map(attempt));
    text += &section(
        "epochs",
        details.epochs.iter().map(|epoch| {
            let mut line = format!(
                "epoch {} (step {}): loss {:.4}, {:.1} s",
                epoch.epoch,
                epoch.step,
                epoch.loss_mean,
                epoch.time_ms as f64 / 1e3
            );
            for (split, miou) in &epoch.validations {
                line += &format!(", {split} mIoU {:.2}", 100.0 * miou);
            }
            line
        }),
    );
    text += &section(
        "last steps",
        details.last_steps.iter().map(|step| {
            format!(
                "step {}: loss {:.4}, lr {:.2e}, {:.1} img/s",
                step.step, step.loss, step.lr, step.images_per_s
            )
        }),
    );
    text += &section("scores (IoU of each class in %)", details.scores.iter().map(score));
    text += &section("warnings", details.warnings.iter().cloned());
    text
}

fn status(details: &RunDetails) -> String {
    let state = &details.state;
    let mut status = match (&state.last_outcome, state.trained, state.last_checkpoint_step) {
        (Some(Outcome::Failed { message, .. }), ..) => format!("failed: {message}"),
        (_, true, _) => format!("trained, {} scores", state.scores.len()),
        (_, false, Some(step)) => format!("checkpoint at step {step}"),
        (_, false, None) if state.attempts == 0 => "not started".to_owned(),
        (_, false, None) => "no checkpoint yet".to_owned(),
    };
    if let (false, Some(total)) = (state.trained, details.steps_total) {
        status += &format!(" of {total}");
    }
    if state.stale {
        status += " (stale: of a sweep whose numbers were other ones)";
    }
    status
}

fn attempt(row: &AttemptRow) -> String {
    let mut line = format!("{}: ", row.attempt);
    let time = |ms: Option<u64>| {
        ms.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok())
            .map_or_else(|| "?".to_owned(), |time| time.strftime("%F %T").to_string())
    };
    line += &time(row.started_at_ms);
    if row.ended_at_ms.is_some() {
        line += &format!(" to {}", time(row.ended_at_ms));
    }
    line += " UTC";
    if let (Some(device), Some(host)) = (&row.device, &row.host) {
        line += &format!(", {device} of {host}");
    }
    if let (Some(name), Some(threads)) = (&row.device_name, row.threads) {
        line += &format!(" ({name}, {threads} threads)");
    }
    if let (Some(version), Some(git)) = (&row.version, &row.git) {
        line += &format!(", sweep {version} ({git})");
    }
    line += &match row.train_from_step {
        Some(0) => ", trained".to_owned(),
        Some(step) => format!(", resumed at step {step}"),
        None => String::new(),
    };
    line += &match &row.outcome {
        Some(Outcome::Done) => ": done".to_owned(),
        Some(Outcome::Interrupted) => ": interrupted".to_owned(),
        Some(Outcome::Failed { message, .. }) => format!(": failed: {message}"),
        None => ": running, or killed".to_owned(),
    };
    line
}

fn score(score: &ScoreEnded) -> String {
    let metrics = &score.metrics;
    let kind = match (&score.corruption, score.severity) {
        (Some(name), Some(level)) => format!("{name} {level}"),
        _ => "clean".to_owned(),
    };
    let mut line = format!(
        "{} {kind}: mIoU {:.2} ({}/{} classes), pixels {:.2}, mean accuracy {:.2}, ref. metric {:.2} \
         (not an mIoU); step {}; {}\n    ",
        score.set,
        100.0 * metrics.miou,
        metrics.classes_present,
        metrics.classes_total,
        100.0 * metrics.pixel_accuracy,
        100.0 * metrics.accuracy_mean,
        100.0 * metrics.reference_metric,
        score.checkpoint_step,
        score.protocol,
    );
    for (class, iou) in metrics.iou_per_class.iter().enumerate() {
        let iou = iou.map_or_else(|| "–".to_owned(), |iou| format!("{:.1}", 100.0 * iou));
        write!(line, "{class}:{iou} ").expect("writing to a String cannot fail");
    }
    line.truncate(line.trim_end().len());
    line
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let body: String = lines.map(|line| format!("  {line}\n")).collect();
    if body.is_empty() { body } else { format!("\n{title}\n{body}") }
}
