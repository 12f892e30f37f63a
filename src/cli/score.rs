//! `sweep score`: scores predictions that were saved as mask files.

use std::num::NonZeroU8;
use std::path::PathBuf;

use serde_json::json;

use super::fault::{Exit, OrExit};
use super::words::percent;
use super::{Context, printer, words};
use crate::eval::score::masks::{self, Error, Folders, Scored};
use crate::eval::score::per_image;
use crate::host;

/// Score index masks that any program wrote, with the code behind the tables
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of predicted masks: PNG files of class indices, one for each ground truth mask
    #[arg(long, value_name = "DIR")]
    pub pred: PathBuf,
    /// Folder of ground truth masks, with the same names
    #[arg(long, value_name = "DIR")]
    pub truth: PathBuf,
    /// Number of classes; indices are 0 to N-1
    #[arg(long, value_name = "N")]
    pub classes: NonZeroU8,
    /// Value of ground truth pixels that are left out
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

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
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
    if scored.n_unused > 0 {
        printer::aside(&format_args!(
            "note: {} without a mask in `{}`",
            words::count(scored.n_unused, "prediction"),
            args.truth.display()
        ));
    }
    let ignore = args.ignore;
    printer::data(&if args.json { as_json(&scored, ignore) } else { as_text(&scored, ignore) });
    Ok(Exit::Done)
}

fn as_json(scored: &Scored, ignore: u8) -> String {
    let n = scored.confusion.n_classes();
    let rows: Vec<_> = (0..n).map(|class| scored.confusion.row(class)).collect();
    let value = json!({
        "version": VERSION,
        "metrics": scored.metrics,
        "undefined": undefined(scored, ignore),
        "miou_interval_95": per_image::interval(&scored.images, SEED),
        "confusion": rows,
    });
    format!("{value:#}\n")
}

/// Why there is no score; `None` where there is one.
fn undefined(scored: &Scored, ignore: u8) -> Option<String> {
    (scored.metrics.n_pixels == 0).then(|| {
        format!("the ground truth has no labelled pixel: all are {ignore}, which is left out")
    })
}

fn as_text(scored: &Scored, ignore: u8) -> String {
    let metrics = &scored.metrics;
    let interval = per_image::interval(&scored.images, SEED).map_or(String::new(), |interval| {
        format!(
            " (95% of {} resampled sets: {} to {})",
            per_image::RESAMPLES,
            percent(Some(interval.low)),
            percent(Some(interval.high))
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
            percent(metrics.miou_union),
            percent(metrics.iou_frequency_weighted)
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
        format!(
            "{}, {}",
            words::count(metrics.n_images as usize, "image"),
            words::count(metrics.n_pixels as usize, "labelled pixel")
        ),
    ];
    lines.extend(undefined(scored, ignore).map(|why| format!("no score is defined: {why}")));
    lines.push("IoU by class:".to_owned());
    lines.extend(metrics.iou_per_class.iter().enumerate().map(|(class, iou)| {
        let pixels = scored.confusion.row_sum(class);
        let iou = iou.map_or_else(|| "absent".to_owned(), |iou| percent(Some(iou)));
        format!("  {class:>3}  {iou:>6}  {}", words::count(pixels as usize, "pixel"))
    }));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Mask;
    use crate::data::image_io::{voc_palette, write_png_mask};

    fn scored(truth: &[u8], pred: &[u8]) -> Scored {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, classes: &[u8]| {
            let mask = Mask { width: classes.len() as u32, height: 1, classes: classes.to_vec() };
            let path = dir.path().join(name);
            let bytes = write_png_mask(&mask, &voc_palette());
            crate::fs::write_atomic(&path, &bytes).unwrap();
        };
        write("truth/a.png", truth);
        write("pred/a.png", pred);
        let (pred, truth) = (dir.path().join("pred"), dir.path().join("truth"));
        masks::score(&Folders { pred, truth, n_classes: 2, ignore: 255, threads: 1 }).unwrap()
    }

    #[test]
    fn where_nothing_is_labelled_no_number_is_printed() {
        let scored = scored(&[255, 255], &[0, 1]);
        insta::assert_snapshot!(as_text(&scored, 255), @"
        mIoU –, over the 0/2 classes present in the ground truth
        mIoU over classes with any union –, frequency-weighted IoU –
        pixel accuracy –, mean accuracy –
        reference project's metric (not an mIoU), image by image: –
        1 image, 0 labelled pixels
        no score is defined: the ground truth has no labelled pixel: all are 255, which is left out
        IoU by class:
            0  absent  0 pixels
            1  absent  0 pixels
        ");
        let json: serde_json::Value = serde_json::from_str(&as_json(&scored, 255)).unwrap();
        for key in ["miou", "pixel_accuracy", "accuracy_mean", "reference_metric", "miou_union"] {
            assert_eq!(json["metrics"][key], serde_json::Value::Null, "{key}");
        }
        assert!(json["undefined"].as_str().unwrap().contains("no labelled pixel"));
    }

    #[test]
    fn scores_are_percent_and_a_defined_one_gives_no_reason() {
        let scored = scored(&[0, 1, 1, 255], &[0, 1, 0, 1]);
        insta::assert_snapshot!(as_text(&scored, 255), @"
        mIoU 50.00, over the 2/2 classes present in the ground truth
        mIoU over classes with any union 50.00, frequency-weighted IoU 50.00
        pixel accuracy 66.67, mean accuracy 75.00
        reference project's metric (not an mIoU), image by image: 50.00
        1 image, 3 labelled pixels
        IoU by class:
            0   50.00  1 pixel
            1   50.00  2 pixels
        ");
        let json: serde_json::Value = serde_json::from_str(&as_json(&scored, 255)).unwrap();
        assert_eq!(json["undefined"], serde_json::Value::Null);
    }
}
