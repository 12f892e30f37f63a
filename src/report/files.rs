//! The table files of an experiment in the results folder, which are committed.

use std::io;
use std::path::PathBuf;

use super::model::table::{Columns, Table};
use super::render::{Format, Written};
use crate::fs::{ResultsDir, write_atomic};

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
