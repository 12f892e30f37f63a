//! Writes rows from the lines of an experiment's journal.

use sqlx::SqliteConnection;

use crate::event::{Planned, SweepEvent, SweepLine};
use crate::store::write::{Result, int, json};

/// Writes one line of an experiment's journal.
pub(in crate::store) async fn sweep_line(
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
            .bind(device.to_string())
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

/// Replaces the experiment's cells by those of a plan.
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
         s.value ->> 'protocol', s.value ->> 'corruption', s.value ->> 'severity', \
         s.value -> 'protocol_parts' \
         FROM json_each(?2) c, json_each(c.value, '$.scores') s",
    )
    .bind(name)
    .bind(&cells)
    .execute(&mut *connection)
    .await?;
    Ok(())
}
