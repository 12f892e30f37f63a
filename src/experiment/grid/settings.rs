//! One cell's values: layers of assignments, laid over each other, and the [`RunSpec`] they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::assign::Assign;
use super::draft::value_label;
use crate::experiment::RunSpec;
use crate::experiment::keys::{self, KEYS, Key};
use crate::experiment::text::problem::Problem;
use crate::experiment::text::tree::Origin;
use crate::train::{Recipe, recipe};

/// What a run is when nothing is said.
static DEFAULTS: LazyLock<Vec<Assign>> = LazyLock::new(|| {
    let defaults = [
        ("seed", json!(0)),
        ("model.dino_type", json!("dinov2")),
        ("model.size", json!("small")),
        ("model.registers", json!(true)),
        ("model.pretraining", json!("lvd1689m")),
        ("weights.kind", json!("pretrained")),
        ("tune.kind", json!("frozen")),
        ("decoder.kind", json!("linear")),
        ("data.kind", json!("voc")),
        ("train.recipe", json!("modern")),
        ("eval.mode.kind", json!("whole")),
    ];
    defaults.into_iter().map(|(name, value)| default_assign(name, &value)).collect()
});

static MODERN: LazyLock<Vec<Assign>> = LazyLock::new(|| recipe_layer(Recipe::Modern));
static REFERENCE: LazyLock<Vec<Assign>> = LazyLock::new(|| recipe_layer(Recipe::Reference));

fn recipe_layer(recipe: Recipe) -> Vec<Assign> {
    let rows = recipe::rows();
    let given = rows.iter().filter_map(|row| Some((row.key, row.value(recipe)?)));
    given.map(|(key, value)| default_assign(&format!("train.{key}"), value)).collect()
}

fn default_assign(name: &str, value: &Value) -> Assign {
    let key = keys::find(name).expect("defaults and recipes name keys of the table");
    let value = key.ty.accept(value).expect("defaults and recipes are allowed values");
    Assign { key, value, at: Origin::default_value() }
}

/// The recipes key by key: (key, value in `modern`, value in `reference`), `-` where a recipe does
/// not set the key.
pub fn recipe_rows() -> Vec<(String, String, String)> {
    let rows = recipe::rows().into_iter();
    rows.map(|row| {
        let key = keys::find(&format!("train.{}", row.key)).expect("recipes name known keys");
        let shown = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "-".to_owned(), |value| value_label(key, value))
        };
        (key.name.to_owned(), shown(&row.modern), shown(&row.reference))
    })
    .collect()
}

/// The values of one cell, by key.
#[derive(Debug, Clone)]
pub(in crate::experiment) struct Settings<'a> {
    values: BTreeMap<&'static str, &'a Assign>,
}

/// What became of the assignments that only mean something under some `kind`, over all cells.
#[derive(Debug, Default)]
pub(in crate::experiment) struct Ledger {
    /// Had an effect in some cell, or gave way to another value of the same key.
    used: BTreeSet<usize>,
    /// Left out because the `kind` became another one.
    dropped: BTreeSet<usize>,
    /// Stood in some cell under a `kind` that does not know it.
    without_effect: BTreeSet<usize>,
}

/// How an assignment that never had an effect was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::experiment) enum Unused {
    /// Another `kind` took its place.
    Replaced,
    /// Its `kind` was never chosen.
    NeverApplied,
}

fn identity_of(assign: &Assign) -> usize {
    std::ptr::from_ref(assign).addr()
}

impl Ledger {
    pub(in crate::experiment) fn unused(&self, assign: &Assign) -> Option<Unused> {
        let id = identity_of(assign);
        match (self.used.contains(&id), self.without_effect.contains(&id)) {
            (true, _) => None,
            (false, true) => Some(Unused::NeverApplied),
            (false, false) => self.dropped.contains(&id).then_some(Unused::Replaced),
        }
    }
}

impl<'a> Settings<'a> {
    /// Defaults, the recipe that the layers choose, then each layer; a layer is made of parts
    /// that are laid down together.
    pub(in crate::experiment) fn of(layers: &[Vec<&'a [Assign]>], ledger: &mut Ledger) -> Self {
        let chosen = layers.iter().rev().flat_map(|parts| parts.iter().copied().flatten());
        let chosen = chosen.filter(|assign| assign.key.name == "train.recipe").map(|a| &a.value);
        let recipe = match chosen.clone().next().and_then(Value::as_str) {
            Some("reference") => &*REFERENCE,
            _ => &*MODERN,
        };
        let mut settings = Self { values: BTreeMap::new() };
        settings.lay(&[&DEFAULTS], ledger);
        settings.lay(&[recipe], ledger);
        for parts in layers {
            settings.lay(parts, ledger);
        }
        for assign in settings.values.values().copied().filter(|assign| assign.key.of.is_some()) {
            let is_effective = settings.is_effective(assign.key);
            let side = if is_effective { &mut ledger.used } else { &mut ledger.without_effect };
            side.insert(identity_of(assign));
        }
        settings
    }

    /// Lays one layer over the values: a new `kind` takes the keys of the old one away, one of two
    /// exclusive keys takes the other away.
    fn lay(&mut self, parts: &[&'a [Assign]], ledger: &mut Ledger) {
        let all = || parts.iter().copied().flatten();
        for assign in all().filter(|assign| assign.key.is_kind()) {
            if let Some(old) = self.values.insert(assign.key.name, assign)
                && old.value != assign.value
            {
                self.drop_keys_of(old, ledger);
            }
        }
        for assign in all().filter(|assign| !assign.key.is_kind()) {
            if let Some(other) = keys::excluded_by(assign.key.name) {
                self.values.remove(other);
            }
            if let Some(old) = self.values.insert(assign.key.name, assign) {
                ledger.used.insert(identity_of(old));
            }
        }
    }

    fn drop_keys_of(&mut self, old_kind: &Assign, ledger: &mut Ledger) {
        let kind = old_kind.value.as_str();
        self.values.retain(|_, assign| {
            let goes = assign.key.of.is_some_and(|(kind_key, _)| kind_key == old_kind.key.name)
                && assign.key.applies(kind);
            if goes {
                ledger.dropped.insert(identity_of(assign));
            }
            !goes
        });
    }

    pub(in crate::experiment) fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).map(|assign| &assign.value)
    }

    /// The value, unless it means nothing under the current `kind`.
    pub(in crate::experiment) fn effective(&self, name: &str) -> Option<&'a Value> {
        let assign = self.values.get(name)?;
        self.is_effective(assign.key).then_some(&assign.value)
    }

    pub(in crate::experiment) fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(Value::as_str)
    }

    fn is_effective(&self, key: &Key) -> bool {
        key.applies(key.of.and_then(|(kind_key, _)| self.text(kind_key)))
    }

    /// Where the value of the first of `names` that the user set was written.
    pub(in crate::experiment) fn origin(&self, names: &[&str]) -> Option<&'a Origin> {
        let set = names.iter().filter_map(|name| self.values.get(name)).map(|assign| &assign.at);
        set.filter(|at| !at.is_default()).max_by_key(|at| at.line)
    }

    /// The run these values describe.
    pub(in crate::experiment) fn spec(&self) -> Result<RunSpec, Vec<Problem>> {
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut root = Map::new();
        for (name, assign) in &self.values {
            if self.is_effective(assign.key) {
                insert(&mut root, name, assign.value.clone());
            }
        }
        // DINOv3 always has registers; one spelling of it, so that equal cells are equal.
        if self.text("model.dino_type") == Some("dinov3") {
            insert(&mut root, "model.registers", Value::from(true));
        }
        root.entry("eval").or_insert_with(|| json!({}));
        let json = Value::from(root);
        serde_json::from_value(json).map_err(|error| {
            vec![Problem { message: format!("not a run: {error}"), ..Problem::default() }]
        })
    }

    fn missing(&self) -> Vec<Problem> {
        let needed = KEYS.iter().filter(|key| key.required && self.is_effective(key));
        let absent = needed.filter(|key| !self.values.contains_key(key.name));
        absent
            .map(|key| {
                let (kind_key, _) = key.of.expect("only keys of a kind are required");
                let message = format!(
                    "missing: `{kind_key} = \"{}\"` needs it; allowed: {}",
                    self.text(kind_key).unwrap_or_default(),
                    key.ty.allowed()
                );
                let at = self.origin(&[kind_key]).cloned().unwrap_or_else(Origin::default_value);
                at.problem(key.name, message)
            })
            .collect()
    }
}

fn insert(root: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            root.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let table = root.entry(first).or_insert_with(|| Value::from(Map::new()));
            if let Value::Object(table) = table {
                insert(table, rest, value);
            }
        }
    }
}
