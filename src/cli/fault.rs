//! Exit codes, and errors that carry one.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::printer;

/// How `sweep` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// Some runs failed, or a check did.
    SomeFailed,
    /// The spec or the command line is wrong.
    Usage,
    /// The environment is at fault: no device, no data, disk full, read-only, newer database.
    Environment,
    /// Another coordinator holds the results folder.
    Busy,
    /// Interrupted; state saved.
    Interrupted,
}

/// An error with its exit; other errors count as [`Exit::Environment`].
#[derive(Debug)]
struct Fault {
    exit: Exit,
    error: anyhow::Error,
}

/// Gives an error the exit that `sweep` ends with because of it.
pub trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> anyhow::Result<T>;
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Busy => 4,
            Self::Interrupted => 130,
        }
    }

    /// The exit that `error` asks for.
    pub fn of(error: &anyhow::Error) -> Self {
        let tagged = error.chain().find_map(|cause| cause.downcast_ref::<Fault>());
        tagged.map_or(Self::Environment, |fault| fault.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(Fault { exit, error: error.into() }))
    }
}

/// An error that is a message without a source.
pub fn fault(exit: Exit, words: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Fault { exit, error: anyhow::anyhow!("{words}") })
}

/// Prints an error that ends the program; returns how it ends.
pub fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Done;
    }
    printer::note(&format_args!("error: {error:#}"));
    Exit::of(error)
}

/// Whether a reader of our output went away, as `head` does; that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        use Exit::{Busy, Done, Environment, Interrupted, SomeFailed, Usage};
        let all = [Done, SomeFailed, Usage, Environment, Busy, Interrupted];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 130]);
    }

    #[test]
    fn an_error_keeps_its_exit_and_its_words_under_context() {
        let io = || io::Error::other("disk full");
        let error = Err::<(), _>(io()).context("cannot write").or_exit(Exit::Busy).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Busy);
        assert_eq!(format!("{error:#}"), "cannot write: disk full");
        let error = Err::<(), _>(error).context("sweep").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Busy);
        assert_eq!(format!("{error:#}"), "sweep: cannot write: disk full");
    }

    #[test]
    fn an_error_without_a_word_about_it_is_of_the_environment() {
        assert_eq!(Exit::of(&anyhow::anyhow!("x")), Exit::Environment);
        assert_eq!(Exit::of(&fault(Exit::Usage, "x")), Exit::Usage);
    }

    #[test]
    fn a_reader_that_left_is_seen_through_layers() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = Err::<(), _>(pipe).context("cannot print").unwrap_err();
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("x")));
    }
}
