//! Reads all facts about one run from the index, for `sweep show`.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{ScoreEnded, TrainStep};
use crate::id::RunId;
use crate::store::query::{
    big_count, condition, count, facts, metrics, optional_count, outcome, score_id,
};
use crate::store::{AttemptRow, EpochRow, Error, RunDetails, Store};

/// Number of logged steps that [`Store::run_details`] returns.
const LAST_STEPS: u32 = 5;

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Store {
    /// All facts about a run; of one that is neither indexed nor planned, only its id.
    pub async fn run_details(&self, run: &RunId) -> std::result::Result<RunDetails, Error> {
        self.details(run.clone()).await.map_err(|error| self.error(error))
    }

    async fn details(&self, run: RunId) -> Result<RunDetails> {
        let row = sqlx::query("SELECT * FROM runs WHERE run = ?")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let mut details = RunDetails {
            facts: None,
            problem: None,
            state: self.states().await?.remove(&run).unwrap_or_default(),
            experiments: self.experiments_of(&run).await?,
            steps_total: None,
            attempts: self.attempts_of(&run).await?,
            last_steps: self.last_steps(&run).await?,
            epochs: self.epochs_of(&run).await?,
            scores: self.scores_of(&run).await?,
            warnings: self.warnings_of(&run).await?,
            run,
        };
        if let Some(row) = row {
            details.facts = facts(&row)?;
            details.problem = row.try_get("problem")?;
            details.steps_total = optional_count(&row, "steps_total")?;
        }
        Ok(details)
    }

    async fn experiments_of(&self, run: &RunId) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT experiment FROM cells WHERE run = ? ORDER BY 1")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await
    }

    async fn attempts_of(&self, run: &RunId) -> Result<Vec<AttemptRow>> {
        let rows = sqlx::query("SELECT * FROM attempts WHERE run = ? ORDER BY attempt")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await?;
        let attempt = |row: &SqliteRow| {
            Ok(AttemptRow {
                attempt: count(row, "attempt")?,
                started_at_ms: optional_count(row, "started_at_ms")?,
                ended_at_ms: optional_count(row, "ended_at_ms")?,
                host: row.try_get("host")?,
                device: row.try_get("device")?,
                device_name: row.try_get("device_name")?,
                threads: row.try_get("threads")?,
                version: row.try_get("version")?,
                git: row.try_get("git")?,
                train_from_step: optional_count(row, "train_from_step")?,
                memory_process_bytes: optional_count(row, "memory_process_bytes")?,
                memory_device_bytes: optional_count(row, "memory_device_bytes")?,
                outcome: outcome(row)?,
            })
        };
        rows.iter().map(attempt).collect()
    }

    async fn last_steps(&self, run: &RunId) -> Result<Vec<TrainStep>> {
        let rows =
            sqlx::query("SELECT * FROM train_steps WHERE run = ? ORDER BY step DESC LIMIT ?")
                .bind(run.as_str())
                .bind(LAST_STEPS)
                .fetch_all(&self.pool)
                .await?;
        let step = |row: &SqliteRow| {
            Ok(TrainStep {
                step: big_count(row, "step")?,
                epoch: count(row, "epoch")?,
                loss: row.try_get("loss")?,
                lr: row.try_get("lr")?,
                images_per_s: row.try_get("images_per_s")?,
            })
        };
        rows.iter().rev().map(step).collect()
    }

    async fn epochs_of(&self, run: &RunId) -> Result<Vec<EpochRow>> {
        let validated: Vec<(i64, String, Option<f64>)> = sqlx::query_as(
            "SELECT step, split, miou FROM validations WHERE run = ? ORDER BY step, split",
        )
        .bind(run.as_str())
        .fetch_all(&self.pool)
        .await?;
        let mut validations: BTreeMap<i64, Vec<(String, Option<f64>)>> = BTreeMap::new();
        for (step, split, miou) in validated {
            validations.entry(step).or_default().push((split, miou));
        }
        let rows = sqlx::query("SELECT * FROM epoch_ends WHERE run = ? ORDER BY step")
            .bind(run.as_str())
            .fetch_all(&self.pool)
            .await?;
        let mut epochs = Vec::with_capacity(rows.len());
        for row in &rows {
            let step: i64 = row.try_get("step")?;
            epochs.push(EpochRow {
                epoch: count(row, "epoch")?,
                step: big_count(row, "step")?,
                loss_mean: row.try_get("loss_mean")?,
                time_ms: big_count(row, "time_ms")?,
                wait_ms: optional_count(row, "wait_ms")?,
                validations: validations.remove(&step).unwrap_or_default(),
            });
        }
        Ok(epochs)
    }

    /// The scores of a run: clean first, then in the order of suites, by severity and name.
    async fn scores_of(&self, run: &RunId) -> Result<Vec<ScoreEnded>> {
        let rows = sqlx::query(
            "SELECT * FROM scores WHERE run = ? \
             ORDER BY eval_set, protocol, severity, corruption, score",
        )
        .bind(run.as_str())
        .fetch_all(&self.pool)
        .await?;
        let score = |row: &SqliteRow| {
            Ok(ScoreEnded {
                score: score_id(row)?,
                checkpoint_sha256: row.try_get("checkpoint_sha256")?,
                checkpoint_step: big_count(row, "checkpoint_step")?,
                protocol: row.try_get("protocol")?,
                set: row.try_get("eval_set")?,
                set_fingerprint: row.try_get("set_fingerprint")?,
                suite: row.try_get("suite")?,
                condition: condition(row)?,
                metrics: metrics(row)?,
                time_ms: big_count(row, "time_ms")?,
            })
        };
        rows.iter().map(score).collect()
    }

    async fn warnings_of(&self, run: &RunId) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT owner || '/' || file || ':' || line || ': ' || message \
             FROM warnings WHERE owner = 'runs/' || ? ORDER BY file, line",
        )
        .bind(run.as_str())
        .fetch_all(&self.pool)
        .await
    }
}
