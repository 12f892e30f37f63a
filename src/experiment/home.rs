//! Replaces the `~` that a path begins with by the user's home folder, as shells do; a path in a
//! file or after `--set key=` never passes through a shell.
//!
//! The loader calls it with what it has read: cells and the machine's keys. The types of the keys
//! tell which values are paths. Labels of cells stay as they were written.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{self, Owner};
use super::text::problem::{Problem, Problems};
use super::text::table;

/// The user's home folder, from the environment.
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
                    let message = format!("with `~` replaced by the home folder: {error}");
                    problems.push(Problem { message, ..Problem::default() });
                }
            }
        }
    }
}

/// The part after the `~` of a path below the user's home folder. `~name`, which shells expand to
/// another user's home, is taken as a plain name.
fn below_home(path: &str) -> Option<&str> {
    path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
