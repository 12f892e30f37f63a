//! The one place that prints: data to stdout, everything else to stderr.
//!
//! A failed write to stdout does not stop a run that is under way: the error is kept ([`lost`]),
//! and at the end [`super::end`] turns it into an exit code.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`aside`] is silent: a flag of every verb, set once before any of them runs.
static QUIET: AtomicBool = AtomicBool::new(false);

/// The first error of stdout, after which nothing is written to it.
static CLOSED: OnceLock<io::Error> = OnceLock::new();

/// Prints only failures and results from now on.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only failures and results are printed.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints, as [`note`], what is neither a failure nor a result; `--quiet` silences it.
pub fn aside(text: &(impl Display + ?Sized)) {
    if !is_quiet() {
        note(text);
    }
}

/// Writes `text` and a newline to stderr.
///
/// Errors are ignored: a sweep goes on when its terminal is closed.
pub fn note(text: &(impl Display + ?Sized)) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes `text` to stdout, unless an earlier text could not be written.
pub fn data(text: &str) {
    if !is_open() {
        return;
    }
    let mut stream = io::stdout().lock();
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if let Err(error) = written {
        // Where two threads fail at once one of the errors is enough.
        let _ = CLOSED.set(error);
    }
}

/// Whether stdout can still be written to.
pub fn is_open() -> bool {
    CLOSED.get().is_none()
}

/// The error by which output of [`data`] was lost; `None` if none was, and if the reader closed the
/// pipe itself (`sweep table | head`), as it has all it wants.
pub fn lost() -> Option<&'static io::Error> {
    CLOSED.get().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// Whether stderr shows colours: a terminal, unless `NO_COLOR` is set.
pub fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
