//! Describes the entries in words, for `sweep keys`, `sweep recipes` and the documentation.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::choices::names;
use super::key::{Compound, Group, Key, Unset};
use super::lookup::{aliases, all, compounds, excluded_by, full_name, groups};
use crate::experiment::text::problem::{nearest, quoted};
use crate::train::Recipe;

/// A key, or a short name for several, with everything that is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub key: &'static str,
    /// Short names.
    pub aliases: Vec<&'static str>,
    pub doc: &'static str,
    /// The values it takes.
    pub takes: String,
    /// The `kind` under which it means something; `None` where it always does.
    pub with: Option<String>,
    pub required: bool,
    /// The default, as in an experiment file.
    pub default: Option<String>,
    /// The default in words, where it is not a fixed value.
    pub unset: Option<&'static str>,
    /// The values that recipes set.
    pub recipes: Vec<Given>,
    /// The key that it excludes.
    pub excludes: Option<&'static str>,
    /// The keys that a short name sets.
    pub sets: Vec<&'static str>,
    /// Its effect on ids.
    pub effect: String,
}

/// A recipe's value, as in an experiment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    pub recipe: &'static str,
    pub value: String,
}

/// The entries of a group, short names for several keys first.
pub fn rows(group: &Group) -> Vec<Row> {
    let compounds = group.compounds.iter().map(compound_row);
    compounds.chain(group.keys.iter().map(row)).collect()
}

/// The entries of that name: a key or what sets several, by full or short name, or all of a table.
pub fn named(name: &str) -> Vec<Row> {
    let full = full_name(name);
    let below = |name: &str| name.strip_prefix(full.as_str()).is_some_and(|s| s.starts_with('.'));
    let compounds = compounds().filter(|one| one.name == full || one.group == full);
    let keys = all().filter(|key| key.name == full || below(key.name));
    compounds.map(compound_row).chain(keys.map(row)).collect()
}

/// The known name that `name` most likely means.
pub fn nearest_name(name: &str) -> Option<String> {
    let keys = groups().into_iter().flat_map(rows).map(|row| row.key);
    let tables = groups().into_iter().map(|group| group.name);
    let short = aliases().map(|(alias, _)| alias);
    nearest(name, short.chain(tables).chain(keys))
}

/// Every key, group by group, as Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    for group in groups() {
        let name = group.name;
        // Writing into a string cannot fail.
        let _ = writeln!(text, "## `{name}`\n\n{}\n", group.doc);
        for (alias, table) in group.tables {
            let _ = writeln!(text, "`{alias}` is short for `{table}`.\n");
        }
        text += "| key | takes | default | what it is |\n|---|---|---|---|\n";
        for row in rows(group) {
            let cells = [row.names(), row.takes.clone(), row.defaults(), row.meaning()];
            let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

/// The values that the recipes set, key by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipes {
    pub names: Vec<&'static str>,
    pub rows: Vec<RecipeRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeRow {
    pub key: &'static str,
    /// The value of each recipe, as tables show it; `None` where it leaves the key alone.
    pub values: Vec<Option<String>>,
}

/// The keys that some recipe sets.
pub fn recipes() -> Recipes {
    let recipes = all_recipes();
    let set = all().filter(|key| !key.recipes.is_empty());
    let value = |key: &Key, recipe: Recipe| Some(key.ty.label(&key.recipe_value(recipe)?));
    let rows = set.map(|key| RecipeRow {
        key: key.name,
        values: recipes.iter().map(|(_, recipe)| value(key, *recipe)).collect(),
    });
    Recipes { rows: rows.collect(), names: recipes.iter().map(|(name, _)| *name).collect() }
}

fn all_recipes() -> Vec<(&'static str, Recipe)> {
    let recipe = |name: &'static str| {
        let recipe = serde_json::from_value(Value::from(name)).expect("a name of a variant");
        (name, recipe)
    };
    names::<Recipe>().into_iter().map(recipe).collect()
}

fn row(key: &Key) -> Row {
    let recipes = all_recipes()
        .into_iter()
        .filter_map(|(recipe, of)| Some(Given { recipe, value: toml(&key.recipe_value(of)?) }));
    Row {
        key: key.name,
        aliases: key.aliases.to_vec(),
        doc: key.doc,
        takes: key.ty.allowed(),
        with: key.of.map(|of| format!("`{}` is {}", of.key, one_of(&key.kinds()))),
        required: key.required,
        default: key.default_value().as_ref().map(toml),
        unset: match key.unset {
            Unset::Words(words) => Some(words),
            Unset::Nothing | Unset::Value(_) => None,
        },
        recipes: recipes.collect(),
        excludes: excluded_by(key.name),
        sets: Vec::new(),
        effect: key.effect.words().to_owned(),
    }
}

fn compound_row(compound: &Compound) -> Row {
    Row {
        key: compound.name,
        aliases: Vec::new(),
        doc: compound.doc,
        takes: (compound.allowed)(),
        with: None,
        required: false,
        default: None,
        unset: None,
        recipes: Vec::new(),
        excludes: None,
        sets: compound.sets.to_vec(),
        effect: "as of the keys it sets".to_owned(),
    }
}

impl Row {
    /// The key, and its short names in brackets.
    pub fn names(&self) -> String {
        let key = format!("`{}`", self.key);
        match self.aliases.as_slice() {
            [] => key,
            aliases => format!("{key} ({})", quoted(aliases.iter().copied())),
        }
    }

    /// The default and what recipes set.
    pub fn defaults(&self) -> String {
        let recipes = self.recipes.iter();
        let recipes: Vec<_> =
            recipes.map(|Given { recipe, value }| format!("{recipe}: `{value}`")).collect();
        match (&self.default, self.unset) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(words)) => words.to_owned(),
            (None, None) if !recipes.is_empty() => recipes.join(", "),
            (None, None) if self.required => "must be given".to_owned(),
            (None, None) => "-".to_owned(),
        }
    }

    /// The description: what it is, when it means something, and its effect on ids.
    pub fn meaning(&self) -> String {
        let mut sentences = vec![self.doc.to_owned()];
        if !self.sets.is_empty() {
            sentences.push(format!("Sets {}.", quoted(self.sets.iter().copied())));
        }
        sentences.extend(self.with.as_ref().map(|with| format!("Only where {with}.")));
        sentences.extend(self.excludes.map(|other| format!("Excludes `{other}`.")));
        sentences.push(format!("Ids: {}.", self.effect));
        sentences.join(" ")
    }
}

/// `` `a` or `b` ``
pub(in crate::experiment) fn one_of(kinds: &[&str]) -> String {
    let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
    kinds.join(" or ")
}

/// The value as an experiment file has it.
pub(super) fn toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}
