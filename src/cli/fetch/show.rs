//! The progress of a download: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{printer, words};
use crate::fetch::dataset;
use crate::fetch::download::{News, Proof};

/// Time between progress lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Show {
    name: String,
    screen: Screen,
}

enum Screen {
    Bar(ProgressBar),
    Plain { last: Instant },
    Quiet,
}

impl Show {
    pub(super) fn new(name: &str, is_quiet: bool) -> Self {
        let screen = match (is_quiet, std::io::stderr().is_terminal()) {
            (true, _) => Screen::Quiet,
            (false, true) => Screen::Bar(bar(name)),
            (false, false) => Screen::Plain { last: Instant::now() },
        };
        Self { name: name.to_owned(), screen }
    }

    pub(super) fn data(&mut self, news: &dataset::News<'_>) {
        match news {
            dataset::News::Download(_, news) => self.weights(news),
            dataset::News::Found(path) => self.note(&format!("using `{}`", path.display())),
            dataset::News::Waits(path) => self.waits(path),
            dataset::News::Unpacks { done, total, .. } => {
                self.amount("unpacked", *done, Some(*total));
            }
            dataset::News::Converts { done, total } => {
                self.far(&format!("{done} of {total} masks converted"));
            }
        }
    }

    pub(super) fn weights(&mut self, news: &News<'_>) {
        match news {
            News::Waits { target } => self.waits(target),
            News::Asks { url, from: 0 } => self.note(&format!("from {url}")),
            News::Asks { url, from } => {
                self.note(&format!("from {url}, resuming after {}", words::size(*from)));
            }
            News::Bytes { done, total } => self.amount("downloaded", *done, *total),
            News::Retries { why, wait } => {
                self.note(&format!("{why}; retrying in {}", words::duration(*wait)));
            }
            News::StartsOver { why } => self.note(&format!("starting over: {why}")),
            News::NextUrl { why } => self.note(&format!("{why}; trying the next address")),
            News::Checks { target, bytes } => {
                let name = target.file_name().unwrap_or_default().to_string_lossy();
                self.note(&format!("checking {name}, {}", words::size(*bytes)));
            }
        }
    }

    pub(super) fn proof(&mut self, proof: &Proof) {
        self.note(&match proof {
            Proof::Published => "matches the published checksum".to_owned(),
            Proof::Remembered { record } => {
                format!("matches the checksum of the first download (`{}`)", record.display())
            }
            Proof::FirstSeen { record } => format!(
                "no checksum is published: its sha256 is recorded in `{}` and checked from now on",
                record.display()
            ),
            Proof::None => "not checked, as no checksum is known".to_owned(),
        });
    }

    /// Prints a line that stays.
    pub(super) fn note(&self, text: &str) {
        let line = format!("{}: {text}", self.name);
        match &self.screen {
            Screen::Bar(bar) => bar.println(line),
            Screen::Plain { .. } => printer::note(&line),
            Screen::Quiet => {}
        }
    }

    /// Removes the bar; printed lines stay.
    pub(super) fn finish(&self) {
        if let Screen::Bar(bar) = &self.screen {
            bar.finish_and_clear();
        }
    }

    fn waits(&self, path: &std::path::Path) {
        self.note(&format!("waiting for another process that uses `{}`", path.display()));
    }

    fn amount(&mut self, verb: &str, done: u64, total: Option<u64>) {
        if let Screen::Bar(bar) = &self.screen {
            bar.set_length(total.unwrap_or(done).max(done));
            bar.set_position(done);
            bar.set_message(verb.to_owned());
            return;
        }
        let of =
            total.map_or(String::new(), |total| format!(" of {}", words::size(total.max(done))));
        self.far(&format!("{}{of} {verb}", words::size(done)));
    }

    /// Prints how far it is, but not every time it is called.
    fn far(&mut self, text: &str) {
        match &mut self.screen {
            Screen::Bar(bar) => bar.set_message(text.to_owned()),
            Screen::Plain { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                self.note(text);
            }
            Screen::Plain { .. } | Screen::Quiet => {}
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    let template = "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes} \
                    {binary_bytes_per_sec} {eta} {msg}";
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::no_length().with_style(style).with_prefix(name.to_owned())
}
