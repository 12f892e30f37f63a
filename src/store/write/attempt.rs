//! Writes rows from the lines of one attempt's journal.

use sqlx::SqliteConnection;

use crate::event::{
    AttemptStarted, Event, Line, Memory, Metrics, ModelBuilt, Outcome, ScoreEnded, TrainStep,
};
use crate::id::RunId;
use crate::store::write::{Result, int, json};

/// The writer of the rows of one attempt.
pub(in crate::store) struct AttemptWriter<'a> {
    connection: &'a mut SqliteConnection,
    run: &'a RunId,
    attempt: u32,
    /// Whether the attempt has trained, and so superseded the steps that it repeats.
    trains: bool,
}

impl<'a> AttemptWriter<'a> {
    pub(in crate::store) async fn open(
        connection: &'a mut SqliteConnection,
        run: &'a RunId,
        attempt: u32,
    ) -> Result<Self> {
        sqlx::query("INSERT OR IGNORE INTO attempts (run, attempt) VALUES (?, ?)")
            .bind(run.as_str())
            .bind(attempt)
            .execute(&mut *connection)
            .await?;
        let from: Option<i64> = sqlx::query_scalar(
            "SELECT train_from_step FROM attempts WHERE run = ? AND attempt = ?",
        )
        .bind(run.as_str())
        .bind(attempt)
        .fetch_one(&mut *connection)
        .await?;
        Ok(Self { connection, run, attempt, trains: from.is_some() })
    }

    /// Writes one line. A warning comes back, for it is keyed by its place in the file.
    pub(in crate::store) async fn write(&mut self, line: &Line) -> Result<Option<String>> {
        let at_ms = int(line.at_ms);
        match &line.event {
            Event::AttemptStarted(started) => self.attempt_started(started, at_ms).await?,
            Event::ModelBuilt(built) => self.model_built(built).await?,
            Event::Resumed { step, checkpoint } => self.train_from(*step, Some(checkpoint)).await?,
            Event::CheckpointRejected { checkpoint, reason } => {
                return Ok(Some(format!("checkpoint {checkpoint} was rejected: {reason}")));
            }
            Event::TrainStep(step) => self.train_step(step, at_ms).await?,
            Event::EpochEnded { epoch, step, loss_mean, time_ms, wait_ms } => {
                self.first_train_event().await?;
                sqlx::query("INSERT OR REPLACE INTO epoch_ends VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
                    .bind(self.run.as_str())
                    .bind(int(*step))
                    .bind(self.attempt)
                    .bind(*epoch)
                    .bind(*loss_mean)
                    .bind(int(*time_ms))
                    .bind(at_ms)
                    .bind(wait_ms.map(int))
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
            Event::AttemptEnded { outcome, memory } => {
                self.attempt_ended(outcome, *memory, at_ms).await?;
            }
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
        .bind(started.device.to_string())
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
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.run.as_str())
        .bind(step)
        .bind(split)
        .bind(self.attempt)
        .bind(epoch);
        bind_metrics(query, metrics)
            .bind(at_ms)
            .bind(metrics.iou_frequency_weighted)
            .bind(metrics.miou_union)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn score_ended(&mut self, score: &ScoreEnded, at_ms: i64) -> Result {
        let query = sqlx::query(
            "INSERT OR REPLACE INTO scores \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        .bind(score.condition.effect())
        .bind(score.condition.severity());
        bind_metrics(query, &score.metrics)
            .bind(int(score.time_ms))
            .bind(at_ms)
            .bind(score.metrics.iou_frequency_weighted)
            .bind(score.metrics.miou_union)
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

    async fn attempt_ended(
        &mut self,
        outcome: &Outcome,
        memory: Option<Memory>,
        at_ms: i64,
    ) -> Result {
        let (name, error, class) = match outcome {
            Outcome::Done => ("done", None, None),
            Outcome::Interrupted => ("interrupted", None, None),
            Outcome::Failed { message, class } => ("failed", Some(message), Some(class.name())),
        };
        sqlx::query(
            "UPDATE attempts SET ended_at_ms = ?, outcome = ?, error = ?, error_class = ?, \
             memory_process_bytes = ?, memory_device_bytes = ? WHERE run = ? AND attempt = ?",
        )
        .bind(at_ms)
        .bind(name)
        .bind(error)
        .bind(class)
        .bind(memory.and_then(|memory| memory.process_bytes).map(int))
        .bind(memory.and_then(|memory| memory.device_bytes).map(int))
        .bind(self.run.as_str())
        .bind(self.attempt)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Notes the attempt's first training event: an attempt that trains without having resumed
    /// starts over.
    async fn first_train_event(&mut self) -> Result {
        if self.trains {
            return Ok(());
        }
        self.train_from(0, None).await
    }

    /// Removes the rows that earlier attempts trained after `step`, and notes where this one
    /// continues.
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
    // Journals of before have 0 where nothing was labelled.
    let defined = |score: Option<f64>| score.filter(|_| metrics.n_pixels > 0);
    query
        .bind(defined(metrics.miou))
        .bind(metrics.classes_present)
        .bind(metrics.classes_total)
        .bind(json(&metrics.iou_per_class))
        .bind(defined(metrics.pixel_accuracy))
        .bind(defined(metrics.accuracy_mean))
        .bind(defined(metrics.reference_metric))
        .bind(int(metrics.n_images))
        .bind(int(metrics.n_pixels))
}
