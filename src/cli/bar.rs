//! The progress of a verb that works through a list: a bar on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::printer;

/// Shares of the work after which a plain line is printed, in percent.
const STEP_PERCENT: usize = 10;
/// Shortest list that is worth plain lines.
const LINES_FROM: usize = 10;

/// Progress through things of one kind.
pub struct Bar {
    drawn: Option<ProgressBar>,
    /// The things in the plural.
    what: &'static str,
    /// How many there are, if that is known.
    n: Option<usize>,
    done: usize,
    /// Percent that plain lines have shown.
    shown: usize,
}

impl Bar {
    /// A bar for `n` things, or for as many as come; `what` they are, in the plural.
    pub fn new(what: &'static str, n: Option<usize>) -> Self {
        let is_shown = !printer::is_quiet() && std::io::stderr().is_terminal();
        let drawn = is_shown.then(|| {
            let (bar, template) = match n {
                Some(n) => (ProgressBar::new(n as u64), "{bar:30} {pos}/{len} {msg}, {eta} left"),
                None => (ProgressBar::no_length(), "{spinner} {pos} {msg}, {elapsed}"),
            };
            let style = ProgressStyle::with_template(template).expect("written as templates are");
            bar.with_style(style).with_message(what)
        });
        Self { drawn, what, n, done: 0, shown: 0 }
    }

    /// Counts one more.
    pub fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.drawn {
            return bar.inc(1);
        }
        let Some(n) = self.n.filter(|n| (LINES_FROM..).contains(n)) else { return };
        let percent = 100 * self.done / n;
        if percent >= self.shown + STEP_PERCENT && self.done < n {
            self.shown = percent;
            printer::aside(&format_args!("{}/{n} {}", self.done, self.what));
        }
    }

    /// Prints a line that stays, whatever happens to the bar.
    pub fn note(&self, text: &(impl Display + ?Sized)) {
        match &self.drawn {
            Some(bar) => bar.suspend(|| printer::note(text)),
            None => printer::note(text),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }
}
