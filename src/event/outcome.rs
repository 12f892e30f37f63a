//! The outcome of an attempt as its worker writes it down, and the class of a failure.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::error;

/// The way an attempt ended, as its own worker reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
pub enum Outcome {
    Done,
    /// The worker stopped on request; its state is saved.
    Interrupted,
    Failed {
        message: String,
        class: FailureClass,
    },
}

/// The kinds of failure, by what the caller may do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The data, weights or spec are wrong: another attempt would fail in the same way.
    Input,
    /// The device was lost or memory ran out: another attempt may succeed.
    Environment,
    /// The disk is full, over quota or read-only: every other run fails as well until that is
    /// fixed.
    Disk,
    /// A bug in `sweep`.
    Bug,
}

/// [`Outcome`] in its serialized form.
///
/// A class that came after the first ones is written as the older one that is nearest to it, with
/// its own name beside it: an older program reads the line as it always did.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Done,
    Interrupted,
    Failed {
        message: String,
        class: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class_exact: Option<String>,
    },
}

impl FailureClass {
    /// Every class with its name and with the class of the first journals that is nearest to it.
    const NAMES: [(Self, &str, &str); 4] = [
        (Self::Input, "input", "input"),
        (Self::Environment, "environment", "environment"),
        (Self::Disk, "disk", "environment"),
        (Self::Bug, "bug", "bug"),
    ];

    /// The class of an error of the machine: of its disk, or of anything else.
    pub fn of_environment(error: &(dyn Error + 'static)) -> Self {
        if error::is_of_the_disk(error) { Self::Disk } else { Self::Environment }
    }

    /// Tells whether another attempt may succeed.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Environment | Self::Disk => true,
            Self::Input | Self::Bug => false,
        }
    }

    /// The name of the class in journals and in the index.
    pub fn name(self) -> &'static str {
        self.names().1
    }

    /// The class of that name; an unknown one, of a later version, counts as one that may pass.
    pub fn parse(name: &str) -> Self {
        let found = Self::NAMES.iter().find(|(_, other, _)| *other == name);
        found.map_or(Self::Environment, |(class, ..)| *class)
    }

    fn names(self) -> &'static (Self, &'static str, &'static str) {
        let row = Self::NAMES.iter().find(|(class, ..)| *class == self);
        row.expect("every class is in the list, as a test holds")
    }
}

impl From<Line> for Outcome {
    fn from(line: Line) -> Self {
        match line {
            Line::Done => Self::Done,
            Line::Interrupted => Self::Interrupted,
            Line::Failed { message, class, class_exact } => {
                Self::Failed { message, class: FailureClass::parse(&class_exact.unwrap_or(class)) }
            }
        }
    }
}

impl From<Outcome> for Line {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Interrupted => Self::Interrupted,
            Outcome::Failed { message, class } => {
                let (_, name, nearest) = *class.names();
                let class_exact = (name != nearest).then(|| name.to_owned());
                Self::Failed { message, class: nearest.to_owned(), class_exact }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn classes_of_the_first_journals_are_read_and_written_as_before() {
        let check = |name: &str, class| {
            let old = format!(r#"{{"kind":"failed","message":"torn","class":"{name}"}}"#);
            let outcome: Outcome = serde_json::from_str(&old).unwrap();
            assert_eq!(outcome, Outcome::Failed { message: "torn".to_owned(), class });
            assert_eq!(serde_json::to_string(&outcome).unwrap(), old);
        };
        check("input", FailureClass::Input);
        check("environment", FailureClass::Environment);
        check("bug", FailureClass::Bug);
        for (outcome, old) in [
            (Outcome::Done, r#"{"kind":"done"}"#),
            (Outcome::Interrupted, r#"{"kind":"interrupted"}"#),
        ] {
            assert_eq!(serde_json::from_str::<Outcome>(old).unwrap(), outcome);
            assert_eq!(serde_json::to_string(&outcome).unwrap(), old);
        }
    }

    /// The outcome as programs from before [`FailureClass::Disk`] read it.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Before {
        Failed { message: String, class: ClassBefore },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum ClassBefore {
        Environment,
    }

    #[test]
    fn a_full_disk_has_its_class_here_and_is_the_environments_to_older_programs() {
        let full = Outcome::Failed { message: "full".to_owned(), class: FailureClass::Disk };
        let json = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), full);
        let before = Before::Failed { message: "full".to_owned(), class: ClassBefore::Environment };
        assert_eq!(serde_json::from_str::<Before>(&json).unwrap(), before);
    }

    #[test]
    fn a_class_of_a_later_version_may_pass() {
        let later = r#"{"kind":"failed","message":"m","class":"environment","class_exact":"x"}"#;
        let outcome: Outcome = serde_json::from_str(later).unwrap();
        let message = "m".to_owned();
        assert_eq!(outcome, Outcome::Failed { message, class: FailureClass::Environment });
    }

    #[test]
    fn every_class_has_a_name_that_leads_back_to_it() {
        use FailureClass::{Bug, Disk, Environment, Input};
        for class in [Input, Environment, Disk, Bug] {
            assert_eq!(FailureClass::parse(class.name()), class);
            assert_eq!(FailureClass::parse(class.names().2).may_pass(), class.may_pass());
        }
    }

    #[test]
    fn errors_of_the_disk_have_their_own_class() {
        let of = |code| FailureClass::of_environment(&io::Error::from_raw_os_error(code));
        assert_eq!((of(28), of(13)), (FailureClass::Disk, FailureClass::Environment));
    }
}
