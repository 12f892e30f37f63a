//! The one place that writes: data to stdout, everything else to stderr.
//!
//! A verb hands over what it has to say and goes on; that stdout takes nothing any more does not
//! stop a run that is under way. What was lost is known at the end ([`lost`]), when
//! [`super::end`] makes an exit code of it.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`aside`] is silent: a flag of every verb, set once before any of them runs.
static QUIET: AtomicBool = AtomicBool::new(false);

/// The first error of stdout, after which nothing is written to it.
static CLOSED: OnceLock<io::Error> = OnceLock::new();

/// From now on failures and results only.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// As [`note`], of what is neither a failure nor a result: `--quiet` silences it.
pub fn aside(text: &(impl Display + ?Sized)) {
    if !QUIET.load(Ordering::Relaxed) {
        note(text);
    }
}

/// Writes `text` and a newline to stderr.
///
/// A terminal that was closed takes nothing any more; a sweep goes on without it.
pub fn note(text: &(impl Display + ?Sized)) {
    // See above: there is nobody left to tell.
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

/// Whether stdout still takes what is written to it.
pub fn is_open() -> bool {
    CLOSED.get().is_none()
}

/// Why not all that [`data`] was given is written; `None` where it is, and where the reader has gone
/// away by itself (`sweep table | head`): it has all it wants.
pub fn lost() -> Option<&'static io::Error> {
    CLOSED.get().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// Whether stderr shows colours: a terminal, unless `NO_COLOR` is set.
pub fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
