//! A TOML value with the place where it was written; tables keep the order of the file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Number of characters of a value that a message repeats.
const SHOWN_MAX: usize = 60;

/// The source that set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::experiment) enum Source {
    /// This program: a default or a recipe.
    Default,
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// `--set key=value`, as given.
    Set(String),
}

#[derive(Debug, Clone)]
pub(in crate::experiment) struct Origin {
    pub(in crate::experiment) source: Arc<Source>,
    pub(in crate::experiment) line: Option<u32>,
}

#[derive(Debug, Clone)]
pub(in crate::experiment) struct Node {
    pub(in crate::experiment) tree: Tree,
    pub(in crate::experiment) at: Origin,
}

#[derive(Debug, Clone)]
pub(in crate::experiment) enum Tree {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    /// TOML's dates and times: no key takes one.
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(in crate::experiment) struct Entry {
    pub(in crate::experiment) name: String,
    /// The place where the key is written.
    pub(in crate::experiment) at: Origin,
    pub(in crate::experiment) node: Node,
}

impl Origin {
    pub(in crate::experiment) fn default_value() -> Self {
        Self { source: Arc::new(Source::Default), line: None }
    }

    pub(in crate::experiment) fn env(name: &str) -> Self {
        Self { source: Arc::new(Source::Env(name.to_owned())), line: None }
    }

    pub(in crate::experiment) fn set(text: &str) -> Self {
        Self { source: Arc::new(Source::Set(text.to_owned())), line: None }
    }

    pub(in crate::experiment) fn is_default(&self) -> bool {
        *self.source == Source::Default
    }

    /// A problem with `key` at this place.
    pub(in crate::experiment) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let message = message.into();
        let (file, message) = match &*self.source {
            Source::Default => (None, message),
            Source::File(path) => (Some(path.clone()), message),
            Source::Env(name) => (None, format!("{message} (from the variable `{name}`)")),
            Source::Set(text) => (None, format!("{message} (from `--set {text}`)")),
        };
        Problem { key: Some(key.to_owned()), file, line: self.line, message, ..Problem::default() }
    }
}

impl Node {
    /// The value as JSON; the error names a value that no key can hold.
    pub(in crate::experiment) fn to_json(&self) -> Result<Value, String> {
        match &self.tree {
            Tree::Bool(b) => Ok(Value::from(*b)),
            Tree::Int(n) => Ok(int_to_json(*n)),
            Tree::Float(x) => Number::from_f64(*x)
                .map(Value::from)
                .ok_or_else(|| format!("`{x}` is not a finite number")),
            Tree::Text(text) => Ok(Value::from(text.as_str())),
            Tree::Date(text) => Err(format!("`{text}` is a date, which no key takes")),
            Tree::List(items) => items.iter().map(Self::to_json).collect(),
            Tree::Table(entries) => entries
                .iter()
                .map(|entry| Ok((entry.name.clone(), entry.node.to_json()?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()
                .map(Value::from),
        }
    }

    /// The value as a table cell shows it: text bare, lists joined by commas.
    pub(in crate::experiment) fn label(&self) -> String {
        match &self.tree {
            Tree::List(items) => items.iter().map(Self::label).collect::<Vec<_>>().join(","),
            Tree::Table(entries) => entries
                .iter()
                .map(|entry| match entry.name.as_str() {
                    "kind" => entry.node.label(),
                    name => format!("{name}={}", entry.node.label()),
                })
                .collect::<Vec<_>>()
                .join(" "),
            _ => self.to_json().map_or_else(|_| self.tree.to_string(), |value| label_of(&value)),
        }
    }
}

/// A JSON value as a table cell shows it.
pub(in crate::experiment) fn label_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(label_of).collect::<Vec<_>>().join(","),
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() && x != 0.0 && x.abs() < 1e-4 => format!("{x:e}"),
            Some(x) if number.is_f64() => x.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Parses `text` as the entries of a TOML document.
pub(in crate::experiment) fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, Box<Problem>> {
    let places = Places::new(text, Arc::new(Source::File(path.to_path_buf())));
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.get_ref(), &places)),
        Err(error) => Err(Box::new(Problem {
            file: Some(path.to_path_buf()),
            line: error.span().and_then(|span| places.at(span.start).line),
            message: format!("not valid TOML: {}", error.message().replace('\n', ", ")),
            ..Problem::default()
        })),
    }
}

/// Parses `text` as one TOML value, or as plain text where it is not one (`--set size=small`).
pub(in crate::experiment) fn parse_value(text: &str, at: &Origin) -> Node {
    let document = format!("v = {text}");
    let value = DeTable::parse(&document).ok().and_then(|table| {
        let places = Places { starts: Vec::new(), source: at.source.clone() };
        let mut found = entries(table.get_ref(), &places);
        if found.len() == 1 { found.pop() } else { None }
    });
    // Text that is no TOML value is meant as a string: quotes inside a shell's quotes are a
    // nuisance.
    value.map_or_else(|| text_node(text, at), |entry| entry.node)
}

pub(in crate::experiment) fn text_node(text: &str, at: &Origin) -> Node {
    Node { tree: Tree::Text(text.to_owned()), at: at.clone() }
}

fn entries(table: &DeTable<'_>, places: &Places) -> Vec<Entry> {
    table
        .iter()
        .map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            at: places.at(key.span().start),
            node: node(value, places),
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>, places: &Places) -> Node {
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix())
            .map_or(Tree::Float(f64::INFINITY), Tree::Int),
        DeValue::Float(x) => x.as_str().parse().map_or(Tree::Float(f64::NAN), Tree::Float),
        DeValue::Boolean(b) => Tree::Bool(*b),
        DeValue::Datetime(date) => Tree::Date(date.to_string()),
        DeValue::Array(items) => Tree::List(items.iter().map(|item| node(item, places)).collect()),
        DeValue::Table(table) => Tree::Table(entries(table, places)),
    };
    Node { tree, at: places.at(value.span().start) }
}

fn int_to_json(n: i128) -> Value {
    match (i64::try_from(n), u64::try_from(n)) {
        (Ok(n), _) => Value::from(n),
        (_, Ok(n)) => Value::from(n),
        _ => Value::from(n as f64),
    }
}

/// The conversion of byte offsets to line numbers.
struct Places {
    /// Offset of the first byte of each line; empty where lines mean nothing.
    starts: Vec<usize>,
    source: Arc<Source>,
}

impl Places {
    fn new(text: &str, source: Arc<Source>) -> Self {
        let after_breaks = text.match_indices('\n').map(|(i, _)| i + 1);
        Self { starts: std::iter::once(0).chain(after_breaks).collect(), source }
    }

    fn at(&self, offset: usize) -> Origin {
        let line = self.starts.partition_point(|start| *start <= offset) as u32;
        Origin { source: self.source.clone(), line: (line > 0).then_some(line) }
    }
}

impl Tree {
    /// The kind of value in words, for "found …".
    pub(in crate::experiment) fn noun(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Bool(b) => b.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Float(x) => x.to_string(),
            Self::Text(text) | Self::Date(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.tree.to_string()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| format!("{} = {}", entry.name, entry.node.tree))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        };
        f.write_str(&shortened(&text))
    }
}

/// `text` on one line and not too long for a message.
pub(in crate::experiment) fn shortened(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    if line.chars().count() <= SHOWN_MAX {
        return line;
    }
    let head: String = line.chars().take(SHOWN_MAX - 1).collect();
    format!("{head}…")
}
