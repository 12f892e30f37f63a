//! The type of an entry, which describes one key; the entries are in the files of the groups.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::choices;
use super::value::{Accepted, Refusal, Type};
use crate::experiment::RunSpec;
use crate::experiment::text::table;
use crate::experiment::text::tree::{self, Node, Origin};
use crate::train::Recipe;

/// A key of an experiment file, and everything that is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The dotted name, as in `"train.lr" = 1e-3`; its first part is the name of its group.
    pub name: &'static str,
    pub doc: &'static str,
    pub ty: Type,
    /// Short names.
    pub aliases: &'static [&'static str],
    /// The `kind` that this key depends on; `None` where it always means something.
    pub of: Option<&'static Kinds>,
    /// Whether it must be given where it means something.
    pub required: bool,
    pub unset: Unset,
    /// The value that each recipe sets; a recipe that is not listed leaves the key alone.
    pub recipes: &'static [(Recipe, &'static str)],
    /// The key that this one excludes, and that excludes this one.
    pub excludes: Option<&'static str>,
    pub effect: Effect,
    pub examples: Examples,
    /// Dotted name of the field that holds the value, where that is not the key's.
    field: Option<&'static str>,
}

/// A `kind` key, and the fields that the config has under each of its values: a key means something
/// under the values that have its field.
#[derive(Debug)]
pub struct Kinds {
    /// Dotted name of the `kind` key.
    pub key: &'static str,
    /// Each value with its fields.
    fields: LazyLock<Vec<(&'static str, Vec<&'static str>)>>,
}

/// The default: what holds where neither the user nor a recipe sets a key.
#[derive(Debug, Clone, Copy)]
pub enum Unset {
    /// There is no default.
    Nothing,
    /// This value, written as after `--set key=`.
    Value(&'static str),
    /// A default that depends on something else, in words.
    Words(&'static str),
}

/// The effect of a key on the ids of runs and scores.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// Affects no result.
    None,
    /// Is part of ids, as it is or resolved.
    Ids { run: Option<Part>, score: Option<Part> },
    /// Names something whose content is part of an id, as the words describe.
    Content(&'static str),
    /// Chooses which scores are made, and changes none.
    Asks,
}

/// The place and value of a key in an id's JSON.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Dotted name of its field there; `None` where it is the key's.
    at: Option<&'static str>,
    /// The function that gives the value; `None` for the value in the spec.
    value: Option<Resolver>,
    /// The value from before the key existed; a key that has it is left out.
    before: Option<&'static str>,
}

/// The value that goes into an id; `None` where the key has no effect.
type Resolver = fn(&Resolved<'_>) -> Option<Value>;

/// A run with its resolved values.
#[derive(Debug)]
pub(in crate::experiment) struct Resolved<'a> {
    pub(super) spec: &'a RunSpec,
    /// Network input, height and width.
    pub(super) input_px: [u32; 2],
    json: Value,
}

/// Two values with different effects, for the tests that try every key.
#[derive(Debug, Clone, Copy)]
pub struct Examples {
    /// The values, written as after `--set key=`; those of a `kind` may be whole tables.
    pub values: [&'static str; 2],
    /// Lines of an experiment file that give the key a meaning; one that sets it, or what it
    /// excludes, is left out.
    pub with: &'static str,
}

/// A short name that sets several keys at once.
#[derive(Debug, Clone, Copy)]
pub struct Compound {
    pub name: &'static str,
    pub doc: &'static str,
    /// The table that its keys are in.
    pub group: &'static str,
    pub sets: &'static [&'static str],
    pub allowed: fn() -> String,
    /// The keys that a value stands for, with theirs.
    pub expand: fn(&Value) -> Result<Values, Vec<Refusal>>,
    /// The value that stands for a cell's keys, given the value of each key that has one.
    pub shown: fn(&ValueOf<'_>) -> Option<String>,
    pub examples: [&'static str; 2],
}

/// Keys and their values.
pub type Values = Vec<(&'static str, Value)>;

/// A function that gives the value of a key, where it has one.
pub type ValueOf<'a> = dyn Fn(&str) -> Option<Value> + 'a;

/// A group: the keys that share the first part of their names.
#[derive(Debug)]
pub struct Group {
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// Short names of tables: (short name, table).
    pub tables: &'static [(&'static str, &'static str)],
    pub compounds: &'static [Compound],
}

/// The owner of a key: a run, the schedule, or the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Part of every cell; may affect results.
    Run,
    /// How an experiment is carried out; does not affect results.
    Schedule,
    /// Folders of this machine; does not affect results.
    Machine,
}

/// The value as written, at the key's own name.
pub(super) const PLAIN: Part = Part { at: None, value: None, before: None };

/// The value that the function `value` makes of it, at the key's own name.
pub(super) const fn resolved(value: Resolver) -> Part {
    Part { value: Some(value), ..PLAIN }
}

impl Part {
    pub(super) const fn at(mut self, name: &'static str) -> Self {
        self.at = Some(name);
        self
    }

    /// For a key that came after the first ids: runs of before keep theirs.
    pub(super) const fn since(mut self, before: &'static str) -> Self {
        self.before = Some(before);
        self
    }

    /// The value that the key had before it existed.
    pub(super) fn before(&self, key: &Key) -> Option<Value> {
        self.before.map(|text| key.written(text))
    }

    fn put(&self, key: &Key, resolved: &Resolved<'_>, id: &mut Map<String, Value>) {
        let value = match self.value {
            None => table::field(&resolved.json, key.name).cloned(),
            Some(value) => value(resolved),
        };
        if let Some(value) = value.filter(|value| self.before(key).as_ref() != Some(value)) {
            table::insert(id, self.at.unwrap_or(key.name), value);
        }
    }
}

impl Kinds {
    /// The kinds of the tagged enum that holds the keys.
    pub(super) const fn of<T: for<'de> Deserialize<'de>>(key: &'static str) -> Self {
        Self { key, fields: LazyLock::new(fields_by_kind::<T>) }
    }

    /// Each value of the `kind` key, and the fields that the config has under it.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        self.fields.iter().map(|(kind, fields)| (*kind, fields.as_slice()))
    }

    fn has(&self, kind: &str, field: &str) -> bool {
        self.fields().any(|(name, fields)| name == kind && fields.contains(&field))
    }
}

fn fields_by_kind<T: for<'de> Deserialize<'de>>() -> Vec<(&'static str, Vec<&'static str>)> {
    choices::kinds::<T>().into_iter().map(|kind| (kind, choices::fields::<T>(kind))).collect()
}

impl<'a> Resolved<'a> {
    pub(in crate::experiment) fn of(spec: &'a RunSpec, input_px: [u32; 2]) -> Self {
        let json = serde_json::to_value(spec).expect("a spec is plain data");
        Self { spec, input_px, json }
    }
}

impl Key {
    pub(super) const fn new(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            ty,
            aliases: &[],
            of: None,
            required: false,
            unset: Unset::Nothing,
            recipes: &[],
            excludes: None,
            effect: Effect::None,
            examples: Examples { values: ["", ""], with: "" },
            field: None,
        }
    }

    pub(super) const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Limits the key to those kinds that have a field for it.
    pub(super) const fn of(mut self, kinds: &'static Kinds) -> Self {
        self.of = Some(kinds);
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn default(mut self, value: &'static str) -> Self {
        self.unset = Unset::Value(value);
        self
    }

    pub(super) const fn unset(mut self, words: &'static str) -> Self {
        self.unset = Unset::Words(words);
        self
    }

    pub(super) const fn recipes(mut self, values: &'static [(Recipe, &'static str)]) -> Self {
        self.recipes = values;
        self
    }

    pub(super) const fn excludes(mut self, other: &'static str) -> Self {
        self.excludes = Some(other);
        self
    }

    /// Makes it a part of the run's id, and so of the id of every score.
    pub(super) const fn run(mut self, part: Part) -> Self {
        let score = match self.effect {
            Effect::Ids { score, .. } => score,
            Effect::None | Effect::Content(_) | Effect::Asks => None,
        };
        self.effect = Effect::Ids { run: Some(part), score };
        self
    }

    /// Makes it a part of the ids of a run's scores.
    pub(super) const fn score(mut self, part: Part) -> Self {
        let run = match self.effect {
            Effect::Ids { run, .. } => run,
            Effect::None | Effect::Content(_) | Effect::Asks => None,
        };
        self.effect = Effect::Ids { run, score: Some(part) };
        self
    }

    pub(super) const fn content(mut self, words: &'static str) -> Self {
        self.effect = Effect::Content(words);
        self
    }

    pub(super) const fn asks(mut self) -> Self {
        self.effect = Effect::Asks;
        self
    }

    pub(super) const fn examples(mut self, values: [&'static str; 2]) -> Self {
        self.examples.values = values;
        self
    }

    pub(super) const fn with(mut self, lines: &'static str) -> Self {
        self.examples.with = lines;
        self
    }

    pub(super) const fn field_at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    pub fn owner(&self) -> Owner {
        match self.name.split_once('.') {
            Some(("schedule", _)) => Owner::Schedule,
            Some(("machine", _)) => Owner::Machine,
            _ => Owner::Run,
        }
    }

    /// Dotted name of the field that holds the value.
    pub fn field(&self) -> &'static str {
        self.field.unwrap_or(self.name)
    }

    /// Whether other keys depend on this one's value.
    pub(in crate::experiment) fn is_kind(&self) -> bool {
        self.name.rsplit('.').next() == Some("kind")
    }

    /// Whether the key means something where its `kind` key has this value.
    pub(in crate::experiment) fn applies(&self, kind: Option<&str>) -> bool {
        self.of.is_none_or(|of| kind.is_some_and(|kind| of.has(kind, self.field_name())))
    }

    /// The values of its `kind` key under which the key means something; none where it always does.
    pub fn kinds(&self) -> Vec<&'static str> {
        let Some(of) = self.of else { return Vec::new() };
        let names = of.fields().map(|(kind, _)| kind);
        names.filter(|kind| of.has(kind, self.field_name())).collect()
    }

    fn field_name(&self) -> &'static str {
        let field = self.field();
        field.rsplit_once('.').map_or(field, |(_, last)| last)
    }

    /// A value given as text, as after `--set key=`: where the key takes text it need not be
    /// quoted.
    pub(in crate::experiment) fn parse(&self, text: &str, at: &Origin) -> Node {
        let is_plain = !text.starts_with(['"', '\'', '[', '{']);
        if self.ty.takes_text() && is_plain {
            tree::text_node(text, at)
        } else {
            tree::parse_value(text, at)
        }
    }

    /// A value that an entry contains as text.
    pub(in crate::experiment) fn literal(&self, text: &str) -> Accepted {
        let node = self.parse(text, &Origin::default_value());
        let json = node.to_json().map_err(|why| vec![Refusal { message: why, nearest: None }]);
        self.ty.accept(&json?)
    }

    /// The default value: what holds where neither the user nor a recipe sets the key.
    pub fn default_value(&self) -> Option<Value> {
        match self.unset {
            Unset::Value(text) => Some(self.written(text)),
            Unset::Nothing | Unset::Words(_) => None,
        }
    }

    /// The value that a recipe sets.
    pub fn recipe_value(&self, recipe: Recipe) -> Option<Value> {
        let given = self.recipes.iter().find(|(of, _)| *of == recipe);
        given.map(|(_, text)| self.written(text))
    }

    fn written(&self, text: &str) -> Value {
        self.literal(text).expect("entries write down values that they allow")
    }

    /// Adds the key's part to the JSON of a run's id.
    pub(in crate::experiment) fn put_into_run(
        &self,
        resolved: &Resolved<'_>,
        id: &mut Map<String, Value>,
    ) {
        if let Effect::Ids { run: Some(part), .. } = self.effect {
            part.put(self, resolved, id);
        }
    }

    /// Adds the key's part to the JSON of a score's id.
    pub(in crate::experiment) fn put_into_score(
        &self,
        resolved: &Resolved<'_>,
        id: &mut Map<String, Value>,
    ) {
        if let Effect::Ids { score: Some(part), .. } = self.effect {
            part.put(self, resolved, id);
        }
    }
}

impl Effect {
    pub fn words(&self) -> &'static str {
        match self {
            Self::None | Self::Ids { run: None, score: None } => "no effect on results",
            Self::Ids { run: Some(_), score: None } => "part of the run's id",
            Self::Ids { run: None, score: Some(_) } => "part of the score's id",
            Self::Ids { run: Some(_), score: Some(_) } => "part of the run's id and of the score's",
            Self::Content(words) => words,
            Self::Asks => "says which scores are made; not part of ids",
        }
    }
}
