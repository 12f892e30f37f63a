//! Tables between markers in a README:
//!
//! ```text
//! <!-- sweep:table quickstart -->
//! (everything here is replaced)
//! <!-- sweep:end -->
//! ```
//!
//! A marker stands alone on its line; those in fenced code (as above) are text.

use std::collections::BTreeMap;

const TABLE: &str = "table";
const END: &str = "end";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "line {line}: `{marker}` is not a marker: write `<!-- sweep:table NAME -->` or `<!-- sweep:end -->`"
    )]
    Unknown { line: usize, marker: String },
    #[error(
        "line {line}: table `{name}` starts inside of the one that starts on line {outer}: end that one first, with `<!-- sweep:end -->`"
    )]
    Nested { line: usize, name: String, outer: usize },
    #[error("line {line}: table `{name}` has no `<!-- sweep:end -->`")]
    Unclosed { line: usize, name: String },
    #[error("line {line}: `<!-- sweep:end -->` without a table that starts before it")]
    Stray { line: usize },
}

/// A table's place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    /// Line of the marker that starts it, from 1.
    pub line: usize,
    /// Bytes between the markers' lines.
    start: usize,
    end: usize,
}

/// A text with its tables replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub text: String,
    /// Names of the tables that were other ones before.
    pub stale: Vec<String>,
}

/// The tables that `text` asks for.
pub fn places(text: &str) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let mut open: Option<Place> = None;
    let mut fence: Option<&str> = None;
    let mut offset = 0;
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let start = offset;
        offset += content.len();
        if open.is_none() && toggles_fence(content, &mut fence) || fence.is_some() {
            continue;
        }
        let Some(marker) = marker(content) else { continue };
        match (marker.split_once(char::is_whitespace), marker, open.take()) {
            (Some((TABLE, name)), _, None) if is_name(name.trim()) => {
                let name = name.trim().to_owned();
                open = Some(Place { name, line, start: offset, end: offset });
            }
            (Some((TABLE, name)), _, Some(outer)) => {
                let name = name.trim().to_owned();
                return Err(Error::Nested { line, name, outer: outer.line });
            }
            (None, END, Some(place)) => places.push(Place { end: start, ..place }),
            (None, END, None) => return Err(Error::Stray { line }),
            _ => return Err(Error::Unknown { line, marker: content.trim().to_owned() }),
        }
    }
    match open {
        Some(Place { name, line, .. }) => Err(Error::Unclosed { line, name }),
        None => Ok(places),
    }
}

/// Replaces what is between the markers by `tables[name]`; everything else stays byte for byte.
///
/// `places` are those of `text`, and `tables` has each of their names.
pub fn rewrite(text: &str, places: &[Place], tables: &BTreeMap<String, String>) -> Rewritten {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut rewritten = Rewritten { text: String::with_capacity(text.len()), stale: Vec::new() };
    let mut copied = 0;
    for place in places {
        let table = tables.get(&place.name).expect("the caller gives every table");
        let lines: Vec<_> = table.trim().lines().collect();
        let table = format!("{newline}{}{newline}{newline}", lines.join(newline));
        if text[place.start..place.end] != table && !rewritten.stale.contains(&place.name) {
            rewritten.stale.push(place.name.clone());
        }
        rewritten.text += &text[copied..place.start];
        rewritten.text += &table;
        copied = place.end;
    }
    rewritten.text += &text[copied..];
    rewritten
}

/// The text of a marker: `table NAME` or `end`.
fn marker(line: &str) -> Option<&str> {
    let comment = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    comment.trim().strip_prefix("sweep:")
}

/// Follows fenced code; says whether `line` starts or ends it.
fn toggles_fence<'a>(line: &'a str, fence: &mut Option<&'a str>) -> bool {
    let line = line.trim();
    match *fence {
        None => {
            *fence = ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark));
            fence.is_some()
        }
        Some(mark) if line.starts_with(mark) => {
            *fence = None;
            true
        }
        Some(_) => false,
    }
}

/// Experiments are named by a file's stem, never by a path.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Rewritten {
        let tables = BTreeMap::from([("a".to_owned(), "| T |\n".to_owned())]);
        rewrite(text, &places(text).unwrap(), &tables)
    }

    #[test]
    fn tables_go_between_their_markers() {
        let text = "# x\n<!-- sweep:table a -->\nold\n<!-- sweep:end -->\n  end";
        let expect = "# x\n<!-- sweep:table a -->\n\n| T |\n\n<!-- sweep:end -->\n  end";
        let first = filled(text);
        assert_eq!(first, Rewritten { text: expect.to_owned(), stale: vec!["a".to_owned()] });
        assert_eq!(filled(expect), Rewritten { text: expect.to_owned(), stale: vec![] });
    }

    #[test]
    fn line_ends_and_the_rest_stay() {
        let text = "é\r\n<!--sweep:table a-->\r\n<!-- sweep:end -->\r\n\r\n tail \t";
        let expect =
            "é\r\n<!--sweep:table a-->\r\n\r\n| T |\r\n\r\n<!-- sweep:end -->\r\n\r\n tail \t";
        assert_eq!(filled(text).text, expect);
    }

    #[test]
    fn markers_in_fenced_code_are_text() {
        let text = "```\n<!-- sweep:table zzz -->\n```\n~~~md\n```\n<!-- sweep:end -->\n~~~\n";
        assert_eq!(places(text), Ok(vec![]));
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(places(text).unwrap_err().to_string(), expect);
    }

    #[test]
    fn wrong_markers_are_named_by_line() {
        check("x\n<!-- sweep:table a -->\n", "line 2: table `a` has no `<!-- sweep:end -->`");
        check(
            "<!-- sweep:table a -->\n<!-- sweep:table b -->\n<!-- sweep:end -->",
            "line 2: table `b` starts inside of the one that starts on line 1: end that one first, \
             with `<!-- sweep:end -->`",
        );
        check(
            "\n\n<!-- sweep:end -->",
            "line 3: `<!-- sweep:end -->` without a table that starts before it",
        );
        for marker in
            ["<!-- sweep:table -->", "<!-- sweep:tabel a -->", "<!-- sweep:table ../a -->"]
        {
            check(
                marker,
                &format!(
                    "line 1: `{marker}` is not a marker: write `<!-- sweep:table NAME -->` or \
                     `<!-- sweep:end -->`"
                ),
            );
        }
    }
}
