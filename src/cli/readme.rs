//! `sweep readme`: updates the tables between markers in a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::fault::{Exit, OrExit, fault};
use super::{Context, experiments, index, printer, words};
use crate::fs::{ResultsDir, write_atomic};
use crate::report::readme::{self, Place};
use crate::report::{Columns, Format, Table};
use crate::store::Store;

/// Rewrite the tables of a file, between `<!-- sweep:table NAME -->` and `<!-- sweep:end -->`.
///
/// `<!-- sweep:table NAME html -->` asks for HTML in the layout of the reference project's README.
/// A table comes from the results folder's index or, where that has no such experiment (a fresh
/// clone has no runs), from the committed `results/NAME.md`. All else in the file stays byte for
/// byte.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with the markers
    pub file: PathBuf,
    /// Change nothing; exit with code 1 if a table is out of date.
    #[arg(long)]
    pub check: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let file = args.file.display();
    let text = match fs_err::read_to_string(&args.file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Err(error).or_exit(Exit::Usage);
        }
        read => read?,
    };
    let places = readme::places(&text)
        .map_err(|error| fault(Exit::Usage, format_args!("`{file}`, {error}")))?;
    if places.is_empty() {
        let words = format_args!(
            "`{file}` has no place for a table: add a line `<!-- sweep:table NAME -->` and a line \
             `<!-- sweep:end -->`, outside of code"
        );
        return Err(fault(Exit::SomeFailed, words));
    }
    let results = context.results()?;
    let asked = Asked { file: &args.file, places: &places, results: &results };
    let tables = index::ask(&results, async |store| asked.tables(store).await)?;
    let rewritten = readme::rewrite(&text, &places, &tables);
    if rewritten.stale.is_empty() {
        let n = words::count(places.len(), "table");
        let are = if places.len() == 1 { "is" } else { "are" };
        printer::aside(&format!("`{file}`: {n} {are} up to date"));
        return Ok(Exit::Done);
    }
    let stale = rewritten.stale.join(", ");
    if args.check {
        printer::note(&format!("`{file}` is out of date ({stale}): run `sweep readme {file}`"));
        return Ok(Exit::SomeFailed);
    }
    write_atomic(&args.file, rewritten.text.as_bytes())
        .with_context(|| format!("cannot write `{file}`"))?;
    printer::aside(&format!("`{file}`: rewrote {stale}"));
    Ok(Exit::Done)
}

/// The tables that a file asks for.
struct Asked<'a> {
    file: &'a Path,
    places: &'a [Place],
    results: &'a ResultsDir,
}

impl Asked<'_> {
    /// The tables in the order of their places.
    async fn tables(&self, store: &Store) -> anyhow::Result<Vec<String>> {
        let mut tables = Vec::new();
        for place in self.places {
            tables.push(self.table(store, place).await?);
        }
        Ok(tables)
    }

    async fn table(&self, store: &Store, place: &Place) -> anyhow::Result<String> {
        // A relative path in a document starts at the document.
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let name = experiments::name_from(folder, &place.experiment)?;
        if let Some(rows) = store.experiment(&name).await? {
            return Ok(place.format.render(&Table::new(&rows), Columns::Usual));
        }
        let known = match place.format {
            Format::Markdown => committed(self.results, &name)?,
            _ => None,
        };
        known.ok_or_else(|| {
            let also = match place.format {
                Format::Markdown => {
                    format!(", and no `{}`", self.results.table(&name, "md").display())
                }
                format => format!("; run it first, as only markdown is committed, not {format}"),
            };
            let words = format!(
                "`{}`, line {}: there is no experiment `{name}` in `{}`{also}",
                self.file.display(),
                place.line,
                self.results.root().display(),
            );
            fault(Exit::Usage, words)
        })
    }
}

/// The committed table; `None` if there is none.
fn committed(results: &ResultsDir, name: &str) -> anyhow::Result<Option<String>> {
    match fs_err::read_to_string(results.table(name, "md")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Machine;
    use crate::store::fake::{Fake, seeded};

    fn readme(fake: &Fake, text: &str, check: bool) -> (Exit, String) {
        let file = fake.results.root().with_file_name("README.md");
        write_atomic(&file, text.as_bytes()).unwrap();
        let args = Args { file: file.clone(), check };
        let machine = Machine { results: fake.results.root().to_owned(), ..Machine::default() };
        let exit = run(&args, &Context::of(machine)).unwrap_or_else(|error| Exit::of(&error));
        (exit, fs_err::read_to_string(file).unwrap())
    }

    fn with_a_run() -> Fake {
        let fake = Fake::new();
        let run = fake.finished(&seeded(0), 0.5, 3);
        fake.plan("grid", &["seed"], &[(&["0"], &run)]);
        fake
    }

    const TEXT: &str = "a\n<!-- sweep:table grid -->\n<!-- sweep:end -->\nb";

    #[test]
    fn tables_come_from_the_index_and_check_notices_old_ones() {
        let fake = with_a_run();
        assert_eq!(readme(&fake, TEXT, true), (Exit::SomeFailed, TEXT.to_owned()));
        let (exit, text) = readme(&fake, TEXT, false);
        assert_eq!(exit, Exit::Done);
        assert!(text.starts_with("a\n<!-- sweep:table grid -->\n\n| finetuned"), "{text}");
        assert!(text.contains(" 50.00 |") && text.ends_with("\n\n<!-- sweep:end -->\nb"), "{text}");
        assert_eq!(readme(&fake, &text, true), (Exit::Done, text));
    }

    #[test]
    fn a_marker_may_name_an_experiment_by_its_file_beside_the_document() {
        let fake = with_a_run();
        let file = fake.results.root().with_file_name("experiments").join("a.toml");
        write_atomic(&file, b"name = \"grid\"\n").unwrap();
        let text = TEXT.replace("grid", "experiments/a.toml");
        let (exit, text) = readme(&fake, &text, false);
        assert_eq!(exit, Exit::Done);
        assert!(text.contains("table experiments/a.toml -->\n\n| finetuned"), "{text}");
    }

    #[test]
    fn a_fresh_clone_has_the_committed_table() {
        let fake = Fake::new();
        assert_eq!(readme(&fake, TEXT, false), (Exit::Usage, TEXT.to_owned()));
        write_atomic(&fake.results.table("grid", "md"), b"| T |\n").unwrap();
        let (exit, text) = readme(&fake, TEXT, false);
        assert_eq!(exit, Exit::Done);
        assert_eq!(text, "a\n<!-- sweep:table grid -->\n\n| T |\n\n<!-- sweep:end -->\nb");
        assert!(!fake.results.runs().exists() && !fake.results.database().exists());
    }

    #[test]
    fn a_wrong_marker_changes_nothing() {
        let fake = Fake::new();
        let text = "<!-- sweep:table grid -->\n";
        assert_eq!(readme(&fake, text, false), (Exit::Usage, text.to_owned()));
        let text = "see <!-- sweep:table grid --> x <!-- sweep:end --> tail\n";
        assert_eq!(readme(&fake, text, false), (Exit::Usage, text.to_owned()));
    }

    #[test]
    fn a_file_without_a_place_for_a_table_is_a_fault_that_is_found() {
        let fake = Fake::new();
        for text in ["# T\n", "", "````md\n```\n<!-- sweep:table a -->\n```\n````\n"] {
            for check in [true, false] {
                assert_eq!(readme(&fake, text, check), (Exit::SomeFailed, text.to_owned()));
            }
        }
    }
}
