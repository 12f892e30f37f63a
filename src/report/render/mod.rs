//! A table as text: a format is a file here and a line of `formats!`, from which `--format` and the
//! files of `sweep run` are made.

pub(super) mod terminal;
mod markdown;
mod html;
mod csv;
mod json;

use std::fmt;
use std::str::FromStr;

use super::model::table::{Columns, Table};

/// Makes the enum and its dispatch: for each format its variant and its module, whose name is the
/// format's and which has `render` and [`Written`].
macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $module:ident),+ $(,)?) => {
        /// A format that tables are written in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Format {
            $($(#[$doc])* $variant),+
        }

        impl Format {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that `--format` takes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($module)),+
                }
            }

            pub fn render(self, table: &Table, columns: Columns) -> String {
                match self {
                    $(Self::$variant => $module::render(table, columns)),+
                }
            }

            /// What `sweep run` does with this format.
            pub fn written(self) -> Written {
                match self {
                    $(Self::$variant => $module::WRITTEN),+
                }
            }
        }
    };
}

formats! {
    /// For people, as wide as the terminal.
    Terminal = terminal,
    /// As GitHub shows it.
    Markdown = markdown,
    /// In the layout of the reference project's README.
    Html = html,
    /// Raw numbers, one line a row.
    Csv = csv,
    /// Everything, for machines.
    Json = json,
}

/// What `sweep run` does with a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Not,
    /// Writes `results/NAME.<ending>`.
    As(&'static str),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|format| format.name() == text);
        known.copied().ok_or_else(|| format!("no format is called `{text}`"))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
