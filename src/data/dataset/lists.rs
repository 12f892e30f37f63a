//! Reads the text files of datasets: lists of stems and of class names.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Component, Path};

use crate::data::Error;

/// Number of characters of a line that a message repeats.
const SHOWN_MAX: usize = 60;
/// Largest length of a stem: file systems allow names of 255 bytes, and an ending is added.
const STEM_MAX: usize = 200;
/// Largest number of classes, as 255 is void.
const CLASSES_MAX: usize = 255;

/// The text of a list; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    let is_file = match fs_err::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata?.is_file(),
    };
    // Whoever opens a pipe waits for its writer, for ever.
    if !is_file {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let bytes = fs_err::read(path)?;
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.split(|byte| *byte == b'\n').count();
        Error::NotUtf8 { path: path.to_owned(), line }
    })
}

/// The stems of a split file, one per line, and the lines that are not stems.
pub(super) fn stems<'a>(text: &'a str, path: &Path) -> (Vec<&'a str>, Vec<Error>) {
    let mut first_lines = HashMap::new();
    let mut stems = Vec::new();
    let mut faults = Vec::new();
    for (line, stem) in lines(text) {
        let first = *first_lines.entry(stem).or_insert(line);
        let problem = if first != line {
            format!("is already on line {first}")
        } else if stem.contains(char::is_whitespace) {
            "has more than one column".to_owned()
        } else if !is_below(stem) {
            "leads out of the image folder".to_owned()
        } else if stem.contains('\0') || stem.len() > STEM_MAX {
            "is not a file name".to_owned()
        } else {
            stems.push(stem);
            continue;
        };
        faults.push(Error::BadSplitLine {
            path: path.to_owned(),
            line,
            text: shown(stem),
            problem,
        });
    }
    (stems, faults)
}

/// Class names, one per line, each after its index.
pub(super) fn indexed_classes(text: &str, path: &Path) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for (line, text) in lines(text) {
        let (number, name) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let problem = if number.parse() != Ok(names.len()) {
            format!("does not start with {}", names.len())
        } else if name.trim().is_empty() {
            "has no name".to_owned()
        } else {
            names.push(name.trim().to_owned());
            continue;
        };
        let expected = "`<index> <name>`, counted from 0";
        return Err(bad_class(path, line, (text, problem), expected));
    }
    check_count(&names, path)?;
    Ok(names)
}

/// Class names, one per line, each after its index or all without.
pub(super) fn classes(text: &str, path: &Path) -> Result<Vec<String>, Error> {
    let is_indexed = lines(text)
        .next()
        .and_then(|(_, text)| text.split_once(char::is_whitespace))
        .is_some_and(|(number, _)| number == "0");
    let names = if is_indexed {
        indexed_classes(text, path)?
    } else {
        let names: Vec<_> = lines(text).map(|(_, name)| name.to_owned()).collect();
        check_count(&names, path)?;
        names
    };
    let mut first_lines = HashMap::new();
    for ((line, text), name) in lines(text).zip(&names) {
        let first = *first_lines.entry(name).or_insert(line);
        if first != line {
            let problem = format!("is already on line {first}");
            return Err(bad_class(path, line, (text, problem), "each name once"));
        }
    }
    Ok(names)
}

/// The lines that are not empty, trimmed, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    lines.map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

fn check_count(names: &[String], path: &Path) -> Result<(), Error> {
    if (1..=CLASSES_MAX).contains(&names.len()) {
        return Ok(());
    }
    Err(Error::BadClassCount { path: path.to_owned(), n: names.len() })
}

fn bad_class(
    path: &Path,
    line: usize,
    (text, problem): (&str, String),
    expected: &'static str,
) -> Error {
    Error::BadClassLine { path: path.to_owned(), line, text: shown(text), problem, expected }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

fn is_below(stem: &str) -> bool {
    Path::new(stem).components().all(|part| matches!(part, Component::Normal(_)))
}
