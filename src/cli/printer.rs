//! The one place that writes: data to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`aside`] is silent: a flag of every verb, set once before any of them runs.
static QUIET: AtomicBool = AtomicBool::new(false);

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

/// Writes `text` to stdout, which may be a pipe that its reader has closed.
pub fn data(text: &str) {
    let mut stream = io::stdout().lock();
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    match written {
        Ok(()) => {}
        // `sweep table | head`: the reader has all it wants.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => tracing::warn!(%error, "cannot write the output"),
    }
}
