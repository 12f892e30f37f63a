//! Finds the experiment that a command line names, by its name or by its file.

use std::path::Path;

use super::context::known;
use super::fault::{Exit, fault};
use crate::experiment;
use crate::fs::ResultsDir;
use crate::store::{ExperimentRows, Store};

/// The name of the experiment that `text` means; a path is relative to the current folder.
pub fn name_of(text: &str) -> anyhow::Result<String> {
    name_from(Path::new(""), text)
}

/// The name of the experiment that `text` means: `text` itself or, where it ends in `.toml`, the
/// `name` in that file; a path is relative to `folder`. For a file that is gone, which may have
/// left results, it is the file's own name.
pub fn name_from(folder: &Path, text: &str) -> anyhow::Result<String> {
    let path = &folder.join(text);
    let is_file = path.extension().is_some_and(|extension| extension == "toml");
    match (is_file, path.file_stem()) {
        (true, Some(_)) if path.is_file() => known(experiment::name_in(path)),
        (true, Some(stem)) => Ok(stem.to_string_lossy().into_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// The rows of the experiment called `name`; the error lists the experiments there are.
pub async fn rows(
    store: &Store,
    results: &ResultsDir,
    name: &str,
) -> anyhow::Result<ExperimentRows> {
    if let Some(rows) = store.experiment(name).await? {
        return Ok(rows);
    }
    let folder = results.root().display();
    let known = store.experiments().await?;
    let names: Vec<_> = known.iter().map(|one| format!("`{}`", one.name)).collect();
    let words = match names.as_slice() {
        [] => format!("no experiment `{name}`: none was run in `{folder}` yet"),
        names => format!("no experiment `{name}` in `{folder}`, only {}", names.join(", ")),
    };
    Err(fault(Exit::Usage, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::write_atomic;

    #[test]
    fn an_experiment_is_named_by_its_name_or_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            write_atomic(&path, text.as_bytes()).unwrap();
            name_of(path.to_str().unwrap())
        };
        assert_eq!(name_of("quickstart").unwrap(), "quickstart");
        assert_eq!(name_of("gone/quickstart.toml").unwrap(), "quickstart");
        assert_eq!(file("a.toml", "size = \"small\"\n").unwrap(), "a");
        // Whatever else is wrong with it.
        assert_eq!(file("a.toml", "name = \"grid\"\nsise = 1\n").unwrap(), "grid");
        assert_eq!(Exit::of(&file("a.toml", "name = \"grid\n").unwrap_err()), Exit::Usage);
        assert_eq!(Exit::of(&file("a.toml", "name = \"../a\"\n").unwrap_err()), Exit::Usage);
    }
}
