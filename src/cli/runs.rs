//! Finds the run that a command line names, by the start of its id or as `latest`.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use super::fault::{Exit, OrExit, fault};
use crate::fs::ResultsDir;
use crate::id::RunId;
use crate::schedule::journal;

/// Names the run whose worker was the last to write.
pub const LATEST: &str = "latest";
/// Runs that an ambiguous start lists.
const LISTED_MAX: usize = 8;

/// The one run that `text` names: the start of its id, or [`LATEST`]. Runs that are planned but
/// never began count too. Neither needs the index, so that this works while it is damaged.
pub fn find(results: &ResultsDir, text: &str) -> anyhow::Result<RunId> {
    let folder = results.root().display();
    let begun = folders(&results.runs()).or_exit(Exit::Environment)?;
    let begun: BTreeSet<RunId> = begun.iter().filter_map(|name| RunId::parse(name)).collect();
    if text == LATEST {
        let latest = begun.into_iter().max_by_key(|run| written(results, run));
        return latest.ok_or_else(|| fault(Exit::Usage, format!("no run in `{folder}` yet")));
    }
    let all = begun.into_iter().chain(planned(results)?);
    let matches: BTreeSet<RunId> =
        all.filter(|run| !text.is_empty() && run.as_str().starts_with(text)).collect();
    let shown: Vec<_> = matches.iter().take(LISTED_MAX).map(RunId::as_str).collect();
    match (matches.len(), matches.first()) {
        (1, Some(run)) => Ok(run.clone()),
        (0, _) => {
            let words = format!(
                "no run's id in `{folder}` begins with `{text}`; the last column of `sweep table` \
                 has the ids, and `{LATEST}` is the run that worked last"
            );
            Err(fault(Exit::Usage, words))
        }
        (n, _) => {
            let more = n.saturating_sub(LISTED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let words =
                format!("several runs' ids begin with `{text}`: {}{more}", shown.join(", "));
            Err(fault(Exit::Usage, words))
        }
    }
}

/// Runs of the experiments' latest plans.
fn planned(results: &ResultsDir) -> anyhow::Result<Vec<RunId>> {
    let mut runs = Vec::new();
    for name in folders(&results.experiments()).or_exit(Exit::Environment)? {
        match journal::last_plan(&results.experiment_journal(&name)) {
            Ok(plan) => runs.extend(plan.into_iter().flat_map(|plan| plan.cells).map(|c| c.run)),
            // One journal that cannot be read hides no run of the others.
            Err(error) => tracing::warn!("{error}"),
        }
    }
    Ok(runs)
}

/// When the run's folder was last written into by a worker.
fn written(results: &ResultsDir, run: &RunId) -> Option<SystemTime> {
    let files = fs_err::read_dir(results.run(run).root()).ok()?;
    let times = files.filter_map(|file| {
        let file = file.ok()?;
        let name = file.file_name();
        let is_journal = name.to_string_lossy().starts_with("events.");
        // A file that went meanwhile is not the latest.
        is_journal.then(|| file.metadata().and_then(|data| data.modified()).ok()).flatten()
    });
    times.max()
}

/// Names of the folders in `folder`; none if it does not exist.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    match fs_err::read_dir(folder) {
        Ok(entries) => {
            let mut names = vec![];
            for entry in entries {
                let entry = entry?;
                // Caches lie beside the experiments.
                if entry.path().is_dir() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Ok(names)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::{Fake, seeded};

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_id_and_the_last_one_by_its_time() {
        let fake = Fake::new();
        let find = |text: &str| find(&fake.results, text);
        let exit = |text: &str| Exit::of(&find(text).unwrap_err());
        assert_eq!((exit("a"), exit(""), exit(LATEST)), (Exit::Usage, Exit::Usage, Exit::Usage));
        let first = fake.finished(&seeded(0), 0.5, 1);
        let second = fake.finished(&seeded(1), 0.5, 1);
        let never = RunId::parse("00ff00ff00ff00ff").unwrap();
        fake.plan("grid", &["seed"], &[(&["0"], &first), (&["2"], &never)]);
        for run in [&first, &second, &never] {
            assert_eq!(find(&run.as_str()[..12]).unwrap(), *run);
        }
        assert_eq!(exit(""), Exit::Usage);
        let journal = fake.results.run(&first).events(1);
        let file = fs_err::OpenOptions::new().append(true).open(journal).unwrap();
        file.file().set_modified(SystemTime::now() + std::time::Duration::from_mins(1)).unwrap();
        assert_eq!(find(LATEST).unwrap(), first);
    }

    #[test]
    fn an_ambiguous_beginning_lists_what_it_may_be() {
        let temp = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(temp.path());
        for n in 0..10 {
            fs_err::create_dir_all(results.runs().join(format!("ab{n:014}"))).unwrap();
        }
        let words = find(&results, "ab").unwrap_err().to_string();
        assert!(words.contains("ab00000000000000, ab00000000000001"), "{words}");
        assert!(words.ends_with("and 2 more"), "{words}");
    }
}
