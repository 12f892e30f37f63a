//! The table files of an experiment in the results folder, which are committed.

use std::io;
use std::path::PathBuf;

use super::model::names::short;
use super::model::table::{Columns, Table};
use super::render::{Format, Written};
use crate::fs::{ResultsDir, write_atomic};
use crate::id::RunId;

/// Writes `results/<experiment>.<ending>` in each format that has such a file; returns their paths.
///
/// The same rows give the same bytes.
pub fn write_files(results: &ResultsDir, table: &Table) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for format in Format::ALL {
        let Written::As(ending) = format.written() else { continue };
        let path = results.table(&table.experiment, ending);
        let text = format.render(table, Columns::Usual);
        // What is committed keeps its time stamp where nothing changed.
        if fs_err::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            paths.push(path);
            continue;
        }
        write_atomic(&path, text.as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

/// The table files of the experiment called `name`, where they show none of its `runs`: another
/// experiment had its name, or it had other keys, and [`write_files`] would put its table in their
/// place. Of an experiment that was changed in part some runs are still shown.
pub fn files_of_others(
    results: &ResultsDir,
    name: &str,
    runs: &[&RunId],
) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for format in Format::ALL {
        let Written::As(ending) = format.written() else { continue };
        let path = results.table(name, ending);
        let bytes = match fs_err::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        let text = String::from_utf8_lossy(&bytes);
        // Not every format names every run of a row: one that is named in any is enough.
        if runs.iter().any(|run| text.contains(short(run))) {
            return Ok(Vec::new());
        }
        files.push(path);
    }
    Ok(files)
}
