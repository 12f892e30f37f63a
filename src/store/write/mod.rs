//! Writes rows from journal lines, one function for each kind of line, and removes them.

mod attempt;
mod run;
mod sweep;

use serde::Serialize;
use sqlx::SqliteConnection;

use crate::store::journal::Position;

pub(super) use attempt::AttemptWriter;
pub(super) use run::{run_exists, run_spec};
pub(super) use sweep::sweep_line;

type Result<T = ()> = std::result::Result<T, sqlx::Error>;

/// Removes all rows of a run, so that its journals can be indexed from their starts.
pub(super) async fn clear_run(connection: &mut SqliteConnection, owner: &str, run: &str) -> Result {
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

/// Removes all rows of an experiment.
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

/// The position of a journal line, which is the key of its warning.
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

/// Converts a count to the integer type of SQLite. No count of ours comes near its limit.
fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The name by which `value` is written in a spec, or the `kind` of a tagged table.
fn name_of<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("plain data serialises");
    let name = value.get("kind").unwrap_or(&value);
    name.as_str().map_or_else(|| name.to_string(), str::to_owned)
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}
