//! `sweep show`: prints all that is known about one run.

mod scores;

use jiff::Timestamp;
use serde_json::json;

use super::fault::Exit;
use super::{Context, index, printer, runs, words};
use crate::event::{Outcome, TrainStep};
use crate::store::{AttemptRow, EpochRow, RunDetails};

/// Show a run: its spec, progress, attempts, losses and scores.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's id or the start of it, as the table's last column shows it; or `latest`.
    pub run: String,
    /// Show every score of every corruption with the IoU of each class, not only the clean ones.
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let run = runs::find(&results, &args.run)?;
    let details = index::ask(&results, async |store| Ok(store.run_details(&run).await?))?;
    let dir = results.run(&details.run);
    let dir = dir.root().display().to_string();
    if args.json {
        let value = json!({ "version": VERSION, "directory": dir, "details": details });
        printer::data(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    } else {
        printer::data(&text(&details, &dir, args.all));
    }
    Ok(Exit::Done)
}

fn text(details: &RunDetails, dir: &str, all: bool) -> String {
    let mut parts = vec![format!("run {}: {}\n{dir}\n", details.run, status(details))];
    if !details.experiments.is_empty() {
        parts.push(format!("in {}\n", details.experiments.join(", ")));
    }
    if let Some(problem) = &details.problem {
        parts.push(format!("{problem}\n"));
    }
    if let Some(facts) = &details.facts {
        let spec = toml::to_string(&facts.spec).unwrap_or_else(|error| error.to_string());
        parts.push(section("spec", spec.lines().map(str::to_owned)));
    }
    parts.push(section("attempts", details.attempts.iter().map(attempt)));
    let epochs = details.epochs.iter().map(epoch);
    parts.push(section("epochs", epochs.chain(waiting(&details.epochs))));
    let steps = details.last_steps.iter().map(|step| {
        let TrainStep { step, loss, lr, images_per_s, .. } = step;
        format!("step {step}: loss {loss:.4}, lr {lr:.2e}, {images_per_s:.1} img/s")
    });
    parts.push(section("last steps", steps));
    parts.extend(
        scores::sections(details, all)
            .into_iter()
            .map(|(title, lines)| section(&title, lines.into_iter())),
    );
    parts.push(section("warnings", details.warnings.iter().cloned()));
    parts.concat()
}

fn status(details: &RunDetails) -> String {
    let state = &details.state;
    match (&state.last_outcome, state.trained, state.last_checkpoint_step) {
        (Some(Outcome::Failed { message, .. }), ..) => format!("failed: {message}"),
        (_, true, _) => format!("trained, {} scores", state.scores.len()),
        (_, false, Some(step)) => match details.steps_total {
            Some(total) => format!("checkpoint at step {step} of {total}"),
            None => format!("checkpoint at step {step}"),
        },
        (_, false, None) if state.attempts == 0 => "not started".to_owned(),
        (_, false, None) => "no checkpoint yet".to_owned(),
    }
}

fn attempt(row: &AttemptRow) -> String {
    let mut parts = vec![match row.ended_at_ms {
        Some(_) => format!("{} to {} UTC", time(row.started_at_ms), time(row.ended_at_ms)),
        None => format!("{} UTC", time(row.started_at_ms)),
    }];
    if let (Some(device), Some(host)) = (&row.device, &row.host) {
        parts.push(format!("{device} of {host}"));
    }
    if let (Some(name), Some(threads)) = (&row.device_name, row.threads) {
        parts.push(format!("{name}, {threads} threads"));
    }
    if let (Some(version), Some(git)) = (&row.version, &row.git) {
        parts.push(format!("sweep {version} ({git})"));
    }
    parts.extend(words::memory(row.memory_process_bytes, row.memory_device_bytes));
    match row.train_from_step {
        Some(0) => parts.push("trained".to_owned()),
        Some(step) => parts.push(format!("resumed at step {step}")),
        None => {}
    }
    parts.push(match &row.outcome {
        Some(Outcome::Done) => "done".to_owned(),
        Some(Outcome::Interrupted) => "interrupted".to_owned(),
        Some(Outcome::Failed { message, .. }) => format!("failed: {message}"),
        None => "running, or killed".to_owned(),
    });
    format!("{}: {}", row.attempt, parts.join("; "))
}

fn time(at_ms: Option<u64>) -> String {
    let at_ms = at_ms.and_then(|ms| i64::try_from(ms).ok());
    let time = at_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "?".to_owned(), |time| time.strftime("%F %T").to_string())
}

fn epoch(row: &EpochRow) -> String {
    let EpochRow { epoch, step, loss_mean, time_ms, wait_ms: _, validations } = row;
    let time_s = *time_ms as f64 / 1e3;
    let validations =
        validations.iter().map(|(split, miou)| format!(", {split} mIoU {}", words::percent(*miou)));
    let validations: Vec<_> = validations.collect();
    let validations = validations.concat();
    format!("epoch {epoch} (step {step}): loss {loss_mean:.4}, {time_s:.1} s{validations}")
}

/// The line about waiting for data, over the epochs that measured it.
fn waiting(epochs: &[EpochRow]) -> Option<String> {
    let known: Vec<_> = epochs.iter().filter_map(|row| Some((row.wait_ms?, row.time_ms))).collect();
    let sum = |part: fn(&(u64, u64)) -> u64| known.iter().map(part).sum();
    words::waiting(sum(|row| row.0), sum(|row| row.1))
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<_> = lines.map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("\n{title}\n{}", lines.concat()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::store::Store;
    use crate::store::fake::{self, Fake, seeded};

    #[tokio::test]
    async fn a_run_is_told_from_its_spec_to_its_scores() {
        let fake = Fake::new();
        let run = fake.finished(&seeded(0), 0.5, 1);
        fake.append(&run, 1, vec![Event::Warning { message: "late".into() }]);
        fake.append(&run, 2, vec![fake::started(2), fake::resumed(3)]);
        let store = Store::open_read_only(&fake.results).await.unwrap();
        let text = text(&store.run_details(&run).await.unwrap(), "DIR", false);
        let (start, end) = text.split_once("\nspec\n").unwrap();
        assert_eq!(start, format!("run {run}: trained, 2 scores\nDIR\n"));
        let (spec, rest) = end.split_once("\nattempts\n").unwrap();
        assert!(spec.contains("kind = \"lora\"\n"), "{spec}");
        insta::assert_snapshot!(rest.replace(run.as_str(), "RUN"), @"
          1: 1970-01-01 00:00:01 to 1970-01-01 00:00:01 UTC; cpu of host; a CPU, 2 threads; sweep 0.1.0 (abc); trained; done
          2: 1970-01-01 00:00:01 UTC; cpu of host; a CPU, 2 threads; sweep 0.1.0 (abc); resumed at step 3; running, or killed

        epochs
          epoch 1 (step 3): loss 0.7000, 0.0 s, val mIoU 25.00
          waited for data 25.0% of training

        last steps
          step 1: loss 1.1000, lr 1.00e-3, 3.5 img/s
          step 2: loss 0.6000, lr 1.00e-3, 3.5 img/s
          step 3: loss 0.4333, lr 1.00e-3, 3.5 img/s

        scores on shapes/val in % (whole 56x56, labels at native size; checkpoint of step 3)
          clean: mIoU 50.00 (2/3 classes), fwIoU 70.00, pixels 90.00, mean accuracy 80.00, ref. metric 95.00 (not an mIoU)
            sky 50.0 · sea – · land 50.0
                                         L5
          weather fog                 25.00
          mean of 1                   25.00
          weather 25.00
          mPC 25.00, rPC 50.00 (level 5)

        warnings
          runs/RUN/events.1.jsonl:13: late
        ");
    }
}
