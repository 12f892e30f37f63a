//! Reads the index for planning and for tables: the state of runs, and experiments with their
//! scores.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{Condition, FailureClass, Metrics, Outcome, PlannedScore};
use crate::id::{RunId, ScoreId};
use crate::store::{
    CellRow, CellScore, CellState, Error, ExperimentRows, ExperimentSummary, MadeScore, RunFacts,
    RunState, Store,
};

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Store {
    /// The state of each indexed run.
    pub async fn run_status(&self) -> std::result::Result<BTreeMap<RunId, RunState>, Error> {
        self.states().await.map_err(|error| self.error(error))
    }

    /// All experiments, the latest planned first.
    pub async fn experiments(&self) -> std::result::Result<Vec<ExperimentSummary>, Error> {
        let rows = sqlx::query(
            "SELECT experiment, planned_at_ms, \
             (SELECT count(*) FROM cells c WHERE c.experiment = e.experiment) AS n_cells \
             FROM experiments e ORDER BY planned_at_ms DESC, experiment",
        )
        .fetch_all(&self.pool)
        .await;
        rows.and_then(|rows| {
            rows.iter()
                .map(|row| {
                    Ok(ExperimentSummary {
                        name: row.try_get("experiment")?,
                        n_cells: count(row, "n_cells")?,
                        planned_at_ms: optional_count(row, "planned_at_ms")?,
                    })
                })
                .collect()
        })
        .map_err(|error| self.error(error))
    }

    /// An experiment as last planned, with the states and scores of its runs; `None` where the
    /// index has no such experiment.
    pub async fn experiment(
        &self,
        name: &str,
    ) -> std::result::Result<Option<ExperimentRows>, Error> {
        self.experiment_rows(name).await.map_err(|error| self.error(error))
    }

    async fn experiment_rows(&self, name: &str) -> Result<Option<ExperimentRows>> {
        let Some(row) = sqlx::query(
            "SELECT axes, suite, suite_corruptions FROM experiments WHERE experiment = ?",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?
        else {
            return Ok(None);
        };
        Ok(Some(ExperimentRows {
            name: name.to_owned(),
            axes: json(&row, "axes")?,
            suite: row.try_get("suite")?,
            suite_corruptions: json(&row, "suite_corruptions")?,
            cells: self.cells(name).await?,
        }))
    }

    async fn cells(&self, experiment: &str) -> Result<Vec<CellRow>> {
        let rows = sqlx::query(
            "SELECT c.cell, c.labels, c.run, r.spec, r.input_h, r.input_w, r.n_classes, r.classes, \
             r.tokens_h, r.tokens_w, r.params_total, r.params_trained, t.step AS trained_step \
             FROM cells c LEFT JOIN runs r ON r.run = c.run LEFT JOIN trainings t ON t.run = c.run \
             WHERE c.experiment = ? ORDER BY c.cell",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let states = self.states().await?;
        let mut scores = self.cell_scores(experiment).await?;
        rows.iter()
            .map(|row| {
                let index = count(row, "cell")?;
                let run = run_id(row)?;
                let state = states.get(&run);
                Ok(CellRow {
                    index,
                    labels: json(row, "labels")?,
                    facts: facts(row)?,
                    state: cell_state(state),
                    trained_step: optional_count(row, "trained_step")?,
                    scores: scores.remove(&index).unwrap_or_default(),
                    run,
                })
            })
            .collect()
    }

    async fn cell_scores(&self, experiment: &str) -> Result<HashMap<u32, Vec<CellScore>>> {
        let rows = sqlx::query(
            "SELECT p.cell, p.score, p.eval_set, p.protocol, p.protocol_parts, p.corruption, \
             p.severity, \
             s.checkpoint_step, s.checkpoint_sha256, s.miou, s.classes_present, s.classes_total, \
             s.iou_per_class, s.pixel_accuracy, s.accuracy_mean, s.reference_metric, s.n_images, \
             s.n_pixels, s.iou_frequency_weighted, s.miou_union, a.version, a.git, \
             a.device_name \
             FROM cell_scores p \
             JOIN cells c ON c.experiment = p.experiment AND c.cell = p.cell \
             LEFT JOIN scores s ON s.run = c.run AND s.score = p.score \
             LEFT JOIN attempts a ON a.run = s.run AND a.attempt = s.attempt \
             WHERE p.experiment = ? ORDER BY p.cell, p.place",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let mut scores: HashMap<u32, Vec<CellScore>> = HashMap::new();
        for row in &rows {
            let planned = PlannedScore {
                score: score_id(row)?,
                set: row.try_get("eval_set")?,
                protocol: row.try_get("protocol")?,
                protocol_parts: optional_json(row, "protocol_parts")?,
                condition: condition(row)?,
            };
            let made = match optional_count(row, "checkpoint_step")? {
                None => None,
                Some(checkpoint_step) => Some(MadeScore {
                    metrics: metrics(row)?,
                    checkpoint_step,
                    checkpoint_sha256: row.try_get("checkpoint_sha256")?,
                    version: row.try_get("version")?,
                    git: row.try_get("git")?,
                    device_name: row.try_get("device_name")?,
                }),
            };
            scores.entry(count(row, "cell")?).or_default().push(CellScore { planned, made });
        }
        Ok(scores)
    }

    /// The state of each run that is indexed, or that a coordinator tried to start.
    pub(super) async fn states(&self) -> Result<BTreeMap<RunId, RunState>> {
        let rows = sqlx::query(
            "SELECT r.run, t.run IS NOT NULL AS trained, \
             (SELECT max(step) FROM checkpoints k WHERE k.run = r.run) AS checkpoint, \
             (SELECT group_concat(score, ' ') FROM scores s WHERE s.run = r.run) AS scores \
             FROM runs r LEFT JOIN trainings t ON t.run = r.run",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut states = BTreeMap::new();
        for row in &rows {
            let scores: Option<String> = row.try_get("scores")?;
            let state = RunState {
                trained: row.try_get("trained")?,
                last_checkpoint_step: optional_count(row, "checkpoint")?,
                scores: scores.map_or_else(|| Ok(BTreeSet::new()), |ids| score_ids(&ids))?,
                ..RunState::default()
            };
            states.insert(run_id(row)?, state);
        }
        self.add_outcomes(&mut states).await?;
        Ok(states)
    }

    /// Adds the outcome of each run's latest attempt: as its worker journalled it, else as the
    /// coordinator did, which alone sees a worker that was killed.
    async fn add_outcomes(&self, states: &mut BTreeMap<RunId, RunState>) -> Result<()> {
        let rows = sqlx::query(
            "SELECT run, attempt, outcome, error, error_class, 0 AS exited FROM attempts \
             UNION ALL \
             SELECT run, attempt, \
             CASE WHEN interrupted THEN 'interrupted' WHEN error IS NOT NULL THEN 'failed' \
             ELSE 'done' END, error, 'environment', 1 \
             FROM sweep_attempts WHERE exited_at_ms IS NOT NULL \
             ORDER BY run, attempt, exited",
        )
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let state = states.entry(run_id(row)?).or_default();
            let attempt = count(row, "attempt")?;
            if attempt > state.attempts {
                state.attempts = attempt;
                state.last_outcome = None;
            }
            if state.last_outcome.is_none() {
                state.last_outcome = outcome(row)?;
            }
        }
        for state in states.values_mut() {
            if let Some(Outcome::Failed { message, .. }) = &state.last_outcome {
                state.failed = Some(message.clone());
            }
        }
        Ok(())
    }
}

fn cell_state(state: Option<&RunState>) -> CellState {
    match state.and_then(|state| state.last_outcome.as_ref()) {
        Some(Outcome::Failed { message, .. }) => CellState::Failed(message.clone()),
        Some(Outcome::Done) => CellState::Done,
        Some(Outcome::Interrupted) | None => CellState::Open,
    }
}

/// Reads the columns `outcome`, `error` and `error_class` of an attempt.
pub(super) fn outcome(row: &SqliteRow) -> Result<Option<Outcome>> {
    let name: Option<String> = row.try_get("outcome")?;
    Ok(match name.as_deref() {
        None => None,
        Some("done") => Some(Outcome::Done),
        Some("interrupted") => Some(Outcome::Interrupted),
        Some(_) => {
            let message: Option<String> = row.try_get("error")?;
            let class: Option<String> = row.try_get("error_class")?;
            let class = class.as_deref().map_or(FailureClass::Environment, FailureClass::parse);
            Some(Outcome::Failed { message: message.unwrap_or_default(), class })
        }
    })
}

/// Reads the columns of a run's spec and model; `None` where its spec is missing or unreadable.
pub(super) fn facts(row: &SqliteRow) -> Result<Option<RunFacts>> {
    let spec: Option<String> = row.try_get("spec")?;
    let Some(spec) = spec else { return Ok(None) };
    let tokens: Option<u32> = row.try_get("tokens_h")?;
    let tokens = match tokens {
        Some(rows) => Some([rows, count(row, "tokens_w")?]),
        None => None,
    };
    Ok(Some(RunFacts {
        spec: serde_json::from_str(&spec).map_err(decode("spec"))?,
        input_px: [count(row, "input_h")?, count(row, "input_w")?],
        n_classes: count(row, "n_classes")?,
        classes: optional_json(row, "classes")?.unwrap_or_default(),
        tokens,
        params_total: optional_count(row, "params_total")?,
        params_trained: optional_count(row, "params_trained")?,
    }))
}

pub(super) fn metrics(row: &SqliteRow) -> Result<Metrics> {
    Ok(Metrics {
        miou: row.try_get("miou")?,
        classes_present: count(row, "classes_present")?,
        classes_total: count(row, "classes_total")?,
        iou_per_class: json(row, "iou_per_class")?,
        pixel_accuracy: row.try_get("pixel_accuracy")?,
        accuracy_mean: row.try_get("accuracy_mean")?,
        reference_metric: row.try_get("reference_metric")?,
        n_images: big_count(row, "n_images")?,
        n_pixels: big_count(row, "n_pixels")?,
        iou_frequency_weighted: row.try_get("iou_frequency_weighted")?,
        miou_union: row.try_get("miou_union")?,
    })
}

/// Reads the columns `corruption` and `severity` of a score.
pub(super) fn condition(row: &SqliteRow) -> Result<Condition> {
    Condition::of(row.try_get("corruption")?, row.try_get("severity")?).map_err(decode("severity"))
}

pub(super) fn run_id(row: &SqliteRow) -> Result<RunId> {
    id(row.try_get("run")?)
}

pub(super) fn score_id(row: &SqliteRow) -> Result<ScoreId> {
    id(row.try_get("score")?)
}

fn score_ids(ids: &str) -> Result<BTreeSet<ScoreId>> {
    ids.split(' ').map(|text| id(text.to_owned())).collect()
}

/// Parses an id, which is a plain string in JSON.
fn id<T: DeserializeOwned>(text: String) -> Result<T> {
    serde_json::from_value(text.into()).map_err(decode("id"))
}

pub(super) fn count(row: &SqliteRow, column: &'static str) -> Result<u32> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(decode(column))
}

pub(super) fn big_count(row: &SqliteRow, column: &'static str) -> Result<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(decode(column))
}

pub(super) fn optional_count(row: &SqliteRow, column: &'static str) -> Result<Option<u64>> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(decode(column))).transpose()
}

pub(super) fn json<T: DeserializeOwned + Serialize>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(decode(column))
}

fn optional_json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(serde_json::from_str).transpose().map_err(decode(column))
}

fn decode<E: std::error::Error + Send + Sync + 'static>(
    column: &'static str,
) -> impl FnOnce(E) -> sqlx::Error {
    move |source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}
