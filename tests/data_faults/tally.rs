//! What became of damaged files by kind of damage, and a watch over whoever looks at them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A case takes a second of an idle core at most; more than this, however busy the machine, is a
/// hang.
const CASE_MAX: Duration = Duration::from_mins(10);

/// By kind of damage.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<&'static str, Row>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) files: usize,
    /// Those of which a fault was told, with the file's name.
    pub(crate) named: usize,
}

impl Table {
    pub(crate) fn count(&mut self, kind: &'static str, is_named: bool) {
        let row = self.0.entry(kind).or_default();
        row.files += 1;
        row.named += usize::from(is_named);
    }

    pub(crate) fn total(&self) -> Row {
        self.0.values().fold(Row::default(), |sum, row| Row {
            files: sum.files + row.files,
            named: sum.named + row.named,
        })
    }

    pub(crate) fn text(&self, title: &str) -> String {
        let head = format!("{title:34} {:>8} {:>8} {:>8}", "files", "named", "accepted");
        let rows = self.0.iter().map(|(kind, row)| (*kind, *row)).chain([("in all", self.total())]);
        let rows = rows.map(|(kind, Row { files, named })| {
            format!("  {kind:32} {files:>8} {named:>8} {:>8}", files - named)
        });
        std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

/// `FUZZ_FILES`, `FUZZ_SEED`, …
pub(crate) fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs the cases one after the other; one that panics or hangs is named.
pub(crate) fn watched<S: Send + 'static>(
    what: &str,
    cases: Range<u64>,
    mut state: S,
    mut case: impl FnMut(&mut S, u64) + Send + 'static,
) -> S {
    let (tell, told) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for i in cases {
            // The test has given up where nobody listens.
            let _ = tell.send(i);
            case(&mut state, i);
        }
        state
    });
    let mut last = 0;
    loop {
        match told.recv_timeout(CASE_MAX) {
            Ok(i) => last = i,
            Err(RecvTimeoutError::Timeout) => panic!("{what} {last} hangs"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap_or_else(|_| panic!("{what} {last} panics"))
}
