//! The condition of a set's images while they are scored: clean, or corrupted.
//!
//! In journals, orders, tables and JSON a condition stands as two fields, `corruption` and
//! `severity`, both empty for clean images; [`Condition::of`] reads them.

use std::fmt;

use thiserror::Error;

/// The change made to the images of a set before they were scored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    Clean,
    Corrupted {
        /// Name of a [`crate::corrupt::Effect`], e.g. `fog`.
        effect: String,
        /// Level of the corruption, 1 to 5.
        severity: u8,
    },
}

/// The error of one of the two fields without the other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HalfCondition {
    #[error("the corruption `{effect}` has no severity")]
    NoSeverity { effect: String },
    #[error("the severity {severity} has no corruption")]
    NoCorruption { severity: u8 },
}

impl Condition {
    /// Reads a condition from the fields `corruption` and `severity`.
    pub fn of(corruption: Option<String>, severity: Option<u8>) -> Result<Self, HalfCondition> {
        match (corruption, severity) {
            (None, None) => Ok(Self::Clean),
            (Some(effect), Some(severity)) => Ok(Self::Corrupted { effect, severity }),
            (Some(effect), None) => Err(HalfCondition::NoSeverity { effect }),
            (None, Some(severity)) => Err(HalfCondition::NoCorruption { severity }),
        }
    }

    /// The fields `corruption` and `severity`.
    pub fn into_fields(self) -> (Option<String>, Option<u8>) {
        match self {
            Self::Clean => (None, None),
            Self::Corrupted { effect, severity } => (Some(effect), Some(severity)),
        }
    }

    pub fn is_clean(&self) -> bool {
        *self == Self::Clean
    }

    /// The field `corruption`: the effect's name; `None` for clean images.
    pub fn effect(&self) -> Option<&str> {
        match self {
            Self::Clean => None,
            Self::Corrupted { effect, .. } => Some(effect),
        }
    }

    /// The field `severity`: 1 to 5; `None` for clean images.
    pub fn severity(&self) -> Option<u8> {
        match self {
            Self::Clean => None,
            Self::Corrupted { severity, .. } => Some(*severity),
        }
    }
}

/// Writes the condition as people read it: `clean`, or `fog 5`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.pad("clean"),
            Self::Corrupted { effect, severity } => f.pad(&format!("{effect} {severity}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fields_are_a_condition_and_one_alone_is_none() {
        let check = |corruption: Option<&str>, severity, expect: Result<&str, &str>| {
            let condition = Condition::of(corruption.map(str::to_owned), severity);
            let words = condition.as_ref().map(ToString::to_string).map_err(ToString::to_string);
            assert_eq!(words, expect.map(str::to_owned).map_err(str::to_owned));
            if let Ok(condition) = condition {
                assert_eq!((condition.effect(), condition.severity()), (corruption, severity));
                assert_eq!(condition.is_clean(), severity.is_none());
                assert_eq!(condition.into_fields(), (corruption.map(str::to_owned), severity));
            }
        };
        check(None, None, Ok("clean"));
        check(Some("fog"), Some(5), Ok("fog 5"));
        check(Some("fog"), None, Err("the corruption `fog` has no severity"));
        check(None, Some(5), Err("the severity 5 has no corruption"));
    }

    #[test]
    fn labels_can_be_padded() {
        let fog = Condition::Corrupted { effect: "fog".to_owned(), severity: 5 };
        assert_eq!(format!("{fog:<7}|{:<7}|", Condition::Clean), "fog 5  |clean  |");
    }
}
