//! Puts the user's home folder in the place of the `~` that a path begins with, as shells do; a
//! path in a file or after `--set key=` never passes through one.
//!
//! The loader calls it with what it has read: cells and the machine's keys. Which values are paths
//! is said by the types of the keys. Labels of cells stay as they were written.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{self, Owner};
use super::text::problem::{Problem, Problems};
use super::text::table;

/// The user's home folder, as the environment tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home<'a>(pub(super) Option<&'a str>);

impl Home<'_> {
    /// Expands the paths of all keys of `owner` in `values`, which serializes as the tables of
    /// those keys. A path that needs a home where there is none is a problem.
    pub(super) fn expand<T>(self, values: &mut T, owner: Owner, problems: &mut Problems)
    where
        T: Serialize + DeserializeOwned,
    {
        let mut json = serde_json::to_value(&*values).expect("tables of keys are plain data");
        let mut is_changed = false;
        let mut homeless = BTreeSet::new();
        for key in keys::all().filter(|key| key.owner() == owner) {
            let field = match owner {
                Owner::Machine => key.field().trim_start_matches("machine."),
                Owner::Run | Owner::Schedule => key.field(),
            };
            let Some(value) = table::field_mut(&mut json, field) else { continue };
            key.ty.each_path(value, &mut |path| match (below_home(path), self.0) {
                (None, _) => {}
                (Some(rest), Some(home)) => {
                    *path = format!("{}{rest}", home.trim_end_matches('/'));
                    is_changed = true;
                }
                (Some(_), None) => {
                    homeless.insert((key.name, path.clone()));
                }
            });
        }
        for (name, path) in homeless {
            problems.push(Problem {
                key: Some(name.to_owned()),
                message: format!("`{path}` needs HOME to be set"),
                ..Problem::default()
            });
        }
        if is_changed {
            match serde_json::from_value(json) {
                Ok(expanded) => *values = expanded,
                Err(error) => {
                    let message = format!("with the home folder in the place of `~`: {error}");
                    problems.push(Problem { message, ..Problem::default() });
                }
            }
        }
    }
}

/// What follows the `~` of a path below the user's home folder. `~name`, the home of somebody else
/// in a shell, is a name like any other.
fn below_home(path: &str) -> Option<&str> {
    path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
