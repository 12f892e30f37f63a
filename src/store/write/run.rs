//! Writes the row of a run from its `spec.json`.

use serde_json::Value;
use sqlx::SqliteConnection;

use crate::experiment::{self, RunFile};
use crate::id::RunId;
use crate::model::TuneConfig;
use crate::store::write::{Result, int, json, name_of};

/// Makes sure that the run has a row, even if its spec cannot be read.
pub(in crate::store) async fn run_exists(connection: &mut SqliteConnection, run: &RunId) -> Result {
    sqlx::query("INSERT OR IGNORE INTO runs (run, problem) VALUES (?, 'spec.json is missing')")
        .bind(run.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the columns of `spec.json`, or the reason why it cannot be read. The row exists.
pub(in crate::store) async fn run_spec(
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
         input_h = ?, input_w = ?, n_classes = ?, classes = ? \
         WHERE run = ?",
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
    .bind((!file.classes.is_empty()).then(|| json(&file.classes)))
    .bind(run.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

fn read_spec(run: &RunId, bytes: &[u8]) -> std::result::Result<RunFile, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("spec.json: {e}"))?;
    let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
    if version > u64::from(experiment::VERSION) {
        return Err(format!(
            "spec.json was written by a newer sweep (version {version}, this one reads up to {})",
            experiment::VERSION
        ));
    }
    let file: RunFile = serde_json::from_value(value).map_err(|e| format!("spec.json: {e}"))?;
    if file.run == *run {
        Ok(file)
    } else {
        Err(format!("spec.json belongs to run {}: the folder was renamed or copied", file.run))
    }
}
