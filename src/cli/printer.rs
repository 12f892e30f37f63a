//! The one place that writes: data to stdout, everything else to stderr.

use std::io::{self, ErrorKind, Write};

/// Writes `text` to stdout, which may be a pipe that its reader has closed.
pub fn data(text: &str) {
    write(io::stdout().lock(), text);
}

/// Writes `text` and a newline to stderr.
pub fn note(text: &str) {
    write(io::stderr().lock(), &format!("{text}\n"));
}

fn write(mut stream: impl Write, text: &str) {
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    match written {
        Ok(()) => {}
        // `sweep table | head`: the reader has all it wants.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => tracing::warn!(%error, "cannot write the output"),
    }
}
