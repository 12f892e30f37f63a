//! Live progress of a sweep: bars on a terminal, plain lines elsewhere.

pub mod view;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{printer, words};
use crate::error::with_sources;
use crate::event::{Event, Line};
use crate::id::RunId;
use crate::schedule::event_loop::{Error, News};
use crate::schedule::retry::{Ending, Verdict};
use crate::schedule::stop::Stopping;
use view::{RunTitle, State, SweepView};

/// The display of the scheduler's news.
pub struct Progress {
    view: SweepView,
    started: Instant,
    screen: Screen,
}

enum Screen {
    Bars { multi: MultiProgress, sweep: ProgressBar, runs: BTreeMap<RunId, ProgressBar> },
    Plain,
    Quiet,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Bars on a terminal, else plain lines.
    Auto,
    /// Plain lines everywhere, as log lines come between.
    Plain,
    /// Failures only.
    Quiet,
}

impl Progress {
    pub fn new(titles: &[RunTitle], detail: Detail) -> Self {
        let screen = match detail {
            Detail::Quiet => Screen::Quiet,
            Detail::Auto if std::io::stderr().is_terminal() => {
                let multi = MultiProgress::new();
                let sweep = multi.add(text_bar());
                Screen::Bars { multi, sweep, runs: BTreeMap::new() }
            }
            Detail::Auto | Detail::Plain => Screen::Plain,
        };
        Self { view: SweepView::new(titles), started: Instant::now(), screen }
    }

    /// Takes in what happened and shows it.
    pub fn tell(&mut self, news: &News<'_>) {
        match news {
            News::Started { run, attempt, device } => {
                self.started(run, *attempt, &device.to_string());
            }
            News::Waiting { run } => self.waiting(run),
            News::Lines { run, lines } => self.lines(run, lines),
            News::Ended { run, ending, verdict } => self.ended(run, ending, *verdict),
            News::Stopping { how, n_workers } => self.stopping(*how, *n_workers),
            News::Failing { error, n_workers } => self.failing(error, *n_workers),
            News::IndexFails { error } => self.print(&format!(
                "warning: {}; the sweep goes on and retries, but shows no progress until then",
                with_sources(*error)
            )),
            News::IndexWorks => self.print("the index works again"),
            News::Tick => {}
        }
        self.redraw();
    }

    /// Removes the bars; printed lines stay.
    pub fn finish(self) {
        if let Screen::Bars { multi, .. } = self.screen {
            // A terminal that is gone needs no clearing.
            let _ = multi.clear();
        }
    }

    fn started(&mut self, run: &RunId, attempt: u32, device: &str) {
        let title = self.title(run);
        let (begun, total) =
            (self.view.ended() as usize + self.view.running().count() + 1, self.view.total());
        if let Some(run) = self.view.run_mut(run) {
            run.state = State::Running;
        }
        match &mut self.screen {
            Screen::Bars { multi, runs, .. } => {
                runs.entry(run.clone()).or_insert_with(|| multi.add(text_bar()));
            }
            Screen::Plain => {
                let again =
                    if attempt == 1 { String::new() } else { format!(", attempt {attempt}") };
                printer::note(&format_args!(
                    "[{begun}/{total}] {title}: starts on {device}{again} (run {run})"
                ));
            }
            Screen::Quiet => {}
        }
    }

    fn waiting(&mut self, run: &RunId) {
        if let Some(run) = self.view.run_mut(run) {
            run.state = State::Waiting;
            if let Screen::Plain = self.screen {
                printer::note(&run.line());
            }
        }
    }

    fn lines(&mut self, run: &RunId, lines: &[Line]) {
        for line in lines {
            if let Some(run) = self.view.run_mut(run) {
                run.hear(line);
            }
            let is_shown = match self.screen {
                Screen::Bars { .. } => is_for_everyone(&line.event),
                Screen::Plain => is_for_everyone(&line.event) || is_milestone(&line.event),
                Screen::Quiet => false,
            };
            if is_shown {
                self.print(&format!("{}: {}", self.title(run), words::event(&line.event)));
            }
        }
    }

    fn ended(&mut self, run: &RunId, ending: &Ending, verdict: Verdict) {
        match verdict {
            Verdict::Finished => self.view.done += 1,
            Verdict::GiveUp => self.view.failed += 1,
            Verdict::Retry | Verdict::Leave => {}
        }
        if let Some(run) = self.view.run_mut(run) {
            run.state = match verdict {
                Verdict::Finished => State::Done,
                Verdict::GiveUp => State::Failed,
                Verdict::Retry | Verdict::Leave => State::Queued,
            };
        }
        if let Screen::Bars { multi, runs, .. } = &mut self.screen
            && let Some(bar) = runs.remove(run)
        {
            bar.finish_and_clear();
            multi.remove(&bar);
        }
        // What failed for good is listed at the end.
        if !matches!(self.screen, Screen::Quiet) {
            let line = format!("{}: {}", self.title(run), end_words(ending, verdict));
            self.print(&line);
        }
    }

    fn stopping(&mut self, how: Stopping, n_workers: usize) {
        let workers = words::count(n_workers, "worker");
        match how {
            Stopping::No => {}
            Stopping::Asked => self.print(&format!(
                "stopping: waiting for {workers} to save; Ctrl-C again kills without saving"
            )),
            Stopping::Killed => self.print(&format!("killing {workers}")),
        }
    }

    /// Prints an error that ends the sweep, unless there are no workers to wait for: then the
    /// program ends with it at once.
    fn failing(&self, error: &Error, n_workers: usize) {
        if n_workers > 0 {
            self.print(&format!("error: {}", with_sources(error)));
        }
    }

    fn title(&self, run: &RunId) -> String {
        self.view.run(run).map_or_else(|| run.to_string(), |run| run.title.clone())
    }

    fn print(&self, text: &str) {
        match &self.screen {
            Screen::Bars { multi, .. } => {
                // This fails on a closed terminal; the sweep goes on.
                let _ = multi.println(text);
            }
            Screen::Plain | Screen::Quiet => printer::note(text),
        }
    }

    fn redraw(&self) {
        let Screen::Bars { sweep, runs, .. } = &self.screen else { return };
        sweep.set_message(self.view.line(self.started.elapsed()));
        for (run, bar) in runs {
            if let Some(run) = self.view.run(run) {
                bar.set_message(format!("  {}", run.line()));
            }
        }
    }
}

/// A line of text that is redrawn in place; [`view`] draws our own bar.
fn text_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").expect("the template is well formed");
    ProgressBar::new_spinner().with_style(style)
}

/// Whether the event is shown both with bars and with plain lines.
fn is_for_everyone(event: &Event) -> bool {
    matches!(event, Event::Warning { .. } | Event::CheckpointRejected { .. })
}

/// Whether the event is shown where no bar shows how far a run is.
fn is_milestone(event: &Event) -> bool {
    matches!(
        event,
        Event::Resumed { .. }
            | Event::EpochEnded { .. }
            | Event::Validated { .. }
            | Event::ScoreEnded(_)
    )
}

fn end_words(ending: &Ending, verdict: Verdict) -> String {
    match (ending, verdict) {
        (Ending::Done, _) => "done".to_owned(),
        (Ending::Interrupted, Verdict::Retry) => "stopped from outside; retrying".to_owned(),
        (Ending::Interrupted, Verdict::GiveUp) => "stopped from outside; given up".to_owned(),
        (Ending::Interrupted, _) => "saved and stopped".to_owned(),
        (Ending::Failed { reason, .. }, Verdict::Retry) => format!("{reason}; retrying"),
        (Ending::Failed { reason, .. }, Verdict::Leave) => format!("stopped: {reason}"),
        (Ending::Failed { reason, .. }, _) => format!("failed: {reason}"),
    }
}
