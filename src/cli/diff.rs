//! `sweep diff RUN RUN`: compares two runs, score by score.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fault::{Exit, fault};
use super::{Context, index, printer, runs};
use crate::eval::score::per_image::{ImageCounts, Interval, paired_interval};
use crate::eval::score::robustness::{self, Degradation, Scores};
use crate::event::{Condition, ScoreEnded};
use crate::fs::ResultsDir;
use crate::store::RunDetails;

/// Compare two runs: the differences of their scores with 95% intervals (paired bootstrap over
/// images), and the degradation under corruption of the first relative to the second (CD, rCD)
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Id of the run or the start of it; or `latest`
    pub run: String,
    /// Run to compare with, named in the same way
    pub reference: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;
/// Seed of the bootstrap.
const SEED: u64 = 0;

/// One score that both runs have: same set, protocol, corruption and level.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    set: String,
    protocol: String,
    condition: Condition,
    miou: f64,
    miou_reference: f64,
    /// Interval of the difference; `None` where the counts of the images are missing.
    interval_95: Option<Interval>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let ids = [runs::find(&results, &args.run)?, runs::find(&results, &args.reference)?];
    let (run, reference) = index::ask(&results, async |store| {
        let [run, reference] = &ids;
        Ok((store.run_details(run).await?, store.run_details(reference).await?))
    })?;
    let rows = rows((&run, &reference), &results);
    if rows.is_empty() {
        return Err(fault(
            Exit::SomeFailed,
            format_args!(
                "runs {} and {} have no score in common (same set, protocol, corruption and \
                 level): `sweep eval` makes more",
                run.run, reference.run
            ),
        ));
    }
    let degradation = degradation(&rows);
    printer::data(&if args.json {
        let value = json!({
            "version": VERSION,
            "run": run.run,
            "reference": reference.run,
            "scores": rows.iter().map(as_json).collect::<Vec<_>>(),
            "degradation": degradation,
        });
        format!("{value:#}\n")
    } else {
        text((&run, &reference), &rows, degradation.as_ref())
    });
    Ok(Exit::Done)
}

fn rows((run, reference): (&RunDetails, &RunDetails), results: &ResultsDir) -> Vec<Row> {
    let key = |score: &ScoreEnded| {
        let condition = score.condition.clone();
        (score.set.clone(), score.set_fingerprint.clone(), score.protocol.clone(), condition)
    };
    let others: BTreeMap<_, _> = reference.scores.iter().map(|score| (key(score), score)).collect();
    let counts = |run: &RunDetails, score: &ScoreEnded| {
        // Scores of older versions have no counts: their row has no interval.
        ImageCounts::load(&results.run(&run.run).confusion(score.score.as_str())).ok()
    };
    run.scores
        .iter()
        .filter_map(|score| {
            let other = others.get(&key(score))?;
            let both = counts(run, score).zip(counts(reference, other));
            // A set without a labelled pixel has no score to compare.
            let (miou, miou_reference) = score.metrics.miou.zip(other.metrics.miou)?;
            Some(Row {
                set: score.set.clone(),
                protocol: score.protocol.clone(),
                condition: score.condition.clone(),
                miou,
                miou_reference,
                interval_95: both.and_then(|(a, b)| paired_interval(&a, &b, SEED)),
            })
        })
        .collect()
}

/// The degradation on the first set and protocol of the rows; scores of several cannot be mixed.
fn degradation(rows: &[Row]) -> Option<Degradation> {
    let first = rows.first()?;
    let mut ours = Scores::default();
    let mut theirs = Scores::default();
    for row in rows.iter().filter(|row| row.set == first.set && row.protocol == first.protocol) {
        ours.add(&row.condition, row.miou);
        theirs.add(&row.condition, row.miou_reference);
    }
    robustness::degradation(&ours, &theirs)
}

fn as_json(row: &Row) -> Value {
    json!({
        "set": row.set,
        "protocol": row.protocol,
        "corruption": row.condition.effect(),
        "severity": row.condition.severity(),
        "miou": row.miou,
        "miou_reference": row.miou_reference,
        "interval_95": row.interval_95,
    })
}

fn text(
    (run, reference): (&RunDetails, &RunDetails),
    rows: &[Row],
    degradation: Option<&Degradation>,
) -> String {
    let mut lines = vec![format!(
        "run {} against {}: mIoU in %, difference with its 95% interval (paired bootstrap over \
         images)",
        run.run, reference.run
    )];
    let mut heading = None;
    for row in rows {
        let here = Some((&row.set, &row.protocol));
        if heading != here {
            lines.push(format!("{} ({})", row.set, row.protocol));
            heading = here;
        }
        let points = |x: f64| format!("{:+.2}", 100.0 * x);
        let interval = row.interval_95.map_or(String::new(), |interval| {
            format!(" [{}, {}]", points(interval.low), points(interval.high))
        });
        lines.push(format!(
            "  {:<20} {:>6.2} {:>6.2}  {}{interval}",
            row.condition,
            100.0 * row.miou,
            100.0 * row.miou_reference,
            points(row.miou - row.miou_reference)
        ));
    }
    if let Some(degradation) = degradation {
        let rcd = degradation.rcd.map_or(String::new(), |rcd| format!(", rCD {:.1}%", 100.0 * rcd));
        lines.push(format!(
            "CD {:.1}%{rcd} over {} corruptions (below 100%: degrades less than the reference)",
            100.0 * degradation.cd,
            degradation.per_corruption.len()
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::fake::{Fake, seeded};

    #[tokio::test]
    async fn runs_are_compared_score_by_score() {
        let fake = Fake::new();
        let a = fake.finished(&seeded(0), 0.5, 1);
        let b = fake.finished(&seeded(1), 0.4, 1);
        let store = Store::open_read_only(&fake.results).await.unwrap();
        let a = store.run_details(&a).await.unwrap();
        let b = store.run_details(&b).await.unwrap();
        let rows = rows((&a, &b), &fake.results);
        let degradation = degradation(&rows);
        let text = text((&a, &b), &rows, degradation.as_ref());
        let text = text.replace(a.run.as_str(), "A").replace(b.run.as_str(), "B");
        insta::assert_snapshot!(text, @"
        run A against B: mIoU in %, difference with its 95% interval (paired bootstrap over images)
        shapes/val (whole 56x56, labels at native size)
          clean                 50.00  40.00  +10.00
          fog 5                 25.00  20.00  +5.00
        CD 93.8%, rCD 125.0% over 1 corruptions (below 100%: degrades less than the reference)
        ");
    }
}
