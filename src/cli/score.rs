//! `sweep score`: scores of predictions that were saved as mask files.

use std::num::NonZeroU8;
use std::path::PathBuf;

use serde_json::json;

use super::fault::{Exit, OrExit};
use super::{printer, words};
use crate::eval::score::masks::{self, Error, Folders, Scored};
use crate::eval::score::per_image;
use crate::host;

/// Score index masks that anyone's program wrote, by the code behind the tables
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of predicted masks: PNG files of class indices, one for each mask of the truth
    #[arg(long, value_name = "DIR")]
    pub pred: PathBuf,
    /// Folder of ground truth masks, of the same names
    #[arg(long, value_name = "DIR")]
    pub truth: PathBuf,
    /// Number of classes; indices are 0 to N-1
    #[arg(long, value_name = "N")]
    pub classes: NonZeroU8,
    /// Value of the truth that is left out
    #[arg(long, value_name = "VALUE", default_value_t = crate::data::VOID)]
    pub ignore: u8,
    /// Print everything as JSON, with the confusion matrix (rows are the truth)
    #[arg(long)]
    pub json: bool,
}

/// Raised when the meaning of a key of `--json` changes.
const VERSION: u32 = 1;
/// Seed of the bootstrap.
const SEED: u64 = 0;

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let threads = host::cores().get() as usize;
    let folders = Folders {
        pred: args.pred.clone(),
        truth: args.truth.clone(),
        n_classes: usize::from(args.classes.get()),
        ignore: args.ignore,
        threads,
    };
    let scored = masks::score(&folders);
    let scored = match scored {
        Err(error @ (Error::List { .. } | Error::Empty(_))) => {
            Err(error).or_exit(Exit::Environment)?
        }
        other => other.or_exit(Exit::SomeFailed)?,
    };
    if scored.n_unused > 0 && !quiet {
        printer::note(&format_args!(
            "note: {} without a mask in `{}`",
            words::count(scored.n_unused, "prediction"),
            args.truth.display()
        ));
    }
    printer::data(&if args.json { as_json(&scored) } else { as_text(&scored) });
    Ok(Exit::Done)
}

fn as_json(scored: &Scored) -> String {
    let n = scored.confusion.n_classes();
    let rows: Vec<_> = (0..n).map(|class| scored.confusion.row(class)).collect();
    let value = json!({
        "version": VERSION,
        "metrics": scored.metrics,
        "miou_interval_95": per_image::interval(&scored.images, SEED),
        "confusion": rows,
    });
    format!("{value:#}\n")
}

fn as_text(scored: &Scored) -> String {
    let metrics = &scored.metrics;
    let percent = |x: f64| format!("{:.2}", 100.0 * x);
    let interval = per_image::interval(&scored.images, SEED).map_or(String::new(), |interval| {
        format!(
            " (95% of {} resampled sets: {} to {})",
            per_image::RESAMPLES,
            percent(interval.low),
            percent(interval.high)
        )
    });
    let mut lines = vec![
        format!(
            "mIoU {}{interval}, over the {}/{} classes present in the ground truth",
            percent(metrics.miou),
            metrics.classes_present,
            metrics.classes_total
        ),
        format!(
            "mIoU over classes with any union {}, frequency-weighted IoU {}",
            percent(metrics.miou_union.unwrap_or_default()),
            percent(metrics.iou_frequency_weighted.unwrap_or_default())
        ),
        format!(
            "pixel accuracy {}, mean accuracy {}",
            percent(metrics.pixel_accuracy),
            percent(metrics.accuracy_mean)
        ),
        format!(
            "reference project's metric (not an mIoU), image by image: {}",
            percent(metrics.reference_metric)
        ),
        format!("{} images, {} labelled pixels", metrics.n_images, metrics.n_pixels),
        "IoU by class:".to_owned(),
    ];
    lines.extend(metrics.iou_per_class.iter().enumerate().map(|(class, iou)| {
        let pixels = scored.confusion.row_sum(class);
        let iou = iou.map_or_else(|| "absent".to_owned(), percent);
        format!("  {class:>3}  {iou:>6}  {pixels} pixels")
    }));
    lines.join("\n") + "\n"
}
