//! Tables between markers in a README:
//!
//! ```text
//! <!-- sweep:table quickstart -->
//! (everything here is replaced)
//! <!-- sweep:end -->
//! ```
//!
//! A second word asks for another format than markdown: `<!-- sweep:table quickstart html -->`.
//!
//! `sweep readme` calls [`places`] with a document and [`rewrite`] with the tables that it asks for.
//! A marker stands alone on its line; those in code (as above) are text.

use std::path::Path;

use super::Format;

const TABLE: &str = "table";
const END: &str = "end";
/// Formats that GitHub shows in a document.
const FORMATS: [Format; 2] = [Format::Markdown, Format::Html];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "line {line}: `{marker}` is not a marker: write `<!-- sweep:table NAME -->` or `<!-- sweep:end -->`"
    )]
    Unknown { line: usize, marker: String },
    #[error(
        "line {line}: `{word}` is no format for a table here: write `<!-- sweep:table NAME -->` for markdown, or `<!-- sweep:table NAME html -->`"
    )]
    Format { line: usize, word: String },
    #[error("line {line}: a marker must stand alone on its line, or in code (`…`) to be text")]
    NotAlone { line: usize },
    #[error(
        "line {line}: table `{name}` starts inside the one that starts on line {outer}: end that one first with `<!-- sweep:end -->`"
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
    /// Name or file of the experiment, as the marker gives it.
    pub experiment: String,
    /// [`Format::Markdown`], or another that the marker asks for.
    pub format: Format,
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

/// A line outside of code that is, or contains, a table marker.
#[derive(Debug, PartialEq, Eq)]
enum Marker<'a> {
    /// With the name of a format, where it has one.
    Table(&'a str, Option<&'a str>),
    End,
    Unknown,
    /// Among other text.
    NotAlone,
}

/// The tables that `text` asks for.
pub fn places(text: &str) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let mut open: Option<Place> = None;
    let mut fence: Option<Fence> = None;
    let mut offset = 0;
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let start = offset;
        offset += content.len();
        // What is between markers is replaced, whatever it is.
        if open.is_none() && is_in_fence(content, &mut fence) {
            continue;
        }
        match (marker(content), open.take()) {
            (None, before) => open = before,
            (Some(Marker::NotAlone), _) => return Err(Error::NotAlone { line }),
            (Some(Marker::Unknown), _) => {
                return Err(Error::Unknown { line, marker: content.trim().to_owned() });
            }
            (Some(Marker::Table(name, word)), None) => {
                let experiment = name.to_owned();
                let format = format(word).map_err(|word| Error::Format { line, word })?;
                open = Some(Place { experiment, format, line, start: offset, end: offset });
            }
            (Some(Marker::Table(name, _)), Some(outer)) => {
                let name = name.to_owned();
                return Err(Error::Nested { line, name, outer: outer.line });
            }
            (Some(Marker::End), Some(place)) => places.push(Place { end: start, ..place }),
            (Some(Marker::End), None) => return Err(Error::Stray { line }),
        }
    }
    match open {
        Some(Place { experiment, line, .. }) => Err(Error::Unclosed { line, name: experiment }),
        None => Ok(places),
    }
}

/// The format that a marker's second word names.
fn format(word: Option<&str>) -> Result<Format, String> {
    let Some(word) = word else { return Ok(Format::Markdown) };
    let known = FORMATS.into_iter().find(|format| format.name() == word);
    known.ok_or_else(|| word.to_owned())
}

/// Replaces what is between the markers by `tables`, of which there is one for each of `places`, the
/// places of `text`; everything else stays byte for byte.
pub fn rewrite(text: &str, places: &[Place], tables: &[String]) -> Rewritten {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut rewritten = Rewritten { text: String::with_capacity(text.len()), stale: Vec::new() };
    let mut copied = 0;
    for (place, table) in places.iter().zip(tables) {
        let lines: Vec<_> = table.trim().lines().collect();
        let table = format!("{newline}{}{newline}{newline}", lines.join(newline));
        if text[place.start..place.end] != table && !rewritten.stale.contains(&place.experiment) {
            rewritten.stale.push(place.experiment.clone());
        }
        rewritten.text += &text[copied..place.start];
        rewritten.text += &table;
        copied = place.end;
    }
    rewritten.text += &text[copied..];
    rewritten
}

/// The marker on `line`, which is in no fence; `None` if there is none.
fn marker(line: &str) -> Option<Marker<'_>> {
    if indent(line) > INDENT_MAX {
        return None;
    }
    let line = line.trim();
    let comment = line.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    if let Some(comment) = comment.filter(|comment| !comment.contains("<!--")) {
        let text = comment.trim().strip_prefix("sweep:")?;
        return Some(match text.split_once(char::is_whitespace) {
            Some((TABLE, rest)) => {
                let mut words = rest.split_whitespace();
                match (words.next(), words.next(), words.next()) {
                    (Some(name), format, None) if is_name(name) => Marker::Table(name, format),
                    _ => Marker::Unknown,
                }
            }
            None if text == END => Marker::End,
            _ => Marker::Unknown,
        });
    }
    // With backticks or in a quotation it is text about a marker.
    let mut comments = line.split("<!--").skip(1);
    let is_shown = line.contains('`') || line.starts_with('>');
    let is_marker = comments.any(|comment| comment.trim_start().starts_with("sweep:"));
    (is_marker && !is_shown).then_some(Marker::NotAlone)
}

/// Columns of indentation above which a line is code (`CommonMark` 4.4).
const INDENT_MAX: usize = 3;
/// Columns to a tab stop.
const TAB: usize = 4;
/// Number of marks of the shortest fence.
const FENCE_MIN: usize = 3;

/// The line that opened fenced code (`CommonMark` 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence {
    mark: char,
    len: usize,
}

/// Whether `line` is in fenced code, with the lines that open and close it; `open` is followed.
fn is_in_fence(line: &str, open: &mut Option<Fence>) -> bool {
    let run = fence_run(line);
    match (*open, run) {
        // Closed by the same mark, as long at least, and nothing else.
        (Some(fence), Some((found, rest))) => {
            let closes = found.mark == fence.mark && found.len >= fence.len;
            if closes && rest.trim().is_empty() {
                *open = None;
            }
            true
        }
        (Some(_), None) => true,
        // Backticks with another behind them are code within a line.
        (None, Some((found, rest))) if found.mark != '`' || !rest.contains('`') => {
            *open = Some(found);
            true
        }
        (None, _) => false,
    }
}

/// The marks that `line` begins with, where they are enough for a fence, and what follows.
fn fence_run(line: &str) -> Option<(Fence, &str)> {
    if indent(line) > INDENT_MAX {
        return None;
    }
    let text = line.trim_start_matches([' ', '\t']);
    let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let rest = text.trim_start_matches(mark);
    let len = text.len() - rest.len();
    (len >= FENCE_MIN).then_some((Fence { mark, len }, rest))
}

/// Columns of white space that `line` begins with.
fn indent(line: &str) -> usize {
    line.chars()
        .take_while(|c| matches!(c, ' ' | '\t'))
        .fold(0, |column, c| if c == '\t' { (column / TAB + 1) * TAB } else { column + 1 })
}

/// Whether `name` can be an experiment's name, which is never a path, or its file.
fn is_name(name: &str) -> bool {
    let is_file = Path::new(name).extension().is_some_and(|extension| extension == "toml");
    !name.is_empty()
        && (is_file || !name.contains(['/', '\\']))
        && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Rewritten {
        rewrite(text, &places(text).unwrap(), &["| T |\n".to_owned()])
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

    /// Names of the tables that `text` asks for.
    fn asked(text: &str, expect: &[&str]) {
        let places = places(text).unwrap();
        let names: Vec<_> = places.iter().map(|place| place.experiment.as_str()).collect();
        assert_eq!(names, expect, "{text}");
    }

    const A: &str = "<!-- sweep:table a -->\n<!-- sweep:end -->\n";

    #[test]
    fn fences_are_those_of_commonmark() {
        // Only a fence that is as long closes, and of the same mark.
        asked(&format!("````md\n```\n{A}```\n````\n"), &[]);
        asked(&format!("````\n```\n````\n{A}"), &["a"]);
        asked(&format!("```\n~~~\n{A}```\n"), &[]);
        asked(&format!("```\n`````  \n{A}"), &["a"]);
        // A line that goes on closes none.
        asked(&format!("```\n``` md\n{A}```\n"), &[]);
        // Backticks with another in their line are code within it; tildes open all the same.
        asked(&format!("```sweep run``` is the command.\n\n{A}"), &["a"]);
        asked(&format!("~~~ a ~ `b`\n{A}~~~\n"), &[]);
        // Two marks, or four columns, are no fence.
        asked(&format!("``\n{A}``\n"), &["a"]);
        asked(&format!("    ```\n{A}"), &["a"]);
        asked(&format!("\t```\n{A}"), &["a"]);
        asked(&format!("   ```\n{A}"), &[]);
        asked(&format!("```\n    ```\n{A}```\n"), &[]);
        // A fence that is never closed goes to the end.
        asked(&format!("```\n{A}"), &[]);
        // In lists and in indented code.
        asked("1.  x\n\n    ```\n    <!-- sweep:table b -->\n    ```\n", &[]);
        asked(&format!("\n    <!-- sweep:table b -->\n\n{A}"), &["a"]);
        // What is between markers is no fence.
        asked("<!-- sweep:table a -->\n```\n<!-- sweep:end -->\n", &["a"]);
    }

    #[test]
    fn a_marker_names_an_experiment_or_its_file() {
        let file = "../experiments/b.toml";
        asked(&A.replace(" a ", &format!(" {file} ")), &[file]);
    }

    #[test]
    fn a_marker_may_name_a_format() {
        let formats = |marker: &str| {
            let places = places(&A.replace("table a", marker));
            places.map(|places| places[0].format).map_err(|error| error.to_string())
        };
        assert_eq!(formats("table a"), Ok(Format::Markdown));
        assert_eq!(formats("table a markdown"), Ok(Format::Markdown));
        assert_eq!(formats("table a html"), Ok(Format::Html));
        let refused = formats("table a csv").unwrap_err();
        assert!(refused.starts_with("line 1: `csv` is no format for a table here"), "{refused}");
        assert!(formats("table a html x").unwrap_err().contains("is not a marker"));
    }

    #[test]
    fn a_marker_among_other_text_is_pointed_out() {
        let words = "line 1: a marker must stand alone on its line, or in code (`…`) to be text";
        check("see <!-- sweep:table ok --> x <!-- sweep:end --> tail", words);
        check("<!-- sweep:table ok --><!-- sweep:end -->", words);
        check("- <!--sweep:end-->", words);
        asked("write `<!-- sweep:table NAME -->` here\n> <!-- sweep:table a -->\n", &[]);
        asked("<!-- toc --> and <!-- tocstop -->\n", &[]);
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(places(text).unwrap_err().to_string(), expect);
    }

    #[test]
    fn wrong_markers_are_named_by_line() {
        check("x\n<!-- sweep:table a -->\n", "line 2: table `a` has no `<!-- sweep:end -->`");
        check(
            "<!-- sweep:table a -->\n<!-- sweep:table b -->\n<!-- sweep:end -->",
            "line 2: table `b` starts inside the one that starts on line 1: end that one first \
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
