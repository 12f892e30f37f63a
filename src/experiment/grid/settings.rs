//! Lays layers of assignments over each other, for [`super::expand`]: out come one cell's values
//! and the [`RunSpec`] that they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::assign::Assign;
use crate::experiment::RunSpec;
use crate::experiment::keys::{self, Key, Owner};
use crate::experiment::text::problem::Problem;
use crate::experiment::text::table;
use crate::experiment::text::tree::Origin;
use crate::train::Recipe;

/// The default values of keys that always mean something.
static DEFAULTS: LazyLock<Vec<Assign>> =
    LazyLock::new(|| run_assigns(|key| key.default_value().filter(|_| key.of.is_none())));

/// The default values of keys that mean something under some `kind` only. They are in no layer: a
/// `kind` brings its own when it is chosen.
static DEFAULTS_OF_KINDS: LazyLock<BTreeMap<&str, Value>> = LazyLock::new(|| {
    let assigns = run_assigns(|key| key.default_value().filter(|_| key.of.is_some()));
    assigns.into_iter().map(|assign| (assign.key.name, assign.value)).collect()
});

static MODERN: LazyLock<Vec<Assign>> =
    LazyLock::new(|| run_assigns(|key| key.recipe_value(Recipe::Modern)));
static REFERENCE: LazyLock<Vec<Assign>> =
    LazyLock::new(|| run_assigns(|key| key.recipe_value(Recipe::Reference)));

fn recipe_layer(recipe: Recipe) -> &'static [Assign] {
    match recipe {
        Recipe::Modern => &MODERN,
        Recipe::Reference => &REFERENCE,
    }
}

/// The keys of a run for which `value` gives a value.
fn run_assigns(value: impl Fn(&Key) -> Option<Value>) -> Vec<Assign> {
    let keys = keys::all().filter(|key| key.owner() == Owner::Run);
    let at = Origin::default_value();
    keys.filter_map(|key| Some(Assign { key, value: value(key)?, at: at.clone() })).collect()
}

/// The key that chooses the recipe.
const RECIPE: &str = "train.recipe";

/// The values of one cell, by key.
#[derive(Debug, Clone)]
pub(in crate::experiment) struct Settings<'a> {
    values: BTreeMap<&'static str, &'a Assign>,
}

/// The fate of assignments that only mean something under some `kind`, over all cells.
#[derive(Debug, Default)]
pub(in crate::experiment) struct Ledger {
    /// Had an effect in some cell, or gave way to another value of the same key.
    used: BTreeSet<usize>,
    /// Left out because the `kind` became another one.
    dropped: BTreeSet<usize>,
    /// Stood in some cell under a `kind` without this key.
    without_effect: BTreeSet<usize>,
}

/// The reason why an assignment never had an effect.
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
    /// Applies the defaults, the recipe that the layers choose, then each layer; a layer is made of
    /// parts that are applied together.
    pub(in crate::experiment) fn of(layers: &[Vec<&'a [Assign]>], ledger: &mut Ledger) -> Self {
        let chosen = layers.iter().rev().flat_map(|parts| parts.iter().copied().flatten());
        let chosen = chosen.filter(|assign| assign.key.name == RECIPE).map(|a| &a.value);
        let default = || DEFAULTS.iter().find(|assign| assign.key.name == RECIPE).map(|a| &a.value);
        let recipe = chosen.clone().next().or_else(default).and_then(|recipe| {
            // A name that is no recipe's is refused before it is laid down.
            Recipe::deserialize(recipe).ok()
        });
        let mut settings = Self { values: BTreeMap::new() };
        settings.lay(&[&DEFAULTS], ledger);
        settings.lay(&[recipe.map_or(&[], recipe_layer)], ledger);
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

    /// Lays one layer over the values: a new `kind` removes the keys of the old one, one of two
    /// exclusive keys removes the other.
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
            let goes = assign.key.of.is_some_and(|of| of.key == old_kind.key.name)
                && assign.key.applies(kind);
            if goes {
                ledger.dropped.insert(identity_of(assign));
            }
            !goes
        });
    }

    /// The value that some layer sets, unless it means nothing under the current `kind`.
    pub(in crate::experiment) fn set(&self, name: &str) -> Option<&'a Value> {
        let assign = self.values.get(name)?;
        self.is_effective(assign.key).then_some(&assign.value)
    }

    /// The value, be it set or a default, unless it means nothing under the current `kind`.
    pub(in crate::experiment) fn effective(&self, name: &str) -> Option<&'a Value> {
        let key = keys::find(name).filter(|key| self.is_effective(key))?;
        let set = self.values.get(key.name).map(|assign| &assign.value);
        set.or_else(|| DEFAULTS_OF_KINDS.get(key.name))
    }

    pub(in crate::experiment) fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).and_then(|assign| assign.value.as_str())
    }

    fn is_effective(&self, key: &Key) -> bool {
        key.applies(key.of.and_then(|of| self.text(of.key)))
    }

    /// The place where the value of the first of `names` that the user set was written.
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
        for key in keys::all().filter(|key| key.owner() == Owner::Run) {
            if let Some(value) = self.effective(key.name) {
                table::insert(&mut root, key.field(), value.clone());
            }
        }
        // DINOv3 always has registers; one spelling of it, so that equal cells are equal.
        if self.text("model.dino_type") == Some("dinov3") {
            table::insert(&mut root, "model.registers", Value::from(true));
        }
        let json = Value::from(root);
        serde_json::from_value(json).map_err(|error| {
            vec![Problem { message: format!("not a valid run: {error}"), ..Problem::default() }]
        })
    }

    fn missing(&self) -> Vec<Problem> {
        let needed = keys::all().filter(|key| key.required && self.is_effective(key));
        let absent = needed.filter(|key| !self.values.contains_key(key.name));
        absent
            .map(|key| {
                let kind_key = key.of.expect("only keys of a kind are required").key;
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
