//! Brings the index up to date: adds rows and reading positions from new journal lines in one
//! transaction.
//!
//! Whatever the order in which journals were read, the rows are those of a rebuild: attempts are
//! read in ascending order, and a folder is indexed again from the start where the part of a file
//! that was already read has changed, or an attempt before the latest has grown.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::event::{Line, SweepLine};
use crate::fs::RunDir;
use crate::id::RunId;
use crate::store::journal::{self, Known, Parsed, Position, RunFiles, SPEC, SWEEP_JOURNAL, Tail};
use crate::store::write::{self, AttemptWriter, Place};
use crate::store::{Error, Store};

impl Store {
    /// Indexes the new lines in a run's directory; returns them, for live display.
    ///
    /// A torn last line waits until it is complete, or is skipped (with a warning) once a
    /// later attempt exists. A complete line that cannot be read is kept as a warning.
    pub async fn ingest_run(&self, dir: &RunDir) -> Result<Vec<Line>, Error> {
        let run = run_of(dir)?;
        let owner = run_owner(run.as_str());
        let files = RunFiles::list(dir).map_err(Error::Io)?;
        let mut transaction = self.begin().await?;
        let known = self.known(&mut transaction, &owner).await?;
        if files.is_indexed(&known) {
            return Ok(Vec::new());
        }
        let mut tails = read_tails(dir, &files, &known)?;
        let mut from = known.clone();
        if files.contradict(&known) || earlier_attempt_grew(&tails, &known) {
            tracing::warn!(
                run = run.as_str(),
                "indexed journals have changed: indexing them again"
            );
            let cleared = write::clear_run(&mut transaction, &owner, run.as_str()).await;
            cleared.map_err(|error| self.error(error))?;
            from = Known::new();
            tails = read_tails(dir, &files, &from)?;
        }
        let ingest = RunIngest { store: self, dir, run: &run, owner: &owner };
        ingest.spec(&mut transaction, &files, &from).await?;
        let latest = files.events.last_key_value().map(|(&attempt, _)| attempt);
        let mut new = Vec::new();
        for (&attempt, tail) in &tails {
            let seen = known.get(&journal::events_name(attempt)).map_or(0, |p| p.lines);
            let lines = ingest.attempt(&mut transaction, attempt, tail, Some(attempt) < latest);
            let lines = lines.await?.into_iter().filter(|(number, _)| *number > seen);
            new.extend(lines.map(|(_, line)| line));
        }
        transaction.commit().await.map_err(|error| self.error(error))?;
        Ok(new)
    }

    /// Indexes the new lines of an experiment's journal; returns them.
    pub async fn ingest_experiment(&self, name: &str) -> Result<Vec<SweepLine>, Error> {
        let path = self.results.experiment_journal(name);
        let owner = experiment_owner(name);
        let size = size_of(&path).map_err(Error::Io)?;
        let mut transaction = self.begin().await?;
        let known = self.known(&mut transaction, &owner).await?;
        let mut from = known.get(SWEEP_JOURNAL).copied().unwrap_or_default();
        if size.unwrap_or(0) == from.bytes {
            return Ok(Vec::new());
        }
        let seen = from.lines;
        if size.unwrap_or(0) < from.bytes {
            let cleared = write::clear_experiment(&mut transaction, &owner, name).await;
            cleared.map_err(|error| self.error(error))?;
            from = Position::default();
        }
        let mut new = Vec::new();
        if size.is_some() {
            let tail = journal::read_tail(&path, from).map_err(Error::Io)?;
            for (number, bytes) in &tail.lines {
                let place = Place { owner: &owner, file: SWEEP_JOURNAL, line: *number };
                let Some(line) = self.parse(&mut transaction, place, bytes).await? else {
                    continue;
                };
                let written = write::sweep_line(&mut transaction, name, &line).await;
                written.map_err(|error| self.error(error))?;
                if *number > seen {
                    new.push(line);
                }
            }
            let moved = write::position(&mut transaction, &owner, SWEEP_JOURNAL, tail.end).await;
            moved.map_err(|error| self.error(error))?;
        }
        transaction.commit().await.map_err(|error| self.error(error))?;
        Ok(new)
    }

    /// Indexes all new lines in the results folder; returns their number.
    ///
    /// Where nothing is new, it reads the sizes of files and no more.
    pub async fn ingest_all(&self) -> Result<u64, Error> {
        let mut known = self.all_known().await?;
        let mut n_lines = 0;
        let runs = self.results.runs();
        for name in folders(&runs).map_err(Error::Io)? {
            if RunId::parse(&name).is_none() {
                continue;
            }
            let dir = RunDir::new(runs.join(&name));
            let indexed = known.remove(&run_owner(&name)).unwrap_or_default();
            if !RunFiles::list(&dir).map_err(Error::Io)?.is_indexed(&indexed) {
                n_lines += self.ingest_run(&dir).await?.len() as u64;
            }
        }
        for name in folders(&self.results.experiments()).map_err(Error::Io)? {
            let indexed = known.remove(&experiment_owner(&name)).unwrap_or_default();
            let size = size_of(&self.results.experiment_journal(&name)).map_err(Error::Io)?;
            if size.unwrap_or(0) != indexed.get(SWEEP_JOURNAL).map_or(0, |p| p.bytes) {
                n_lines += self.ingest_experiment(&name).await?.len() as u64;
            }
        }
        for owner in known.keys() {
            self.forget(owner).await?;
        }
        Ok(n_lines)
    }

    /// Tells whether [`Self::ingest_all`] would find nothing new.
    pub(super) async fn is_up_to_date(&self) -> Result<bool, Error> {
        let mut known = self.all_known().await?;
        let runs = self.results.runs();
        for name in folders(&runs).map_err(Error::Io)? {
            let indexed = known.remove(&run_owner(&name)).unwrap_or_default();
            let files = RunFiles::list(&RunDir::new(runs.join(&name))).map_err(Error::Io)?;
            if RunId::parse(&name).is_some() && !files.is_indexed(&indexed) {
                return Ok(false);
            }
        }
        for name in folders(&self.results.experiments()).map_err(Error::Io)? {
            let indexed = known.remove(&experiment_owner(&name)).unwrap_or_default();
            let size = size_of(&self.results.experiment_journal(&name)).map_err(Error::Io)?;
            if size.unwrap_or(0) != indexed.get(SWEEP_JOURNAL).map_or(0, |p| p.bytes) {
                return Ok(false);
            }
        }
        Ok(known.is_empty())
    }

    /// Removes a folder that no longer exists from the index.
    async fn forget(&self, owner: &str) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let cleared = match owner.split_once('/') {
            Some(("runs", run)) => write::clear_run(&mut transaction, owner, run).await,
            Some((_, name)) => write::clear_experiment(&mut transaction, owner, name).await,
            None => Ok(()),
        };
        cleared.map_err(|error| self.error(error))?;
        transaction.commit().await.map_err(|error| self.error(error))
    }

    /// Starts a transaction for writing, so that two of them never read the same positions.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))
    }

    async fn known(&self, connection: &mut SqliteConnection, owner: &str) -> Result<Known, Error> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT file, bytes, lines FROM journal_offsets WHERE owner = ?")
                .bind(owner)
                .fetch_all(connection)
                .await
                .map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(file, bytes, lines)| (file, position(bytes, lines))).collect())
    }

    async fn all_known(&self) -> Result<BTreeMap<String, Known>, Error> {
        let rows: Vec<(String, String, i64, i64)> =
            sqlx::query_as("SELECT owner, file, bytes, lines FROM journal_offsets")
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.error(error))?;
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for (owner, file, bytes, lines) in rows {
            known.entry(owner).or_default().insert(file, position(bytes, lines));
        }
        Ok(known)
    }

    /// Parses a line of a journal; returns `None`, and stores a warning, where it cannot be read.
    async fn parse<T: journal::Versioned>(
        &self,
        connection: &mut SqliteConnection,
        place: Place<'_>,
        bytes: &[u8],
    ) -> Result<Option<T>, Error> {
        match journal::parse(bytes) {
            Parsed::Line(line) => Ok(Some(line)),
            Parsed::Newer(version) => Err(Error::NewerLine {
                file: self.results.root().join(place.owner).join(place.file),
                line: place.line,
                version,
            }),
            Parsed::Bad(reason) => {
                let message = format!("unreadable line, skipped: {reason}");
                self.warn(connection, place, None, &message).await?;
                Ok(None)
            }
        }
    }

    async fn warn(
        &self,
        connection: &mut SqliteConnection,
        place: Place<'_>,
        at_ms: Option<u64>,
        message: &str,
    ) -> Result<(), Error> {
        let Place { owner, file, line } = place;
        tracing::warn!("{owner}/{file}:{line}: {message}");
        let written = write::warning(connection, place, at_ms, message).await;
        written.map_err(|error| self.error(error))
    }
}

/// The inputs of indexing one run's directory.
struct RunIngest<'a> {
    store: &'a Store,
    dir: &'a RunDir,
    run: &'a RunId,
    owner: &'a str,
}

impl RunIngest<'_> {
    /// Indexes the run's row, and its spec if that is not yet indexed.
    async fn spec(
        &self,
        connection: &mut SqliteConnection,
        files: &RunFiles,
        known: &Known,
    ) -> Result<(), Error> {
        if files.spec.is_none() && files.events.is_empty() {
            return Ok(());
        }
        let written = write::run_exists(connection, self.run).await;
        written.map_err(|error| self.store.error(error))?;
        let Some(size) = files.spec.filter(|_| !known.contains_key(SPEC)) else { return Ok(()) };
        let bytes = fs_err::read(self.dir.spec()).map_err(Error::Io)?;
        let written = write::run_spec(connection, self.run, &bytes).await;
        written.map_err(|error| self.store.error(error))?;
        let end = Position { bytes: size, lines: 0 };
        let moved = write::position(connection, self.owner, SPEC, end).await;
        moved.map_err(|error| self.store.error(error))
    }

    /// Indexes the new lines of one attempt. `superseded`: a later attempt exists.
    async fn attempt(
        &self,
        connection: &mut SqliteConnection,
        attempt: u32,
        tail: &Tail,
        superseded: bool,
    ) -> Result<Vec<(u64, Line)>, Error> {
        let is_torn = superseded && tail.torn_bytes > 0;
        if tail.lines.is_empty() && !is_torn {
            return Ok(Vec::new());
        }
        let file = journal::events_name(attempt);
        let place = |line| Place { owner: self.owner, file: &file, line };
        let mut lines = Vec::with_capacity(tail.lines.len());
        for (number, bytes) in &tail.lines {
            if let Some(line) = self.store.parse(connection, place(*number), bytes).await? {
                lines.push((*number, line));
            }
        }
        let warnings = self.write(connection, attempt, &lines).await;
        for (number, at_ms, message) in warnings.map_err(|error| self.store.error(error))? {
            let stored = write::warning(connection, place(number), Some(at_ms), &message).await;
            stored.map_err(|error| self.store.error(error))?;
        }
        let mut end = tail.end;
        if is_torn {
            end = Position { bytes: end.bytes + tail.torn_bytes, lines: end.lines + 1 };
            let message = "incomplete last line, skipped: the attempt was killed while writing it";
            self.store.warn(connection, place(end.lines), None, message).await?;
        }
        let moved = write::position(connection, self.owner, &file, end).await;
        moved.map_err(|error| self.store.error(error))?;
        Ok(lines)
    }

    /// Writes the rows of `lines`; returns the warnings among them as (line, time, message).
    async fn write(
        &self,
        connection: &mut SqliteConnection,
        attempt: u32,
        lines: &[(u64, Line)],
    ) -> Result<Vec<(u64, u64, String)>, sqlx::Error> {
        let mut writer = AttemptWriter::open(connection, self.run, attempt).await?;
        let mut warnings = Vec::new();
        for (number, line) in lines {
            if let Some(message) = writer.write(line).await? {
                warnings.push((*number, line.at_ms, message));
            }
        }
        Ok(warnings)
    }
}

fn run_of(dir: &RunDir) -> Result<RunId, Error> {
    let name = dir.root().file_name().and_then(|name| name.to_str());
    name.and_then(RunId::parse).ok_or_else(|| Error::NotARun { path: dir.root().to_owned() })
}

/// Reads the part of each attempt's journal that is past the known positions.
fn read_tails(dir: &RunDir, files: &RunFiles, known: &Known) -> Result<BTreeMap<u32, Tail>, Error> {
    let mut tails = BTreeMap::new();
    for (&attempt, &size) in &files.events {
        let from = known.get(&journal::events_name(attempt)).copied().unwrap_or_default();
        if size > from.bytes {
            let tail = journal::read_tail(&dir.events(attempt), from).map_err(Error::Io)?;
            tails.insert(attempt, tail);
        }
    }
    Ok(tails)
}

/// Tells whether an attempt has new lines although a later one is indexed already.
fn earlier_attempt_grew(tails: &BTreeMap<u32, Tail>, known: &Known) -> bool {
    let latest = known.keys().filter_map(|file| journal::attempt_of(file)).max();
    tails.iter().any(|(&attempt, tail)| Some(attempt) < latest && !tail.lines.is_empty())
}

fn run_owner(run: &str) -> String {
    format!("runs/{run}")
}

fn experiment_owner(name: &str) -> String {
    format!("experiments/{name}")
}

fn position(bytes: i64, lines: i64) -> Position {
    Position { bytes: bytes.unsigned_abs(), lines: lines.unsigned_abs() }
}

/// Names of the folders in `dir`, sorted; none where `dir` does not exist.
fn folders(dir: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn size_of(path: &Path) -> io::Result<Option<u64>> {
    match fs_err::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
