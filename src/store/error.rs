//! The errors of the index, and whether another try may succeed.

use std::io;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

use crate::event::{FailureClass, VERSION};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{}` was written by a newer sweep (its migration {migration} is unknown here): use that \
         sweep, or index the journals again with this one: `sweep index rebuild`",
        path.display()
    )]
    Newer { path: PathBuf, migration: i64 },
    #[error(
        "the index `{}` is damaged, but the journals are not affected: make it again with \
         `sweep index rebuild`",
        path.display()
    )]
    Damaged { path: PathBuf, source: sqlx::Error },
    #[error(
        "the index `{}` has another layout than this sweep's: make it again with \
         `sweep index rebuild`",
        path.display()
    )]
    OtherLayout { path: PathBuf },
    #[error(
        "no space left to write the index `{}`: free some and run the same command again, nothing \
         is lost",
        path.display()
    )]
    DiskFull { path: PathBuf, source: sqlx::Error },
    #[error("the index `{}` cannot be written: it is read-only", path.display())]
    ReadOnly { path: PathBuf, source: sqlx::Error },
    #[error("another program keeps the index `{}` locked", path.display())]
    Locked { path: PathBuf, source: sqlx::Error },
    #[error("cannot use the index `{}`", path.display())]
    Sql { path: PathBuf, source: sqlx::Error },
    #[error(
        "`{}`, line {line}, was written by a newer sweep (version {version}, this one reads up to \
         {VERSION}): use that sweep",
        file.display()
    )]
    NewerLine { file: PathBuf, line: u64, version: u32 },
    #[error("cannot read or write in the results folder")]
    Io(#[source] io::Error),
    #[error("`{}` is not a run directory: its name is not 16 hex digits", path.display())]
    NotARun { path: PathBuf },
    #[error("no run's id starts with `{prefix}` in `{}`", results.display())]
    NoRun { prefix: String, results: PathBuf },
    #[error("`{prefix}` is the start of several runs' ids: {ids}")]
    AmbiguousRun { prefix: String, ids: String },
}

impl Error {
    /// The class of the failure, by what the caller may do about it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotARun { .. } | Self::NoRun { .. } | Self::AmbiguousRun { .. } => {
                FailureClass::Input
            }
            Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::OtherLayout { .. }
            | Self::ReadOnly { .. }
            | Self::Locked { .. }
            | Self::Sql { .. }
            | Self::NewerLine { .. } => FailureClass::Environment,
            Self::DiskFull { .. } => FailureClass::Disk,
            Self::Io(error) => FailureClass::of_environment(error),
        }
    }

    /// Turns an error of SQLite about the database at `path` into ours.
    pub(super) fn sql(path: &Path, source: sqlx::Error) -> Self {
        /// The code `SQLITE_IOERR_SHMSIZE`: the shared memory file of WAL could not grow.
        const SHM_SIZE: i32 = 4874;
        let path = path.to_owned();
        let Some(code) = code(&source) else { return Self::Sql { path, source } };
        match (code & 0xff, code) {
            (5, _) => Self::Locked { path, source },
            (8, _) => Self::ReadOnly { path, source },
            (11 | 26, _) => Self::Damaged { path, source },
            (13, _) | (_, SHM_SIZE) => Self::DiskFull { path, source },
            (14, _) if !super::filesystem::is_writable(&path) => Self::ReadOnly { path, source },
            _ => Self::Sql { path, source },
        }
    }

    pub(super) fn migrate(path: &Path, source: MigrateError) -> Self {
        match source {
            MigrateError::VersionMissing(migration) => {
                Self::Newer { path: path.to_owned(), migration }
            }
            MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => {
                Self::OtherLayout { path: path.to_owned() }
            }
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::sql(path, source)
            }
            other => Self::sql(path, sqlx::Error::Migrate(Box::new(other))),
        }
    }
}

/// The extended result code of SQLite.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
