//! `sweep train`: one run by the reference project's flags, through the same path as a grid of one.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::fault::{Exit, fault};
use super::{Context, index, printer, run};
use crate::fs::{ResultsDir, write_atomic};
use crate::schedule::journal;
use crate::store::EpochRow;

/// What is different here, said once.
const DIFFERENT: &str = "unlike the reference project: mIoU is the true one, from one confusion \
     matrix (its own metric is in `sweep table --columns all`); the weights of the last epoch are \
     scored; the frozen encoder stays in eval mode; everything is drawn from `--seed`";

/// The recipe whose keys are the reference project's.
const REFERENCE: &str = "reference";

/// Passes over the training images where neither the user nor another recipe says.
const EPOCHS: u32 = 20;

/// Images that `--debug` draws.
const PICTURES: u32 = 4;

/// Longest name of an experiment.
const NAME_MAX: usize = 64;

/// Train and score one run by the reference project's flags
///
/// Flags and defaults are those of `main.py` of `RobvanGastel/dinov2-finetune`; they may be written
/// with `_` or `-`. The same command goes on where it stopped.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the experiment
    #[arg(long, alias = "exp_name", value_name = "NAME", default_value = "lora")]
    pub exp_name: String,
    /// Dataset, `voc` or `ade20k`, or another kind whose keys `--set` gives
    #[arg(long, value_name = "KIND", default_value = "ade20k")]
    pub dataset: String,
    /// Size of the encoder: `small`, `base`, `large`, `giant`, or another
    #[arg(long, default_value = "large")]
    pub size: String,
    /// LoRA's rank; without `--use-lora` it means nothing
    #[arg(long, value_name = "RANK", default_value = "3")]
    pub r: NonZeroU32,
    /// Adapt q and v of each block by LoRA; else the encoder is frozen
    #[arg(long, alias = "use_lora")]
    pub use_lora: bool,
    /// `dinov2` or `dinov3`
    #[arg(long, alias = "dino_type", value_name = "TYPE", default_value = "dinov3")]
    pub dino_type: String,
    /// Decode by a pyramid of several layers instead of a 1x1 convolution
    #[arg(long, alias = "use_fpn")]
    pub use_fpn: bool,
    /// Adapter that training starts from: of a run, or of the reference project (`.pt`)
    #[arg(long, alias = "lora_weights", value_name = "FILE")]
    pub lora_weights: Option<PathBuf>,
    /// Height and width of the input, lowered to whole patches [default: the recipe's, 490 490]
    #[arg(long, alias = "img_dim", num_args = 2, value_names = ["H", "W"])]
    pub img_dim: Option<Vec<u32>>,
    /// Passes over the training images [default: 20, or the recipe's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<NonZeroU32>,
    /// Learning rate of all that is trained [default: the recipe's, 3e-4]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Images a step [default: the recipe's, 12]
    #[arg(long, alias = "batch_size", value_name = "N")]
    pub batch_size: Option<NonZeroU32>,
    /// Values of the other keys: `reference`, or `modern`
    #[arg(long, default_value = REFERENCE)]
    pub recipe: String,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0)]
    pub seed: u32,
    /// Draw images with labels and predictions at each validation, and write the epochs' losses and
    /// scores to `metrics.json`
    #[arg(long)]
    pub debug: bool,
    /// Write the experiment file that these flags stand for, and do nothing else
    #[arg(long, value_name = "FILE")]
    pub write_spec: Option<PathBuf>,
    #[command(flatten)]
    pub start: run::Start,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    check_name(&args.exp_name)?;
    let text = spec(args);
    if let Some(path) = &args.write_spec {
        return write_spec(path, &text);
    }
    let results = context.results()?;
    let path = results.experiments().join(&args.exp_name).join("train.toml");
    write_atomic(&path, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    printer::aside(&format_args!("note: {DIFFERENT}"));
    let run = run::Args { experiment: path, jobs: None, start: args.start.clone() };
    let exit = run::run(&run, context)?;
    if args.debug {
        write_metrics(&results, &args.exp_name)?;
    }
    Ok(exit)
}

/// Writes the losses and scores of the epochs under the names that the reference project has for
/// them, and says where they are.
fn write_metrics(results: &ResultsDir, name: &str) -> anyhow::Result<()> {
    let plan = journal::last_plan(&results.experiment_journal(name))?;
    let Some(cell) = plan.and_then(|plan| plan.cells.into_iter().next()) else { return Ok(()) };
    let details = index::ask(results, async |store| Ok(store.run_details(&cell.run).await?))?;
    let epochs = &details.epochs;
    // None where the epoch was not validated.
    let val_iou = |row: &EpochRow| row.validations.first().and_then(|(_, miou)| *miou);
    let metrics = json!({
        "epoch": epochs.iter().map(|row| row.epoch).collect::<Vec<_>>(),
        "train_loss": epochs.iter().map(|row| row.loss_mean).collect::<Vec<_>>(),
        "val_iou": epochs.iter().map(val_iou).collect::<Vec<_>>(),
    });
    let path = results.experiments().join(name).join("metrics.json");
    let text = serde_json::to_string_pretty(&metrics)? + "\n";
    write_atomic(&path, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let pictures = results.run(&cell.run).picture(0);
    let pictures = pictures.parent().unwrap_or(&path).display();
    printer::aside(&format_args!("wrote `{}`; pictures are in `{pictures}`", path.display()));
    Ok(())
}

/// Refuses a name that cannot be that of a folder, before one is made.
fn check_name(name: &str) -> anyhow::Result<()> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(());
    }
    let words = format_args!(
        "--exp-name: `{name}` cannot name an experiment; allowed: 1 to {NAME_MAX} of a-z, 0-9, _ \
         and -"
    );
    Err(fault(Exit::Usage, words))
}

fn write_spec(path: &Path, text: &str) -> anyhow::Result<Exit> {
    let shown = path.display();
    if path.exists() {
        let words = format_args!("`{shown}` exists: name another file, or remove it first");
        return Err(fault(Exit::Usage, words));
    }
    write_atomic(path, text.as_bytes()).with_context(|| format!("cannot write `{shown}`"))?;
    printer::aside(&format_args!("wrote `{shown}`; start it with `sweep run {shown}`"));
    Ok(Exit::Done)
}

/// The experiment file that the flags stand for.
fn spec(args: &Args) -> String {
    let is_reference = args.recipe == REFERENCE;
    let decoder = match (args.use_fpn, is_reference) {
        (false, _) => "linear",
        (true, true) => "fpn_reference",
        (true, false) => "fpn",
    };
    let rank = if args.use_lora { args.r.get() } else { 0 };
    let mut text = format!(
        "# Written by `sweep train`.\nname = {}\nsize = {}\ndino_type = {}\nlora_rank = {rank}\n\
         decoder = \"{decoder}\"\ndataset = {}\nseed = {}\n",
        quoted(&args.exp_name),
        quoted(&args.size),
        quoted(&args.dino_type),
        quoted(&args.dataset),
        args.seed
    );
    if let Some(path) = &args.lora_weights {
        line(
            &mut text,
            "init",
            format_args!("{{ adapter = {} }}", quoted(&path.to_string_lossy())),
        );
    }
    text += "\n[train]\n";
    line(&mut text, "recipe", format_args!("{}", quoted(&args.recipe)));
    let epochs = args.epochs.map(NonZeroU32::get).or_else(|| is_reference.then_some(EPOCHS));
    if let Some(epochs) = epochs {
        line(&mut text, "epochs", format_args!("{epochs}"));
    }
    if let Some(size) = args.batch_size {
        line(&mut text, "batch_size", format_args!("{size}"));
    }
    if let Some(lr) = args.lr {
        line(&mut text, "lr", format_args!("{lr:e}"));
        line(&mut text, "lr_encoder", format_args!("{lr:e}"));
    }
    if let Some([height, width]) = args.img_dim.as_deref() {
        line(&mut text, "input", format_args!("{{ px = [{height}, {width}] }}"));
    }
    if is_reference && args.dataset == "ade20k" {
        // Void is background on VOC only; ADE20K's "other" is ignored.
        line(&mut text, "void_label", format_args!("\"ignore\""));
    }
    if args.debug {
        text += "\n[schedule]\n";
        line(&mut text, "pictures", format_args!("{PICTURES}"));
    }
    text + "\n[eval]\nsets = [\"val\"]\ncorruption = { suite = \"none\" }\n"
}

fn line(text: &mut String, key: &str, value: std::fmt::Arguments<'_>) {
    writeln!(text, "{key} = {value}").expect("a string takes every text");
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn spec_of(flags: &str) -> String {
        spec(&Cli::try_parse_from(format!("train {flags}").split_whitespace()).unwrap().args)
    }

    #[test]
    fn flags_may_be_written_either_way() {
        let flags = "--exp_name base_voc --dataset voc --size base --dino_type dinov3 --img_dim 308 \
                     308 --epochs 50 --use_fpn --use_lora --lora_weights a.pt --batch_size 8";
        let dashed = flags.replace("exp_name", "exp-name").replace("dino_type", "dino-type");
        let dashed = dashed.replace("img_dim", "img-dim").replace("use_", "use-");
        let dashed = dashed.replace("lora_weights", "lora-weights");
        let dashed = dashed.replace("batch_size", "batch-size");
        assert_eq!(spec_of(flags), spec_of(&dashed));
    }

    #[test]
    fn the_readme_command_of_the_reference_project_is_a_frozen_encoder_with_its_pyramid() {
        insta::assert_snapshot!(spec_of("--exp_name base_voc --dataset voc --size base --dino_type dinov3 --img_dim 308 308 --epochs 50 --use_fpn"), @r#"
    # Written by `sweep train`.
    name = "base_voc"
    size = "base"
    dino_type = "dinov3"
    lora_rank = 0
    decoder = "fpn_reference"
    dataset = "voc"
    seed = 0

    [train]
    recipe = "reference"
    epochs = 50
    input = { px = [308, 308] }

    [eval]
    sets = ["val"]
    corruption = { suite = "none" }
    "#);
    }

    #[test]
    fn defaults_are_those_of_the_reference_project() {
        insta::assert_snapshot!(spec_of("--use_lora"), @r#"
    # Written by `sweep train`.
    name = "lora"
    size = "large"
    dino_type = "dinov3"
    lora_rank = 3
    decoder = "linear"
    dataset = "ade20k"
    seed = 0

    [train]
    recipe = "reference"
    epochs = 20
    void_label = "ignore"

    [eval]
    sets = ["val"]
    corruption = { suite = "none" }
    "#);
    }

    #[test]
    fn names_that_are_no_folder_are_refused() {
        for name in ["", "../x", "a b", "A", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("base_voc-2").is_ok());
    }
}
