//! Problems of a spec, each complete: key, place, value, what is allowed, the nearest name.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// More problems than this are counted, not listed: nobody reads the 51st before fixing the first.
const PROBLEMS_MAX: usize = 50;

/// One thing that is wrong, complete enough to be fixed from its one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// The key as the user wrote it.
    pub key: Option<String>,
    pub file: Option<PathBuf>,
    pub line: Option<u32>,
    /// The offending value, as written.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => {}
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// A growing list of problems, and the parts of a run that they leave in doubt.
#[derive(Debug, Default)]
pub(in crate::experiment) struct Problems {
    list: Vec<Problem>,
    /// Keys, and groups of keys, whose values are not known because of a problem.
    tainted: BTreeSet<String>,
}

impl Problems {
    pub(in crate::experiment) fn push(&mut self, problem: Problem) {
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// Marks the value of a key, or those of a group, as not what the user meant, so that problems
    /// that follow from them are not reported too.
    pub(in crate::experiment) fn taint(&mut self, name: &str) {
        // A `kind` decides which other keys of its group mean something, a recipe what they are.
        let group = name.strip_suffix(".kind").or_else(|| name.strip_suffix(".recipe"));
        self.tainted.insert(group.unwrap_or(name).to_owned());
    }

    pub(in crate::experiment) fn is_tainted(&self, key: &str) -> bool {
        let covers = |name: &String| {
            key.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.tainted.iter().any(covers)
    }

    pub(in crate::experiment) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order of files and lines, the list cut at a readable length.
    pub(in crate::experiment) fn into_list(self) -> Vec<Problem> {
        let mut list = self.list;
        list.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        if list.len() > PROBLEMS_MAX {
            let more = list.len() - PROBLEMS_MAX;
            list.truncate(PROBLEMS_MAX);
            list.push(Problem {
                message: format!("and {more} more problems"),
                ..Problem::default()
            });
        }
        list
    }
}

/// The candidate that `name` most likely means: the same last segment, or few edits away.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    let edits_max = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let edits = match candidate.rsplit_once('.') {
                Some((_, last)) if last == wanted => 1,
                _ => strsim::osa_distance(&wanted, &candidate.to_lowercase()),
            };
            (edits, candidate)
        })
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate.to_owned())
}

/// A list of names for messages: `` `a`, `b` and `c` ``.
pub(in crate::experiment) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_nearest(name: &str, expect: Option<&str>) {
        let names = ["small", "base", "train.lr", "train.epochs", "tune.rank", "fpn"];
        assert_eq!(nearest(name, names).as_deref(), expect, "{name}");
    }

    #[test]
    fn the_nearest_name_is_few_edits_away_or_the_same_last_segment() {
        check_nearest("smal", Some("small"));
        check_nearest("Small", Some("small"));
        check_nearest("fnp", Some("fpn"));
        check_nearest("rank", Some("tune.rank"));
        check_nearest("train.epoch", Some("train.epochs"));
        check_nearest("x", None);
        check_nearest("giant", None);
        check_nearest("", None);
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let mut problems = Problems::default();
        for i in 0..60 {
            problems.push(Problem { message: format!("no {i}"), ..Problem::default() });
        }
        let list = problems.into_list();
        assert_eq!(list.len(), 51);
        assert_eq!(list[50].to_string(), "and 10 more problems");
    }

    #[test]
    fn one_line_names_everything() {
        let problem = Problem {
            key: Some("train.lr".to_owned()),
            file: Some("experiments/x.toml".into()),
            line: Some(12),
            value: Some("-1".to_owned()),
            message: "`-1` is out of range; allowed: more".to_owned(),
            nearest: Some("1".to_owned()),
        };
        insta::assert_snapshot!(problem, @"experiments/x.toml:12: train.lr: `-1` is out of range; allowed: more; did you mean `1`?");
    }
}
