//! Opens the index, for writing or as a read-only snapshot, and rebuilds it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::fs::ResultsDir;
use crate::store::{Error, Store, filesystem};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Time for which another program may keep the index locked before we give up.
const BUSY: Duration = Duration::from_secs(10);

/// Number of rows that SQLite's thread reads ahead: the default, 50, is a hand-over every 50 rows.
const ROW_BUFFER: usize = 1000;

impl Store {
    /// Opens the index for writing; creates it, or brings it to this version's layout, where
    /// needed.
    ///
    /// # Errors
    /// [`Error::Newer`] where a newer sweep wrote it, [`Error::Damaged`] where it is not a
    /// database, [`Error::ReadOnly`] and [`Error::DiskFull`].
    pub async fn open(results: &ResultsDir) -> Result<Self, Error> {
        fs_err::create_dir_all(results.root()).map_err(Error::Io)?;
        let path = results.database();
        let journal = if filesystem::is_network(results.root()) {
            SqliteJournalMode::Delete
        } else {
            SqliteJournalMode::Wal
        };
        let options = file(&path)
            .create_if_missing(true)
            .journal_mode(journal)
            .synchronous(SqliteSynchronous::Normal);
        Self::migrated(results, &path, options).await
    }

    /// Opens the index without writing to the results folder.
    ///
    /// Where the index is missing, of an older layout, or in a folder that cannot be written and
    /// behind its journals, it is made in memory.
    pub async fn open_read_only(results: &ResultsDir) -> Result<Self, Error> {
        let path = results.database();
        if !path.exists() {
            return Self::in_memory(results).await;
        }
        if filesystem::is_writable(&path) {
            // A coordinator may be writing: SQLite's own locks give us a snapshot.
            let store = Self::connected(results, &path, file(&path).read_only(true)).await?;
            return match store.layout().await? {
                Layout::Ours => Ok(store),
                Layout::Older => Self::in_memory(results).await,
            };
        }
        Self::open_frozen(results).await
    }

    /// Opens an index that nobody can write to.
    pub(super) async fn open_frozen(results: &ResultsDir) -> Result<Self, Error> {
        let path = results.database();
        let wal = beside(&path, "-wal");
        if wal.metadata().is_ok_and(|wal| wal.len() > 0) {
            // An immutable database is read without its log, that is without its newest rows.
            return Self::in_memory(results).await;
        }
        let options = file(&path).read_only(true).immutable(true);
        let store = Self::connected(results, &path, options).await?;
        if matches!(store.layout().await?, Layout::Ours) && store.is_up_to_date().await? {
            return Ok(store);
        }
        Self::in_memory(results).await
    }

    /// Rebuilds the index from the journals. The old one stays until the new one is whole.
    ///
    /// The caller holds the results folder's lock.
    pub async fn rebuild(results: &ResultsDir) -> Result<Self, Error> {
        fs_err::create_dir_all(results.root()).map_err(Error::Io)?;
        let path = results.database();
        let temp = path.with_file_name(format!(".sweep.db.{}.tmp", std::process::id()));
        remove(&temp).map_err(Error::Io)?;
        if let Err(error) = Self::build(results, &temp).await {
            // The error above is what matters; a leftover temp file is only clutter.
            let _ = remove(&temp);
            return Err(error);
        }
        replace(&path, &temp).map_err(Error::Io)?;
        Self::open(results).await
    }

    async fn build(results: &ResultsDir, temp: &Path) -> Result<(), Error> {
        // Nobody reads the file before it is whole, and a crash leaves the old one in its place.
        let options = file(temp)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off);
        let store = Self::migrated(results, temp, options).await?;
        let ingested = store.ingest_all().await;
        store.close().await;
        ingested.map(|_| ())
    }

    async fn in_memory(results: &ResultsDir) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().in_memory(true);
        let store = Self::migrated(results, &results.database(), options).await?;
        store.ingest_all().await?;
        Ok(store)
    }

    /// Limits the time that later calls wait for another program which keeps the index locked.
    pub async fn wait_for_locks(&self, at_most: Duration) -> Result<(), Error> {
        // The one connection of the pool keeps the setting.
        let pragma = format!("PRAGMA busy_timeout = {}", at_most.as_millis());
        let set = sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&self.pool).await;
        set.map(|_| ()).map_err(|error| self.error(error))
    }

    /// Closes the index; what is not committed is lost.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrated(
        results: &ResultsDir,
        path: &Path,
        options: SqliteConnectOptions,
    ) -> Result<Self, Error> {
        let store = Self::connected(results, path, options).await?;
        MIGRATOR.run(&store.pool).await.map_err(|error| Error::migrate(path, error))?;
        Ok(store)
    }

    async fn connected(
        results: &ResultsDir,
        path: &Path,
        options: SqliteConnectOptions,
    ) -> Result<Self, Error> {
        // One connection: SQLite has one writer, and an index in memory lives in its connection.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.busy_timeout(BUSY).row_buffer_size(ROW_BUFFER))
            .await
            .map_err(|error| Error::sql(path, error))?;
        Ok(Self { pool, results: results.clone() })
    }

    async fn layout(&self) -> Result<Layout, Error> {
        let versions = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        let found: Option<i64> = match sqlx::query_scalar(versions).fetch_one(&self.pool).await {
            Ok(version) => version,
            // Made by another program, or cut short before its first migration.
            Err(error) if is_missing_table(&error) => None,
            Err(error) => return Err(self.error(error)),
        };
        let ours = MIGRATOR.iter().map(|migration| migration.version).max();
        match found {
            Some(migration) if found > ours => {
                Err(Error::Newer { path: self.results.database(), migration })
            }
            _ if found == ours => Ok(Layout::Ours),
            _ => Ok(Layout::Older),
        }
    }

    pub(super) fn error(&self, source: sqlx::Error) -> Error {
        Error::sql(&self.results.database(), source)
    }
}

/// The layout of a database that no newer `sweep` has touched.
enum Layout {
    Ours,
    Older,
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("no such table"))
}

fn file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces the database at `path` by the one at `new`.
fn replace(path: &Path, new: &Path) -> io::Result<()> {
    fs_err::File::open(new)?.sync_all()?;
    // The logs of the old database must never be taken for the new one's.
    for suffix in ["-wal", "-shm", "-journal"] {
        remove(&beside(path, suffix))?;
    }
    fs_err::rename(new, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
