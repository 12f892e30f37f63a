//! `sweep run EXPERIMENT`: plans, works until nothing is left to do, and shows the table.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::context::{now_ms, runtime};
use super::fault::{Exit, OrExit, fault};
use super::progress::view::RunTitle;
use super::progress::{Detail, Progress};
use super::{Context, fetch, plan as plan_verb, printer, signals, words};
use crate::device;
use crate::device::nvml::Gpu;
use crate::event::Line;
use crate::experiment::Experiment;
use crate::fs::{ResultsDir, RunDir};
use crate::host;
use crate::id::RunId;
use crate::plan::{self, PlannedRun};
use crate::report::{self, Columns, Format, Table};
use crate::resolve::{self, Job, Missing, Resolved};
use crate::schedule::coordinator::{self, Coordinator};
use crate::schedule::devices::{self, Host};
use crate::schedule::event_loop::{self, Index, Ports, Summary, Sweep};
use crate::schedule::journal::{ExperimentJournal, Recorded};
use crate::schedule::local::{LocalProcesses, this_program};
use crate::schedule::{Slot, orphans};
use crate::store::{self, RunState, Store};

/// Longest wait for an index that another program has locked: while workers run, when it is tried
/// again later and nothing else may wait; and when they are done.
const LOCKED_MAX: Duration = Duration::from_millis(500);
const LOCKED_MAX_AT_END: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Experiment file (TOML)
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: PathBuf,
    /// Number of workers at once on the CPU
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU32>,
    #[command(flatten)]
    pub start: Start,
}

/// The flags of all verbs that start runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Start {
    #[arg(long, value_name = "DEVICE", help = device::ALLOWED)]
    pub device: Option<device::Request>,
    /// Set a key, overriding all files and other flags, e.g. `train.epochs=2`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Download missing datasets and weights first, as `sweep fetch` does
    #[arg(long)]
    pub fetch: bool,
    #[command(flatten)]
    pub terms: fetch::Terms,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Start { device, set, fetch: fetches, terms } = &args.start;
    if !fetches && *terms != fetch::Terms::default() {
        return Err(fault(Exit::Usage, "`--accept-licence` and `--mirror` need `--fetch`"));
    }
    let (mut experiment, machine) = context.experiment(&args.experiment, set)?;
    if let Some(device) = device {
        experiment.schedule.devices.clone_from(device);
    }
    if let Some(jobs) = args.jobs {
        experiment.schedule.jobs = jobs.get();
    }
    let results = ResultsDir::new(&machine.results);
    let _coordinator = coordinate(&results, &experiment.name)?;
    let mut resolution = resolve::cells(&experiment, &machine, &results).all();
    if let (Err(missing), true) = (&resolution, *fetches) {
        fetch::get_missing(missing, terms, (&machine, context))?;
        resolution = resolve::cells(&experiment, &machine, &results).all();
    }
    let cells = resolution.map_err(|missing| fetch::lacking(&missing))?;
    carry_out(&Invocation { context, experiment, results, cells, output: Output::Files })
}

/// Works until nothing is left to do, and shows the table. The caller coordinates the folder.
pub(super) fn carry_out(invocation: &Invocation<'_>) -> anyhow::Result<Exit> {
    runtime()?.block_on(invocation.work())
}

/// Makes this process the coordinator of the results folder.
pub(super) fn coordinate(results: &ResultsDir, name: &str) -> anyhow::Result<Coordinator> {
    Coordinator::acquire(results, name, now_ms).map_err(|error| match error {
        coordinator::Error::Held { .. } => fault(Exit::Busy, error),
        coordinator::Error::Io { .. } => anyhow::Error::new(error),
    })
}

/// Where the table goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Terminal,
    /// To the terminal and into the results folder.
    Files,
}

/// One experiment to carry out, everything looked up.
pub(super) struct Invocation<'a> {
    pub(super) context: &'a Context,
    pub(super) experiment: Experiment,
    pub(super) results: ResultsDir,
    pub(super) cells: Vec<Resolved>,
    pub(super) output: Output,
}

/// What is left to do, and where.
struct Work {
    jobs: Vec<Job>,
    slots: Vec<Slot>,
}

impl Invocation<'_> {
    async fn work(&self) -> anyhow::Result<Exit> {
        let started = Instant::now();
        let store = Store::open(&self.results).await?;
        store.ingest_all().await?;
        let states = store.run_status().await?;
        let planned = plan::plan(&resolve::wanted(&self.cells), &states);
        self.announce(&planned, &states);
        self.warn_of_another_table()?;
        let with_work = plan::with_work(&planned);
        let misfits = Missing::of(&resolve::misfits(&self.cells, &with_work));
        misfits.map_or(Ok(()), Err).or_exit(Exit::Environment)?;
        let jobs = resolve::jobs(&self.cells, &with_work);
        // Chosen first: a plan that cannot be worked on does not replace the one before.
        let slots = if jobs.is_empty() { Vec::new() } else { self.slots(&jobs).await? };
        let mut journal = self.record_plan(&store).await?;
        let summary = if jobs.is_empty() {
            Summary::default()
        } else {
            let mut progress = Progress::new(&self.titles(&jobs, &states), self.detail());
            let work = Work { jobs, slots };
            let summary = self.sweep(work, &store, &mut journal, &mut progress).await;
            progress.finish();
            summary?
        };
        self.conclude(&summary, started.elapsed());
        self.bring_up_to_date(&store).await?;
        if !summary.interrupted {
            self.show_table(&store).await?;
        }
        store.close().await;
        Ok(exit_of(&summary))
    }

    fn detail(&self) -> Detail {
        let globals = &self.context.globals;
        match (globals.quiet, globals.verbose) {
            (true, _) => Detail::Quiet,
            (false, 0) => Detail::Auto,
            (false, _) => Detail::Plain,
        }
    }

    /// Brings into the index what it missed while it was locked. Ctrl-C ends the wait.
    async fn bring_up_to_date(&self, store: &Store) -> anyhow::Result<()> {
        let mut stops = signals::stops().context("cannot listen to signals")?;
        let ingest = async {
            store.wait_for_locks(LOCKED_MAX_AT_END).await?;
            store.ingest_all().await
        };
        tokio::select! {
            ingested = ingest => ingested.map(|_| ()).context(
                "the runs ended as listed above, but the index is not up to date; run the same \
                 command again to update it and show the table",
            ),
            Some(_) = stops.recv() => {
                Err(fault(Exit::Interrupted, "interrupted before the index was up to date"))
            }
        }
    }

    async fn record_plan(&self, store: &Store) -> anyhow::Result<ExperimentJournal> {
        let name = &self.experiment.name;
        let mut journal = ExperimentJournal::open(&self.results.experiment_journal(name), now_ms)
            .context("cannot open the journal of the experiment")?;
        let recorded = journal
            .append_plan(resolve::planned(&self.experiment, &self.cells))
            .context("cannot write the journal of the experiment")?;
        if recorded == Recorded::Appended {
            store.ingest_experiment(name).await?;
        }
        Ok(journal)
    }

    fn announce(&self, planned: &[PlannedRun], states: &BTreeMap<RunId, RunState>) {
        let older = plan_verb::older_note(&self.cells, planned, states);
        for note in self.experiment.warnings.iter().chain(&older) {
            printer::aside(&format_args!("note: {note}"));
        }
        for note in resolve::data_notes(&self.cells, &self.results) {
            printer::aside(&format_args!("warning: {note}"));
        }
        let counts = plan_verb::counts(planned, 0);
        printer::aside(&format_args!("{}: {counts}", self.experiment.name));
    }

    /// Warns before anything is done, so that there is time to choose another name.
    fn warn_of_another_table(&self) -> anyhow::Result<()> {
        if self.output == Output::Terminal {
            return Ok(());
        }
        let name = &self.experiment.name;
        let runs: Vec<_> = self.cells.iter().map(|resolved| &resolved.run).collect();
        let others = report::files_of_others(&self.results, name, &runs)
            .context("cannot read the existing table")?;
        if !others.is_empty() {
            let paths: Vec<_> = others.iter().map(|path| format!("`{}`", path.display())).collect();
            printer::note(&format_args!(
                "warning: {} of other runs will be replaced, as an earlier experiment was also \
                 called `{name}`; to keep both, change `name` in the experiment file, or use \
                 another `--results`",
                paths.join(" and ")
            ));
        }
        Ok(())
    }

    fn titles(&self, jobs: &[Job], states: &BTreeMap<RunId, RunState>) -> Vec<RunTitle> {
        let titles = resolve::titles(&self.cells);
        let none = RunState::default();
        jobs.iter()
            .map(|job| {
                let run = &job.file.run;
                let state = states.get(run).unwrap_or(&none);
                let made = job.scores.iter().filter(|s| state.scores.contains(&s.score)).count();
                RunTitle {
                    run: run.clone(),
                    title: titles.get(run).cloned().unwrap_or_else(|| run.to_string()),
                    trained: state.trained,
                    scores_wanted: job.scores.len() as u32,
                    scores_made: made as u32,
                }
            })
            .collect()
    }

    async fn sweep(
        &self,
        work: Work,
        store: &Store,
        journal: &mut ExperimentJournal,
        progress: &mut Progress,
    ) -> anyhow::Result<Summary> {
        let stops = signals::stops().context("cannot listen to signals")?;
        store.wait_for_locks(LOCKED_MAX).await?;
        let (send_exit, exits) = mpsc::unbounded_channel();
        let executor = LocalProcesses::new(this_program()?, send_exit);
        let schedule = &self.experiment.schedule;
        let sweep = Sweep {
            results: self.results.clone(),
            jobs: work.jobs,
            slots: work.slots,
            retries: schedule.retries,
            terms: schedule.terms,
        };
        let mut tell = |news: &event_loop::News<'_>| progress.tell(news);
        let index = StoreIndex(store);
        let ports = Ports { executor, index, journal, exits, stops, tell: &mut tell };
        Ok(event_loop::run(sweep, ports).await?)
    }

    async fn slots(&self, jobs: &[Job]) -> anyhow::Result<Vec<Slot>> {
        let schedule = &self.experiment.schedule;
        let request = &schedule.devices;
        let mut hardware = super::device::hardware(request);
        if hardware.gpus.visible.iter().any(Gpu::is_in_use) {
            let tell = || printer::aside("waiting for an earlier worker to save and exit");
            let waited = orphans::wait(&self.results, jobs, tell).await;
            if waited.context("cannot look for earlier workers")? {
                hardware = super::device::hardware(request);
            }
        }
        let host = Host { cores: host::cores(), hardware: &hardware };
        let chosen = devices::slots(request, schedule.jobs, schedule.threads, host)
            .or_exit(Exit::Environment)?;
        for note in &chosen.notes {
            printer::aside(&format_args!("note: {note}"));
        }
        refuse_a_precision(jobs, &chosen.slots)?;
        Ok(chosen.slots)
    }

    fn conclude(&self, summary: &Summary, elapsed: Duration) {
        let titles = resolve::titles(&self.cells);
        for failure in &summary.failures {
            let title = titles.get(&failure.run).map_or("", String::as_str);
            printer::note(&format_args!(
                "failed: {title} (run {}): {}",
                failure.run, failure.reason
            ));
            if let Some(log) = &failure.log {
                printer::note(&format_args!("  log: {}", log.display()));
            }
        }
        if *summary == Summary::default() {
            return;
        }
        printer::aside(&totals(summary, elapsed));
        if summary.interrupted {
            printer::aside("state is saved; run the same command again to continue");
        }
    }

    async fn show_table(&self, store: &Store) -> anyhow::Result<()> {
        let Some(rows) = store.experiment(&self.experiment.name).await? else { return Ok(()) };
        let table = Table::new(&rows);
        printer::data(&Format::Terminal.render(&table, Columns::Usual));
        if self.output == Output::Terminal {
            return Ok(());
        }
        let paths = report::write_files(&self.results, &table).context("cannot write the table")?;
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        printer::aside(&format_args!("table written to {}", paths.join(" and ")));
        Ok(())
    }
}

/// Refuses work in a number format that one of the chosen devices lacks, before anything starts.
fn refuse_a_precision(jobs: &[Job], slots: &[Slot]) -> anyhow::Result<()> {
    for slot in slots {
        let lacks = |job: &&Job| !slot.device.computes_in(job.file.spec.train.precision.dtype());
        let Some(job) = jobs.iter().find(lacks) else { continue };
        return Err(fault(
            Exit::Environment,
            format_args!(
                "run {} asks for `train.precision = \"{}\"`, which `{}` cannot compute in: choose \
                 other devices (`--device cuda:0`), or f32",
                job.file.run, job.file.spec.train.precision, slot.device
            ),
        ));
    }
    Ok(())
}

fn exit_of(summary: &Summary) -> Exit {
    match (summary.interrupted, summary.failures.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, false) => Exit::SomeFailed,
        (false, true) => Exit::Done,
    }
}

/// `5 runs done, 1 failed, 2 left, in 3m 20s`.
fn totals(summary: &Summary, elapsed: Duration) -> String {
    let mut parts = vec![format!("{} done", words::count(summary.done as usize, "run"))];
    if !summary.failures.is_empty() {
        parts.push(format!("{} failed", summary.failures.len()));
    }
    if summary.left > 0 {
        parts.push(format!("{} left", summary.left));
    }
    parts.push(format!("in {}", words::duration(elapsed)));
    parts.join(", ")
}

struct StoreIndex<'a>(&'a Store);

impl Index for StoreIndex<'_> {
    type Error = store::Error;

    async fn ingest(&mut self, dir: &RunDir) -> Result<Vec<Line>, store::Error> {
        self.0.ingest_run(dir).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::event_loop::Failure;

    fn failure() -> Failure {
        let run = RunId::parse("00000000000000aa").unwrap();
        Failure { run, reason: "x".to_owned(), log: None }
    }

    #[test]
    fn the_exit_says_how_it_went() {
        let check = |failures, interrupted, expect| {
            let summary = Summary { failures, interrupted, ..Summary::default() };
            assert_eq!(exit_of(&summary), expect);
        };
        check(vec![], false, Exit::Done);
        check(vec![failure()], false, Exit::SomeFailed);
        check(vec![], true, Exit::Interrupted);
        check(vec![failure()], true, Exit::Interrupted);
    }

    #[test]
    fn totals_name_only_what_there_is() {
        let minute = Duration::from_mins(1);
        let summary = Summary { done: 1, ..Summary::default() };
        assert_eq!(totals(&summary, minute), "1 run done, in 1m 00s");
        let summary = Summary { done: 5, failures: vec![failure()], left: 2, interrupted: true };
        assert_eq!(totals(&summary, minute), "5 runs done, 1 failed, 2 left, in 1m 00s");
    }
}
