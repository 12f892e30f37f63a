//! Lines for people, on stderr.

use std::fmt;
use std::io::Write;

/// Prints one line.
///
/// A terminal that was closed takes nothing any more; a sweep goes on without it.
pub fn line(text: impl fmt::Display) {
    // See above: there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
