//! `sweep eval RUN`: makes more scores of a trained run.

use std::num::NonZeroU32;

use anyhow::Context as _;

use super::fault::{Exit, fault};
use super::{Context, eval_adapter, index, run, runs};
use crate::device;
use crate::experiment::{self, RunFile, RunSpec};
use crate::fs::{ResultsDir, write_atomic};
use crate::id::RunId;
use crate::resolve;

/// Make more scores of a trained run (other sets, corruptions, levels or protocols), or score any
/// adapter file, without training
///
/// Of a run only missing scores are made; they are added to it, and experiments that ask for them
/// later reuse them. An adapter file needs `--weights`, and the dataset as
/// `--set data.kind=… --set data.root=…`; its scores are only printed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The run's id or the start of it, as the table's last column shows it; or `latest`
    #[arg(required_unless_present = "adapter", conflicts_with = "adapter")]
    pub run: Option<String>,
    #[command(flatten)]
    pub adapter: eval_adapter::Args,
    /// Corruption suite, or `none`
    #[arg(long, value_name = "SUITE")]
    pub suite: Option<String>,
    /// Levels of each corruption, e.g. `1,2,3,4,5`
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    pub severities: Vec<u8>,
    /// Splits to score, e.g. `val,train`
    #[arg(long, value_name = "SPLITS", value_delimiter = ',')]
    pub sets: Vec<String>,
    /// Set any other key of `eval`, e.g. `eval.tta.flip=true`; for an adapter also of `data`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[arg(long, value_name = "DEVICE", help = device::ALLOWED)]
    pub device: Option<device::Request>,
    /// Number of workers at once on the CPU
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU32>,
}

/// Name of the experiment that the scores of this verb are shown under.
const NAME: &str = "eval";

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if let Some(adapter) = &args.adapter.adapter {
        let sets = overrides(args, &["eval", "data"])?;
        let asked = eval_adapter::Asked { adapter, sets: &sets, device: args.device.as_ref() };
        return eval_adapter::run(&args.adapter, &asked, context);
    }
    let prefix = args.run.as_deref().expect("clap requires a run without an adapter");
    let results = context.results()?;
    let (run, file) = find(prefix, &results)?;
    let sets = overrides(args, &["eval"])?;
    // An experiment of one cell, whose file says exactly what this run is.
    let path = results.experiments().join(NAME).join("experiment.toml");
    write_atomic(&path, experiment_text(&file.spec)?.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let (mut experiment, machine) = context.experiment(&path, &sets)?;
    if let Some(device) = &args.device {
        experiment.schedule.devices.clone_from(device);
    }
    if let Some(jobs) = args.jobs {
        experiment.schedule.jobs = jobs.get();
    }
    let _coordinator = run::coordinate(&results, &experiment.name)?;
    let resolution = resolve::cells(&experiment, &machine, &results);
    let cells = resolution.all().map_err(|missing| super::fetch::lacking(&missing))?;
    if let Some(other) = cells.iter().find(|resolved| resolved.run != run) {
        let changed = experiment::changed(&file.identity, &other.identity);
        let changed: Vec<_> = changed.iter().map(|key| format!("`{key}`")).collect();
        let changed = changed.join(", ");
        return Err(fault(
            Exit::SomeFailed,
            format_args!("run {run} cannot be scored: changed since it was trained: {changed}"),
        ));
    }
    let output = run::Output::Terminal;
    run::carry_out(&run::Invocation { context, experiment, results, cells, output })
}

/// The trained run that `text` means, and what it was made of.
fn find(text: &str, results: &ResultsDir) -> anyhow::Result<(RunId, RunFile)> {
    let run = runs::find(results, text)?;
    let details = index::ask(results, async |store| Ok(store.run_details(&run).await?))?;
    if !details.state.trained {
        let words = format!("run {run} is not fully trained: `sweep run` its experiment first");
        return Err(fault(Exit::SomeFailed, words));
    }
    let path = results.run(&run).spec();
    let bytes = fs_err::read(&path)?;
    let file = serde_json::from_slice(&bytes)
        .with_context(|| format!("`{}` is damaged", path.display()))?;
    Ok((run, file))
}

/// The keys that the flags set, in the form of `--set`.
fn overrides(args: &Args, groups: &[&str]) -> anyhow::Result<Vec<String>> {
    let refused = args.set.iter().find(|text| {
        let key = text.split('=').next().unwrap_or_default().trim();
        !groups.contains(&key.split('.').next().unwrap_or_default())
    });
    if let Some(text) = refused {
        return Err(fault(
            Exit::Usage,
            format_args!(
                "--set {text}: only keys of `{}` can be set; others would change the run",
                groups.join("` and `")
            ),
        ));
    }
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let mut sets = args.set.clone();
    sets.extend(args.suite.as_ref().map(|suite| format!("eval.corruption.suite={suite}")));
    if !args.severities.is_empty() {
        let levels = list(args.severities.iter().map(u8::to_string).collect());
        sets.push(format!("eval.corruption.severities={levels}"));
    }
    if !args.sets.is_empty() {
        let names = list(args.sets.iter().map(|name| format!("{name:?}")).collect());
        sets.push(format!("eval.sets={names}"));
    }
    Ok(sets)
}

/// An experiment file of this one run.
fn experiment_text(spec: &RunSpec) -> anyhow::Result<String> {
    let spec = toml::to_string(spec).context("cannot write the run's spec as TOML")?;
    Ok(format!("# Written by `sweep eval`.\nname = \"{NAME}\"\n{spec}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::seeded;

    fn args() -> Args {
        Args {
            run: Some("a".into()),
            adapter: eval_adapter::Args { adapter: None, weights: None, px: None, json: false },
            suite: None,
            severities: vec![],
            sets: vec![],
            set: vec![],
            device: None,
            jobs: None,
        }
    }

    #[test]
    fn flags_are_keys_of_eval() {
        let args = Args {
            suite: Some("none".into()),
            severities: vec![1, 5],
            sets: vec!["val".into(), "train".into()],
            set: vec!["eval.tta.flip=true".into()],
            ..args()
        };
        assert_eq!(
            overrides(&args, &["eval"]).unwrap(),
            [
                "eval.tta.flip=true",
                "eval.corruption.suite=none",
                "eval.corruption.severities=[1, 5]",
                "eval.sets=[\"val\", \"train\"]",
            ]
        );
        let other = Args { set: vec!["train.lr=1".into()], ..self::args() };
        assert_eq!(Exit::of(&overrides(&other, &["eval"]).unwrap_err()), Exit::Usage);
    }

    #[test]
    fn the_experiment_of_a_run_is_that_run() {
        let spec = seeded(3);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        write_atomic(&path, experiment_text(&spec).unwrap().as_bytes()).unwrap();
        let layers =
            experiment::Layers { experiment: &path, machine_file: None, env: &[], set: &[] };
        let (experiment, _) = experiment::load_experiment(&layers).unwrap();
        assert_eq!(experiment.cells.len(), 1);
        assert_eq!(experiment.cells[0].spec, spec);
    }
}
