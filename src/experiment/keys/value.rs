//! The types of values that keys take: they check and normalise a value, or say why it is refused.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::experiment::text::problem::{nearest, quoted};
use crate::experiment::text::tree::{label_of, shortened};

/// The type of the values that a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    Bool,
    Int {
        min: u64,
        max: u64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// A number above 0 and up to `max`.
    Positive {
        max: f64,
    },
    /// One of the names that the function lists.
    Choice(Choice),
    /// The name of a file without its ending: no folder, no white space.
    Name,
    Path,
    /// A list: not empty, nothing twice.
    List(&'static Type),
    /// A range: first and last.
    Range {
        max: u64,
    },
    /// Two numbers, the lower first.
    Interval {
        min: f64,
        max: f64,
    },
    /// One side, or height and width.
    Px {
        min: u64,
        max: u64,
    },
    /// A form of value that few keys have.
    Form(&'static Form),
}

/// The names of a choice, and other spellings of them.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    pub names: fn() -> Vec<&'static str>,
    /// Pairs of (spelling, name).
    pub spellings: fn() -> Vec<(&'static str, &'static str)>,
}

/// A form of value that only one key, or few, have.
#[derive(Debug)]
pub struct Form {
    /// The allowed values, for messages.
    pub allowed: fn() -> String,
    /// Checks a value and returns it in its canonical form.
    pub accept: fn(&Value) -> Accepted,
    /// Shows a kept value as in a table.
    pub label: fn(&Value) -> String,
    /// Calls a function with each path in a kept value.
    pub paths: fn(&mut Value, &mut EachPath<'_>),
    /// Whether text need not be quoted after `--set key=`.
    pub is_text: bool,
}

/// A function that is called with a path in a value.
pub type EachPath<'a> = dyn FnMut(&mut String) + 'a;

/// A value in the canonical form of its type, or all that is wrong with it.
pub type Accepted = Result<Value, Vec<Refusal>>;

/// The reason why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The message: what is wrong and what is allowed.
    pub message: String,
    pub nearest: Option<String>,
}

/// [`Form::paths`] of a form without paths.
pub(super) fn no_paths(_: &mut Value, _: &mut EachPath<'_>) {}

/// [`Form::paths`] of a form whose texts are all paths.
pub(super) fn all_texts(value: &mut Value, each: &mut EachPath<'_>) {
    match value {
        Value::String(path) => each(path),
        Value::Object(table) => table.values_mut().for_each(|value| all_texts(value, each)),
        _ => {}
    }
}

/// The names that a function lists.
pub(super) const fn choice(names: fn() -> Vec<&'static str>) -> Type {
    Type::Choice(Choice { names, spellings: Vec::new })
}

impl Refusal {
    pub(in crate::experiment) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), nearest: None }
    }
}

impl Type {
    /// The allowed values, for messages.
    pub fn allowed(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } if *max == i64::MAX as u64 => {
                format!("a whole number, {min} or more")
            }
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Positive { max } => format!("a number above 0, up to {max}"),
            Self::Choice(choice) => quoted((choice.names)()),
            Self::Name => "a file name without folder, ending or white space".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::List(item) => format!("a list, each item: {}", item.allowed()),
            Self::Range { max } => {
                format!("[first, last], whole numbers from 0 to {max}, first not above last")
            }
            Self::Interval { min, max } => {
                format!("[low, high], numbers from {min} to {max}, low not above high")
            }
            Self::Px { min, max } => {
                format!("a side, or [height, width], in pixels from {min} to {max}")
            }
            Self::Form(form) => (form.allowed)(),
        }
    }

    /// Checks `value`: returns its canonical form, or all that is wrong with it.
    pub(in crate::experiment) fn accept(&self, value: &Value) -> Accepted {
        match self {
            Self::Bool if value.is_boolean() => Ok(value.clone()),
            Self::Bool => Err(vec![self.wrong_type(value)]),
            Self::Int { min, max } => self.accept_int(value, *min..=*max),
            Self::Float { min, max } => self.accept_float(value, |x| (*min..=*max).contains(&x)),
            Self::Positive { max } => self.accept_float(value, |x| x > 0.0 && x <= *max),
            Self::Choice(choice) => self.accept_choice(value, choice),
            Self::Name => self.accept_text(value, |text| {
                !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\".contains(c))
                    && !text.starts_with('.')
            }),
            Self::Path => self.accept_text(value, |text| !text.contains('\0')),
            Self::List(item) => self.accept_list(value, item),
            Self::Range { max } => self.accept_range(value, *max),
            Self::Interval { min, max } => self.accept_interval(value, [*min, *max]),
            Self::Px { min, max } => self.accept_px(value, *min..=*max),
            Self::Form(form) => (form.accept)(value),
        }
    }

    /// A kept value as a table shows it.
    pub(in crate::experiment) fn label(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Px { .. }, Value::Array(sides)) => match sides.as_slice() {
                [height, width] if height == width => height.to_string(),
                _ => sides.iter().map(label_of).collect::<Vec<_>>().join("x"),
            },
            (Self::Range { .. } | Self::Interval { .. }, Value::Array(ends)) => {
                ends.iter().map(label_of).collect::<Vec<_>>().join("-")
            }
            (Self::List(item), Value::Array(items)) => {
                items.iter().map(|value| item.label(value)).collect::<Vec<_>>().join(",")
            }
            (Self::Form(form), _) => (form.label)(value),
            _ => label_of(value),
        }
    }

    /// Calls `each` with each path in a kept value.
    pub(in crate::experiment) fn each_path(&self, value: &mut Value, each: &mut EachPath<'_>) {
        match (self, value) {
            (Self::Path, Value::String(path)) => each(path),
            (Self::List(item), Value::Array(items)) => {
                for value in items {
                    item.each_path(value, each);
                }
            }
            (Self::Form(form), value) => (form.paths)(value, each),
            _ => {}
        }
    }

    /// Whether a value is a list of values, each with a meaning of its own.
    pub(in crate::experiment) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// Whether some value is written as a list.
    pub(in crate::experiment) fn takes_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Range { .. } | Self::Interval { .. } | Self::Form(_))
    }

    /// Whether a value is text that needs no quotes after `--set key=`.
    pub(in crate::experiment) fn takes_text(&self) -> bool {
        match self {
            Self::Name | Self::Path | Self::Choice(_) => true,
            Self::Form(form) => form.is_text,
            _ => false,
        }
    }

    fn accept_int(&self, value: &Value, range: RangeInclusive<u64>) -> Accepted {
        match value {
            Value::Number(number) if !number.is_f64() => match number.as_u64() {
                Some(n) if range.contains(&n) => Ok(value.clone()),
                _ => Err(vec![self.out_of_range(value)]),
            },
            _ => Err(vec![self.wrong_type(value)]),
        }
    }

    fn accept_float(&self, value: &Value, fits: impl Fn(f64) -> bool) -> Accepted {
        match value.as_f64() {
            Some(x) if fits(x) => Ok(Value::from(x)),
            Some(_) => Err(vec![self.out_of_range(value)]),
            None => Err(vec![self.wrong_type(value)]),
        }
    }

    fn accept_choice(&self, value: &Value, choice: &Choice) -> Accepted {
        let Value::String(text) = value else { return Err(vec![self.wrong_type(value)]) };
        let spelt = (choice.spellings)().into_iter().find(|(spelling, _)| spelling == text);
        let text = spelt.map_or(text.as_str(), |(_, name)| name);
        let names = (choice.names)();
        if names.contains(&text) {
            return Ok(Value::from(text));
        }
        let message = format!("`{}` is not known; allowed: {}", shortened(text), self.allowed());
        Err(vec![Refusal { message, nearest: nearest(text, names) }])
    }

    /// Accepts text that `fits`; also for the forms that are text.
    pub(super) fn accept_text(&self, value: &Value, fits: impl Fn(&str) -> bool) -> Accepted {
        let refused = match value {
            Value::String(text) if !text.is_empty() && fits(text) => return Ok(value.clone()),
            Value::String(text) if text.is_empty() => {
                Refusal::new(format!("the text is empty; allowed: {}", self.allowed()))
            }
            Value::String(text) => {
                let text = shortened(text);
                Refusal::new(format!("`{text}` is not valid; allowed: {}", self.allowed()))
            }
            _ => self.wrong_type(value),
        };
        Err(vec![refused])
    }

    fn accept_list(&self, value: &Value, item: &Type) -> Accepted {
        let Value::Array(values) = value else { return Err(vec![self.wrong_type(value)]) };
        if values.is_empty() {
            let message = format!("the list is empty; allowed: {}", self.allowed());
            return Err(vec![Refusal::new(message)]);
        }
        let mut refused = Vec::new();
        let mut accepted: Vec<Value> = Vec::new();
        for value in values {
            match item.accept(value) {
                Ok(value) if accepted.contains(&value) => {
                    let twice = item.label(&value);
                    refused.push(Refusal::new(format!("`{twice}` is listed twice")));
                }
                Ok(value) => accepted.push(value),
                Err(more) => refused.extend(more),
            }
        }
        all_or(accepted.into(), refused)
    }

    fn accept_range(&self, value: &Value, max: u64) -> Accepted {
        let Value::Array(ends) = value else { return Err(vec![self.wrong_type(value)]) };
        let numbers: Option<Vec<_>> = ends.iter().map(Value::as_u64).collect();
        match numbers.as_deref() {
            Some([first, last]) if first <= last && *last <= max => Ok(value.clone()),
            Some([_, _]) => Err(vec![self.out_of_range(value)]),
            _ => Err(vec![self.wrong_type(value)]),
        }
    }

    fn accept_interval(&self, value: &Value, [min, max]: [f64; 2]) -> Accepted {
        let Value::Array(ends) = value else { return Err(vec![self.wrong_type(value)]) };
        let numbers: Option<Vec<_>> = ends.iter().map(Value::as_f64).collect();
        match numbers.as_deref() {
            Some(&[low, high]) if min <= low && low <= high && high <= max => {
                Ok(Value::from(vec![low, high]))
            }
            Some([_, _]) => Err(vec![self.out_of_range(value)]),
            _ => Err(vec![self.wrong_type(value)]),
        }
    }

    fn accept_px(&self, value: &Value, range: RangeInclusive<u64>) -> Accepted {
        let sides = match value {
            Value::Array(items) if items.len() == 2 => items.clone(),
            Value::Number(_) => vec![value.clone(), value.clone()],
            _ => return Err(vec![self.wrong_type(value)]),
        };
        let checked = sides.iter().filter_map(|side| self.accept_int(side, range.clone()).err());
        let refused = checked.flatten().collect();
        all_or(sides.into(), refused)
    }

    pub(super) fn wrong_type(&self, value: &Value) -> Refusal {
        let found = match value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Number(number) => format!("the number `{number}`"),
            Value::String(text) => format!("the text `{}`", shortened(text)),
            Value::Array(items) => {
                format!("the list `[{}]`", shortened(&label_of(&items.clone().into())))
            }
            Value::Object(_) => "a table".to_owned(),
        };
        Refusal::new(format!("found {found}; allowed: {}", self.allowed()))
    }

    fn out_of_range(&self, value: &Value) -> Refusal {
        Refusal::new(format!("`{value}` is out of range; allowed: {}", self.allowed()))
    }
}

/// Returns `value` where nothing is refused; else each refusal once.
pub(super) fn all_or(value: Value, refused: Vec<Refusal>) -> Accepted {
    if refused.is_empty() {
        return Ok(value);
    }
    let mut each: Vec<Refusal> = Vec::new();
    for refusal in refused {
        if !each.contains(&refusal) {
            each.push(refusal);
        }
    }
    Err(each)
}
