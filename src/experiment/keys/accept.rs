//! What a type of key takes, and what is said of what it does not.

use serde_json::Value;

use super::{Refusal, Type};
use crate::experiment::text::problem::{nearest, quoted};
use crate::experiment::text::tree::{label_of, shortened};
use crate::model::Size;
use crate::model::backbone::size_names;

impl Type {
    /// What is allowed, for messages.
    pub fn allowed(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } if *max == i64::MAX as u64 => {
                format!("a whole number, {min} or more")
            }
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Positive { max } => format!("a number above 0, up to {max}"),
            Self::Choice(names) => quoted(names.iter().copied()),
            Self::Size => quoted(size_names().iter().copied()),
            Self::Name => "a file name without folder, ending or white space".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Devices => {
                "`auto`, `cpu`, `cuda:N`, or several of them separated by commas".to_owned()
            }
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
            Self::Data(form) => form.allowed(),
        }
    }

    /// `value` in the one form that this type has, or why not.
    pub(in crate::experiment) fn accept(&self, value: &Value) -> Result<Value, Refusal> {
        match self {
            Self::Bool if value.is_boolean() => Ok(value.clone()),
            Self::Int { min, max } => self.accept_int(value, *min..=*max),
            Self::Float { min, max } => self.accept_float(value, |x| (*min..=*max).contains(&x)),
            Self::Positive { max } => self.accept_float(value, |x| x > 0.0 && x <= *max),
            Self::Choice(names) => self.accept_choice(value, names),
            Self::Size => match value.as_str().and_then(Size::spelled) {
                Some(size) => Ok(Value::from(size.name())),
                None => self.accept_choice(value, size_names()),
            },
            Self::Name => self.accept_text(value, |text| {
                !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\".contains(c))
                    && !text.starts_with('.')
            }),
            Self::Path => self.accept_text(value, |text| !text.contains('\0')),
            Self::Devices => self.accept_text(value, is_devices),
            Self::List(item) => self.accept_list(value, item),
            Self::Range { max } => self.accept_range(value, *max),
            Self::Interval { min, max } => self.accept_interval(value, [*min, *max]),
            Self::Px { min, max } => self.accept_px(value, *min..=*max),
            Self::Data(form) => form.accept(value),
            Self::Bool => Err(self.wrong_type(value)),
        }
    }

    fn accept_int(
        &self,
        value: &Value,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Value, Refusal> {
        match value {
            Value::Number(number) if !number.is_f64() => match number.as_u64() {
                Some(n) if range.contains(&n) => Ok(value.clone()),
                _ => Err(self.out_of_range(value)),
            },
            _ => Err(self.wrong_type(value)),
        }
    }

    fn accept_float(&self, value: &Value, fits: impl Fn(f64) -> bool) -> Result<Value, Refusal> {
        match value.as_f64() {
            Some(x) if fits(x) => Ok(Value::from(x)),
            Some(_) => Err(self.out_of_range(value)),
            None => Err(self.wrong_type(value)),
        }
    }

    fn accept_choice(&self, value: &Value, names: &[&str]) -> Result<Value, Refusal> {
        let Value::String(text) = value else { return Err(self.wrong_type(value)) };
        if names.contains(&text.as_str()) {
            return Ok(Value::from(text.as_str()));
        }
        let message = format!("`{}` is not known; allowed: {}", shortened(text), self.allowed());
        Err(Refusal { message, nearest: nearest(text, names.iter().copied()) })
    }

    fn accept_text(&self, value: &Value, fits: impl Fn(&str) -> bool) -> Result<Value, Refusal> {
        match value {
            Value::String(text) if !text.is_empty() && fits(text) => Ok(value.clone()),
            Value::String(text) if text.is_empty() => Err(Refusal {
                message: format!("the text is empty; allowed: {}", self.allowed()),
                nearest: None,
            }),
            Value::String(text) => Err(Refusal {
                message: format!("`{}` does not fit; allowed: {}", shortened(text), self.allowed()),
                nearest: None,
            }),
            _ => Err(self.wrong_type(value)),
        }
    }

    fn accept_list(&self, value: &Value, item: &Type) -> Result<Value, Refusal> {
        let Value::Array(values) = value else { return Err(self.wrong_type(value)) };
        let accepted = values.iter().map(|value| item.accept(value));
        let accepted = accepted.collect::<Result<Vec<_>, _>>()?;
        if accepted.is_empty() {
            let message = format!("the list is empty; allowed: {}", self.allowed());
            return Err(Refusal { message, nearest: None });
        }
        if let Some((_, twice)) =
            accepted.iter().enumerate().find(|(i, value)| accepted[..*i].contains(value))
        {
            let message = format!("`{}` is listed twice", label_of(twice));
            return Err(Refusal { message, nearest: None });
        }
        Ok(Value::from(accepted))
    }

    fn accept_range(&self, value: &Value, max: u64) -> Result<Value, Refusal> {
        let Value::Array(ends) = value else { return Err(self.wrong_type(value)) };
        let numbers: Option<Vec<_>> = ends.iter().map(Value::as_u64).collect();
        match numbers.as_deref() {
            Some([first, last]) if first <= last && *last <= max => Ok(value.clone()),
            Some([_, _]) => Err(self.out_of_range(value)),
            _ => Err(self.wrong_type(value)),
        }
    }

    fn accept_interval(&self, value: &Value, [min, max]: [f64; 2]) -> Result<Value, Refusal> {
        let Value::Array(ends) = value else { return Err(self.wrong_type(value)) };
        let numbers: Option<Vec<_>> = ends.iter().map(Value::as_f64).collect();
        match numbers.as_deref() {
            Some(&[low, high]) if min <= low && low <= high && high <= max => {
                Ok(Value::from(vec![low, high]))
            }
            Some([_, _]) => Err(self.out_of_range(value)),
            _ => Err(self.wrong_type(value)),
        }
    }

    fn accept_px(
        &self,
        value: &Value,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Value, Refusal> {
        let sides = match value {
            Value::Array(items) if items.len() == 2 => items.clone(),
            Value::Number(_) => vec![value.clone(), value.clone()],
            _ => return Err(self.wrong_type(value)),
        };
        for side in &sides {
            self.accept_int(side, range.clone())?;
        }
        Ok(Value::from(sides))
    }

    fn wrong_type(&self, value: &Value) -> Refusal {
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
        let message = format!("found {found}; allowed: {}", self.allowed());
        Refusal { message, nearest: None }
    }

    fn out_of_range(&self, value: &Value) -> Refusal {
        let message = format!("`{value}` is out of range; allowed: {}", self.allowed());
        Refusal { message, nearest: None }
    }
}

fn is_devices(text: &str) -> bool {
    text.split(',').map(str::trim).all(|device| match device.strip_prefix("cuda:") {
        Some(index) => index.parse::<u16>().is_ok(),
        None => matches!(device, "auto" | "cpu"),
    })
}
