//! `sweep keys [NAME]`: lists the keys of experiment files, or explains some of them.

use serde_json::json;

use super::fault::{Exit, fault};
use super::grid::grid;
use super::{Context, printer};
use crate::experiment::keys::{self, Row};

/// Version of the JSON.
const VERSION: u32 = 1;

/// List the keys of experiment files, or explain one
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A key, its short name, or a table of keys: `train.lr`, `lr`, `train.transform`
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print all keys as Markdown
    #[arg(long, conflicts_with_all = ["json", "name"])]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    if args.markdown {
        printer::data(&keys::reference());
        return Ok(Exit::Done);
    }
    let rows = match &args.name {
        None => keys::groups().into_iter().flat_map(keys::rows).collect(),
        Some(name) => named(name)?,
    };
    if args.json {
        let value = json!({ "version": VERSION, "keys": rows });
        printer::data(&format!("{}\n", serde_json::to_string_pretty(&value)?));
        return Ok(Exit::Done);
    }
    match rows.as_slice() {
        [row] if args.name.is_some() => printer::data(&explanation(row)),
        rows => printer::data(&format!("{}\n", table(rows))),
    }
    Ok(Exit::Done)
}

fn named(name: &str) -> anyhow::Result<Vec<Row>> {
    let rows = keys::named(name);
    if rows.is_empty() {
        let nearest = keys::nearest_name(name);
        let nearest = nearest.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let words = format!("there is no key `{name}`; `sweep keys` lists them{nearest}");
        return Err(fault(Exit::Usage, words));
    }
    Ok(rows)
}

fn table(rows: &[Row]) -> String {
    let head = ["key", "short", "default", "what it is"].map(str::to_owned);
    let line = |row: &Row| {
        let default = row.defaults().replace('`', "");
        vec![row.key.to_owned(), row.aliases.join(", "), default, row.doc.to_owned()]
    };
    grid(&head, rows.iter().map(line))
}

fn explanation(row: &Row) -> String {
    let mut lines = vec![row.names(), format!("  {}", row.doc)];
    let mut say = |what: &str, text: &str| lines.push(format!("  {what}: {text}"));
    say("takes", &row.takes);
    if row.sets.is_empty() {
        say("default", &row.defaults());
    } else {
        say("sets", &row.sets.join(", "));
    }
    if let Some(with) = &row.with {
        say("only where", with);
    }
    if let Some(other) = row.excludes {
        say("excludes", other);
    }
    say("ids", &row.effect);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained_by_any_of_its_names() {
        let explained = |name: &str| explanation(&named(name).unwrap()[0]);
        assert_eq!(explained("lr"), explained("train.lr"));
        insta::assert_snapshot!(explained("tokens"), @"
        `train.input.tokens` (`tokens`)
          Side of the input in patches.
          takes: a whole number from 1 to 512
          default: modern: `32`
          excludes: train.input.px
          ids: part of the run's id and of the score's
        ");
        insta::assert_snapshot!(explained("transform.max_class"), @"
        `train.transform.max_class`
          Part of a crop that one class must stay below, else up to 10 redraws; 1: no rule.
          takes: a number above 0, up to 1
          default: `0.75`
          only where: `train.transform.kind` is `crop`
          ids: part of the run's id
        ");
        insta::assert_snapshot!(explained("lora_rank"), @"
        `lora_rank`
          0: the encoder stays frozen; else LoRA of this rank.
          takes: a whole number from 0 to 1024 (0: frozen encoder)
          sets: tune.kind, tune.rank
          ids: as of the keys it sets
        ");
    }

    #[test]
    fn a_table_is_all_its_keys_and_an_unknown_name_is_refused() {
        let names = |name: &str| named(name).unwrap().iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(names("train.input"), ["train.input.tokens", "train.input.px"]);
        assert_eq!(names("input"), names("train.input"));
        assert_eq!(names("model")[..2], ["backbone", "model.size"]);
        let error = named("train.epoch").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        insta::assert_snapshot!(error, @"there is no key `train.epoch`; `sweep keys` lists them; did you mean `train.epochs`?");
    }
}
