//! Rows from journal lines: one function a kind of line.

use serde::Serialize;
use serde_json::Value;
use sqlx::SqliteConnection;

use crate::event::{
    AttemptStarted, Event, Line, Metrics, ModelBuilt, Outcome, Planned, ScoreEnded, SweepEvent,
    SweepLine, TrainStep,
};
use crate::id::RunId;
use crate::model::TuneConfig;
use crate::spec::{self, RunFile};
use crate::store::journal::Position;

type Result<T = ()> = std::result::Result<T, sqlx::Error>;

/// Writes the lines of one attempt's journal.
pub(super) struct AttemptWriter<'a> {
    connection: &'a mut SqliteConnection,
    run: &'a RunId,
    attempt: u32,
    /// Whether it has trained, and so superseded what it repeats.
    trains: bool,
}

impl<'a> AttemptWriter<'a> {
    pub(super) async fn open(
        connection: &'a mut SqliteConnection,
        run: &'a RunId,
        attempt: u32,
    ) -> Result<Self> {
        sqlx::query("INSERT OR IGNORE INTO attempts (run, attempt) VALUES (?, ?)")
            .bind(run.as_str())
            .bind(attempt)
            .execute(&mut *connection)
            .await?;
        let from: Option<i64> =
            sqlx::query_scalar("SELECT train_from_step FROM attempts WHERE run = ? AND attempt = ?")
                .bind(run.as_str())
                .bind(attempt)
                .fetch_one(&mut *connection)
                .await?;
        Ok(Self { connection, run, attempt, trains: from.is_some() })
    }

    /// Writes one line. A warning comes back, for it is keyed by its place in the file.
    pub(super) async fn write(&mut self, line: &Line) -> Result<Option<String>> {
        let at_ms = int(line.at_ms);
        match &line.event {
            Event::AttemptStarted(started) => self.attempt_started(started, at_ms).await?,
            Event::ModelBuilt(built) => self.model_built(built).await?,
            Event::Resumed { step, checkpoint } => self.train_from(*step, Some(checkpoint)).await?,
            Event::CheckpointRejected { checkpoint, reason } => {
                return Ok(Some(format!("checkpoint {checkpoint} was rejected: {reason}")));
            }
            Event::TrainStep(step) => self.train_step(step, at_ms).await?,
            Event::EpochEnded { epoch, step, loss_mean, time_ms } => {
                self.first_train_event().await?;
                sqlx::query("INSERT OR REPLACE INTO epoch_ends VALUES (?, ?, ?, ?, ?, ?, ?)")
                    .bind(self.run.as_str())
                    .bind(int(*step))
                    .bind(self.attempt)
                    .bind(*epoch)
                    .bind(*loss_mean)
                    .bind(int(*time_ms))
                    .bind(at_ms)
                    .execute(&mut *self.connection)
                    .await?;
            }
            Event::Validated { epoch, step, split, metrics } => {
                let key = (*epoch, int(*step), split.as_str());
                self.validated(key, metrics, at_ms).await?;
            }
            Event::CheckpointSaved { step, epoch, checkpoint, sha256, bytes } => {
                self.first_train_event().await?;
                sqlx::query("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
                    .bind(self.run.as_str())
                    .bind(int(*step))
                    .bind(self.attempt)
                    .bind(*epoch)
                    .bind(checkpoint)
                    .bind(sha256)
                    .bind(int(*bytes))
                    .bind(at_ms)
                    .execute(&mut *self.connection)
                    .await?;
            }
            Event::TrainingEnded { step, epoch: _, adapter_sha256 } => {
                sqlx::query("INSERT OR REPLACE INTO trainings VALUES (?, ?, ?, ?, ?)")
                    .bind(self.run.as_str())
                    .bind(self.attempt)
                    .bind(int(*step))
                    .bind(adapter_sha256)
                    .bind(at_ms)
                    .execute(&mut *self.connection)
                    .await?;
            }
            Event::Scoring { .. } => {}
            Event::ScoreEnded(score) => self.score_ended(score, at_ms).await?,
            Event::Warning { message } => return Ok(Some(message.clone())),
            Event::AttemptEnded { outcome } => self.attempt_ended(outcome, at_ms).await?,
        }
        Ok(None)
    }

    async fn attempt_started(&mut self, started: &AttemptStarted, at_ms: i64) -> Result {
        sqlx::query(
            "UPDATE attempts SET started_at_ms = ?, pid = ?, host = ?, device = ?, \
             device_name = ?, threads = ?, version = ?, git = ? WHERE run = ? AND attempt = ?",
        )
        .bind(at_ms)
        .bind(started.pid)
        .bind(&started.host)
        .bind(&started.device)
        .bind(&started.device_name)
        .bind(started.threads)
        .bind(&started.version)
        .bind(&started.git)
        .bind(self.run.as_str())
        .bind(self.attempt)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn model_built(&mut self, built: &ModelBuilt) -> Result {
        sqlx::query(
            "UPDATE runs SET tokens_h = ?, tokens_w = ?, params_total = ?, params_trained = ?, \
             n_train_images = ?, steps_total = ? WHERE run = ?",
        )
        .bind(built.tokens[0])
        .bind(built.tokens[1])
        .bind(int(built.params_total))
        .bind(int(built.params_trained))
        .bind(int(built.n_train_images))
        .bind(int(built.steps_total))
        .bind(self.run.as_str())
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn train_step(&mut self, step: &TrainStep, at_ms: i64) -> Result {
        self.first_train_event().await?;
        sqlx::query("INSERT OR REPLACE INTO train_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(self.run.as_str())
            .bind(int(step.step))
            .bind(self.attempt)
            .bind(step.epoch)
            .bind(step.loss)
            .bind(step.lr)
            .bind(step.images_per_s)
            .bind(at_ms)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn validated(
        &mut self,
        (epoch, step, split): (u32, i64, &str),
        metrics: &Metrics,
        at_ms: i64,
    ) -> Result {
        self.first_train_event().await?;
        let query = sqlx::query(
            "INSERT OR REPLACE INTO validations \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.run.as_str())
        .bind(step)
        .bind(split)
        .bind(self.attempt)
        .bind(epoch);
        bind_metrics(query, metrics).bind(at_ms).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn score_ended(&mut self, score: &ScoreEnded, at_ms: i64) -> Result {
        let query = sqlx::query(
            "INSERT OR REPLACE INTO scores \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.run.as_str())
        .bind(score.score.as_str())
        .bind(self.attempt)
        .bind(&score.checkpoint_sha256)
        .bind(int(score.checkpoint_step))
        .bind(&score.protocol)
        .bind(&score.set)
        .bind(&score.set_fingerprint)
        .bind(&score.suite)
        .bind(&score.corruption)
        .bind(score.severity);
        bind_metrics(query, &score.metrics)
            .bind(int(score.time_ms))
            .bind(at_ms)
            .execute(&mut *self.connection)
            .await?;
        // A worker that was killed between its adapter and the line that says so does not train
        // again: a score is the proof that training had ended.
        sqlx::query("INSERT OR IGNORE INTO trainings VALUES (?, ?, ?, ?, ?)")
            .bind(self.run.as_str())
            .bind(self.attempt)
            .bind(int(score.checkpoint_step))
            .bind(&score.checkpoint_sha256)
            .bind(at_ms)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn attempt_ended(&mut self, outcome: &Outcome, at_ms: i64) -> Result {
        let (name, error, class) = match outcome {
            Outcome::Done => ("done", None, None),
            Outcome::Interrupted => ("interrupted", None, None),
            Outcome::Failed { message, class } => ("failed", Some(message), Some(name_of(class))),
        };
        sqlx::query(
            "UPDATE attempts SET ended_at_ms = ?, outcome = ?, error = ?, error_class = ? \
             WHERE run = ? AND attempt = ?",
        )
        .bind(at_ms)
        .bind(name)
        .bind(error)
        .bind(class)
        .bind(self.run.as_str())
        .bind(self.attempt)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// An attempt that trains without having resumed starts over.
    async fn first_train_event(&mut self) -> Result {
        if self.trains {
            return Ok(());
        }
        self.train_from(0, None).await
    }

    /// Takes the place of what earlier attempts trained after `step`.
    async fn train_from(&mut self, step: u64, checkpoint: Option<&str>) -> Result {
        const SUPERSEDED: [&str; 5] = [
            "DELETE FROM train_steps WHERE run = ? AND step > ? AND attempt < ?",
            "DELETE FROM epoch_ends WHERE run = ? AND step > ? AND attempt < ?",
            "DELETE FROM validations WHERE run = ? AND step > ? AND attempt < ?",
            "DELETE FROM checkpoints WHERE run = ? AND step > ? AND attempt < ?",
            "DELETE FROM trainings WHERE run = ? AND step > ? AND attempt < ?",
        ];
        for delete in SUPERSEDED {
            sqlx::query(delete)
                .bind(self.run.as_str())
                .bind(int(step))
                .bind(self.attempt)
                .execute(&mut *self.connection)
                .await?;
        }
        sqlx::query(
            "UPDATE attempts SET train_from_step = ?, resumed_from = ? \
             WHERE run = ? AND attempt = ?",
        )
        .bind(int(step))
        .bind(checkpoint)
        .bind(self.run.as_str())
        .bind(self.attempt)
        .execute(&mut *self.connection)
        .await?;
        self.trains = true;
        Ok(())
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_metrics<'q>(query: Query<'q>, metrics: &'q Metrics) -> Query<'q> {
    query
        .bind(metrics.miou)
        .bind(metrics.classes_present)
        .bind(metrics.classes_total)
        .bind(json(&metrics.iou_per_class))
        .bind(metrics.pixel_accuracy)
        .bind(metrics.accuracy_mean)
        .bind(metrics.reference_metric)
        .bind(int(metrics.n_images))
        .bind(int(metrics.n_pixels))
}

/// Makes sure that the run has a row, whatever becomes of its spec.
pub(super) async fn run_exists(connection: &mut SqliteConnection, run: &RunId) -> Result {
    sqlx::query("INSERT OR IGNORE INTO runs (run, problem) VALUES (?, 'spec.json is missing')")
        .bind(run.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes what `spec.json` holds, or why it cannot be read. The row exists.
pub(super) async fn run_spec(
    connection: &mut SqliteConnection,
    run: &RunId,
    bytes: &[u8],
) -> Result {
    let file = match read_spec(run, bytes) {
        Ok(file) => file,
        Err(problem) => {
            tracing::warn!(run = run.as_str(), problem, "the run's spec cannot be read");
            sqlx::query("UPDATE runs SET problem = ? WHERE run = ?")
                .bind(problem)
                .bind(run.as_str())
                .execute(connection)
                .await?;
            return Ok(());
        }
    };
    let spec = &file.spec;
    let rank = match &spec.tune {
        TuneConfig::Lora(lora) => lora.rank.get(),
        TuneConfig::Frozen {} | TuneConfig::Full {} => 0,
    };
    sqlx::query(
        "UPDATE runs SET spec = ?, identity = ?, problem = NULL, dino_type = ?, size = ?, \
         registers = ?, weights = ?, tune = ?, lora_rank = ?, decoder = ?, dataset = ?, seed = ?, \
         input_h = ?, input_w = ?, n_classes = ?, train_numerics = ? WHERE run = ?",
    )
    .bind(json(spec))
    .bind(json(&file.identity))
    .bind(name_of(&spec.model.dino_type))
    .bind(name_of(&spec.model.size))
    .bind(spec.model.registers)
    .bind(name_of(&spec.weights))
    .bind(name_of(&spec.tune))
    .bind(rank)
    .bind(name_of(&spec.decoder))
    .bind(name_of(&spec.data))
    .bind(int(spec.seed))
    .bind(file.input_px[0])
    .bind(file.input_px[1])
    .bind(file.n_classes)
    .bind(file.identity.get("train_numerics").and_then(Value::as_i64))
    .bind(run.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

fn read_spec(run: &RunId, bytes: &[u8]) -> std::result::Result<RunFile, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("spec.json: {e}"))?;
    let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
    if version > u64::from(spec::VERSION) {
        return Err(format!(
            "spec.json was written by a newer sweep (version {version}, this one reads up to {})",
            spec::VERSION
        ));
    }
    let file: RunFile = serde_json::from_value(value).map_err(|e| format!("spec.json: {e}"))?;
    if file.run == *run {
        Ok(file)
    } else {
        Err(format!("spec.json is of run {}: the folder was renamed or copied", file.run))
    }
}

/// Forgets all of a run, so that its journals can be indexed from their starts.
pub(super) async fn clear_run(
    connection: &mut SqliteConnection,
    owner: &str,
    run: &str,
) -> Result {
    const BY_RUN: [&str; 8] = [
        "DELETE FROM runs WHERE run = ?",
        "DELETE FROM attempts WHERE run = ?",
        "DELETE FROM train_steps WHERE run = ?",
        "DELETE FROM epoch_ends WHERE run = ?",
        "DELETE FROM validations WHERE run = ?",
        "DELETE FROM checkpoints WHERE run = ?",
        "DELETE FROM trainings WHERE run = ?",
        "DELETE FROM scores WHERE run = ?",
    ];
    for delete in BY_RUN {
        sqlx::query(delete).bind(run).execute(&mut *connection).await?;
    }
    clear_owner(connection, owner).await
}

/// Forgets all of an experiment.
pub(super) async fn clear_experiment(
    connection: &mut SqliteConnection,
    owner: &str,
    name: &str,
) -> Result {
    const BY_EXPERIMENT: [&str; 4] = [
        "DELETE FROM experiments WHERE experiment = ?",
        "DELETE FROM cells WHERE experiment = ?",
        "DELETE FROM cell_scores WHERE experiment = ?",
        "DELETE FROM sweep_attempts WHERE experiment = ?",
    ];
    for delete in BY_EXPERIMENT {
        sqlx::query(delete).bind(name).execute(&mut *connection).await?;
    }
    clear_owner(connection, owner).await
}

async fn clear_owner(connection: &mut SqliteConnection, owner: &str) -> Result {
    for delete in
        ["DELETE FROM warnings WHERE owner = ?", "DELETE FROM journal_offsets WHERE owner = ?"]
    {
        sqlx::query(delete).bind(owner).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn position(
    connection: &mut SqliteConnection,
    owner: &str,
    file: &str,
    position: Position,
) -> Result {
    sqlx::query("INSERT OR REPLACE INTO journal_offsets VALUES (?, ?, ?, ?)")
        .bind(owner)
        .bind(file)
        .bind(int(position.bytes))
        .bind(int(position.lines))
        .execute(connection)
        .await?;
    Ok(())
}

/// A line of a journal, as warnings are keyed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) owner: &'a str,
    pub(super) file: &'a str,
    pub(super) line: u64,
}

pub(super) async fn warning(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    at_ms: Option<u64>,
    message: &str,
) -> Result {
    sqlx::query("INSERT OR REPLACE INTO warnings VALUES (?, ?, ?, ?, ?)")
        .bind(place.owner)
        .bind(place.file)
        .bind(int(place.line))
        .bind(at_ms.map(int))
        .bind(message)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes one line of an experiment's journal.
pub(super) async fn sweep_line(
    connection: &mut SqliteConnection,
    name: &str,
    line: &SweepLine,
) -> Result {
    let at_ms = int(line.at_ms);
    match &line.event {
        SweepEvent::Planned(plan) => planned(connection, name, plan, at_ms).await,
        SweepEvent::AttemptStarted { run, attempt, device } => {
            sqlx::query(
                "INSERT INTO sweep_attempts (experiment, run, attempt, device, started_at_ms) \
                 VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET device = excluded.device, \
                 started_at_ms = excluded.started_at_ms",
            )
            .bind(name)
            .bind(run.as_str())
            .bind(*attempt)
            .bind(device)
            .bind(at_ms)
            .execute(connection)
            .await?;
            Ok(())
        }
        SweepEvent::AttemptExited { run, attempt, error, interrupted } => {
            sqlx::query(
                "INSERT INTO sweep_attempts \
                 (experiment, run, attempt, exited_at_ms, error, interrupted) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                 exited_at_ms = excluded.exited_at_ms, error = excluded.error, \
                 interrupted = excluded.interrupted",
            )
            .bind(name)
            .bind(run.as_str())
            .bind(*attempt)
            .bind(at_ms)
            .bind(error)
            .bind(*interrupted)
            .execute(connection)
            .await?;
            Ok(())
        }
        SweepEvent::SweepEnded { done, failed, interrupted } => {
            sqlx::query(
                "UPDATE experiments SET ended_at_ms = ?, done = ?, failed = ?, interrupted = ? \
                 WHERE experiment = ?",
            )
            .bind(at_ms)
            .bind(*done)
            .bind(*failed)
            .bind(*interrupted)
            .bind(name)
            .execute(connection)
            .await?;
            Ok(())
        }
    }
}

/// The experiment's cells become these and no others.
///
/// SQLite takes the cells apart: a plan of 100,000 scores is three statements, not 100,000.
async fn planned(
    connection: &mut SqliteConnection,
    name: &str,
    plan: &Planned,
    at_ms: i64,
) -> Result {
    for delete in
        ["DELETE FROM cells WHERE experiment = ?", "DELETE FROM cell_scores WHERE experiment = ?"]
    {
        sqlx::query(delete).bind(name).execute(&mut *connection).await?;
    }
    sqlx::query(
        "INSERT OR REPLACE INTO experiments \
         (experiment, axes, suite, suite_corruptions, planned_at_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(name)
    .bind(json(&plan.axes))
    .bind(&plan.suite)
    .bind(json(&plan.suite_corruptions))
    .bind(at_ms)
    .execute(&mut *connection)
    .await?;
    let cells = json(&plan.cells);
    sqlx::query(
        "INSERT OR REPLACE INTO cells \
         SELECT ?1, value ->> 'index', value ->> 'run', value -> 'labels' FROM json_each(?2)",
    )
    .bind(name)
    .bind(&cells)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT OR REPLACE INTO cell_scores \
         SELECT ?1, c.value ->> 'index', s.key, s.value ->> 'score', s.value ->> 'set', \
         s.value ->> 'protocol', s.value ->> 'corruption', s.value ->> 'severity' \
         FROM json_each(?2) c, json_each(c.value, '$.scores') s",
    )
    .bind(name)
    .bind(&cells)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// A count as SQLite holds it. No count of ours comes near its limit.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How `value` is written in a spec: its name, or the `kind` of a tagged table.
fn name_of<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("plain data serialises");
    let name = value.get("kind").unwrap_or(&value);
    name.as_str().map_or_else(|| name.to_string(), str::to_owned)
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}
