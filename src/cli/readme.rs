//! `sweep readme`: tables between markers, kept up to date.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{index, printer, table};
use crate::experiment::Machine;
use crate::fs::{ResultsDir, write_atomic};
use crate::report::{self, Columns, readme};

/// Rewrite the tables of a file, between `<!-- sweep:table NAME -->` and `<!-- sweep:end -->`.
///
/// A table comes from the results folder's index or, where that has no such experiment (a fresh
/// clone has no runs), from the committed `results/NAME.md`. All else in the file stays byte for
/// byte.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that has the table's place
    pub file: PathBuf,
    /// Change nothing; exit with 1 where a table is out of date.
    #[arg(long)]
    pub check: bool,
}

/// Exit code where a table is out of date.
const STALE: u8 = 1;
/// Exit code where the file or a marker in it is wrong.
const USAGE: u8 = 2;

pub async fn run(args: &Args, machine: &Machine) -> anyhow::Result<ExitCode> {
    let file = args.file.display();
    let text = match fs_err::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            printer::note(&error.to_string());
            return Ok(ExitCode::from(USAGE));
        }
        Err(error) => return Err(error.into()),
    };
    let places = match readme::places(&text) {
        Ok(places) => places,
        Err(error) => {
            printer::note(&format!("`{file}`, {error}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let results = ResultsDir::new(&machine.results);
    let mut tables = BTreeMap::new();
    if !places.is_empty() {
        let store = index::open(&results).await?;
        for place in &places {
            let rendered = table::of(&store, &place.name).await?;
            let rendered = rendered.map(|table| report::markdown(&table, Columns::Usual));
            let Some(table) =
                rendered.map_or_else(|| committed(&results, &place.name), |t| Ok(Some(t)))?
            else {
                printer::note(&format!(
                    "`{file}`, line {}: there is no experiment `{}` in `{}`, and no `{}`",
                    place.line,
                    place.name,
                    results.root().display(),
                    results.table(&place.name, "md").display(),
                ));
                return Ok(ExitCode::from(USAGE));
            };
            tables.insert(place.name.clone(), table);
        }
    }
    let rewritten = readme::rewrite(&text, &places, &tables);
    if rewritten.stale.is_empty() {
        printer::aside(&format!("`{file}`: all {} tables are up to date", places.len()));
        return Ok(ExitCode::SUCCESS);
    }
    let stale = rewritten.stale.join(", ");
    if args.check {
        printer::note(&format!("`{file}` is out of date ({stale}): run `sweep readme {file}`"));
        return Ok(ExitCode::from(STALE));
    }
    write_atomic(&args.file, rewritten.text.as_bytes())
        .with_context(|| format!("cannot write `{file}`"))?;
    printer::aside(&format!("`{file}`: rewrote {stale}"));
    Ok(ExitCode::SUCCESS)
}

/// The table as it was committed, where it was.
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
    use crate::store::fake::{Fake, seeded};

    async fn readme(fake: &Fake, text: &str, check: bool) -> (ExitCode, String) {
        let file = fake.results.root().with_file_name("README.md");
        write_atomic(&file, text.as_bytes()).unwrap();
        let args = Args { file: file.clone(), check };
        let machine = Machine { results: fake.results.root().to_owned(), ..Machine::default() };
        let code = run(&args, &machine).await.unwrap();
        (code, fs_err::read_to_string(file).unwrap())
    }

    const TEXT: &str = "a\n<!-- sweep:table grid -->\n<!-- sweep:end -->\nb";

    #[tokio::test]
    async fn tables_come_from_the_index_and_check_notices_old_ones() {
        let fake = Fake::new();
        let run = fake.finished(&seeded(0), 0.5, 3);
        fake.plan("grid", &["seed"], &[(&["0"], &run)]);
        assert_eq!(readme(&fake, TEXT, true).await, (ExitCode::from(STALE), TEXT.to_owned()));
        let (code, text) = readme(&fake, TEXT, false).await;
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.starts_with("a\n<!-- sweep:table grid -->\n\n| finetuned"), "{text}");
        assert!(text.contains(" 50.00 |") && text.ends_with("\n\n<!-- sweep:end -->\nb"), "{text}");
        assert_eq!(readme(&fake, &text, true).await, (ExitCode::SUCCESS, text));
    }

    #[tokio::test]
    async fn a_fresh_clone_has_the_committed_table() {
        let fake = Fake::new();
        assert_eq!(readme(&fake, TEXT, false).await, (ExitCode::from(USAGE), TEXT.to_owned()));
        write_atomic(&fake.results.table("grid", "md"), b"| T |\n").unwrap();
        let (code, text) = readme(&fake, TEXT, false).await;
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(text, "a\n<!-- sweep:table grid -->\n\n| T |\n\n<!-- sweep:end -->\nb");
        assert!(!fake.results.runs().exists() && !fake.results.database().exists());
    }

    #[tokio::test]
    async fn a_wrong_marker_changes_nothing() {
        let fake = Fake::new();
        let text = "<!-- sweep:table grid -->\n";
        assert_eq!(readme(&fake, text, false).await, (ExitCode::from(USAGE), text.to_owned()));
    }
}
