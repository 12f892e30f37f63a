//! A table as JSON, for machines: raw numbers, scores from 0 to 1, every replicate's value.

use serde_json::{Map, Value, json};

use super::Written;
use crate::report::model::names::NOTHING;
use crate::report::model::table::{Columns, Data, Table};

pub(super) const WRITTEN: Written = Written::Not;

/// Raised when the meaning of a key changes.
const VERSION: u32 = 1;

/// The whole table as JSON, with all columns.
pub(super) fn render(table: &Table, _: Columns) -> String {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let cells = table.columns.iter().zip(row);
            let fields =
                cells.map(|(column, cell)| (column.key.clone(), value(&cell.text, &cell.data)));
            Value::Object(fields.collect::<Map<_, _>>())
        })
        .collect();
    let table = json!({
        "version": VERSION,
        "experiment": table.experiment,
        "caption": table.caption,
        "columns": table.columns.iter().map(|column| &column.key).collect::<Vec<_>>(),
        "rows": rows,
        "failures": table.failures,
    });
    let mut text = serde_json::to_string_pretty(&table).expect("plain data serialises");
    text.push('\n');
    text
}

fn value(text: &str, data: &Data) -> Value {
    match data {
        Data::Text if text == NOTHING => Value::Null,
        Data::Text => json!(text),
        Data::Count(value) => json!(value),
        Data::Size { px, tokens } => json!({ "px": px, "tokens": tokens }),
        Data::Score(measure) => json!({
            "mean": measure.mean(),
            "std": measure.std(),
            "values": measure.values,
            "partial": measure.partial,
            "missing": measure.mean().is_none().then_some(measure.missing),
        }),
        Data::Replicates { done, total } => json!({ "done": done, "total": total }),
        Data::Runs(runs) => json!(runs),
    }
}
