//! The report of `sweep data check` as text.

use super::Checked;
use crate::cli::grid::grid;
use crate::cli::words;
use crate::data::check::{Finding, Kind, Report};
use crate::data::image_io::Stored;

/// Number of findings of one kind that are listed; a missing folder would fill the screen.
const LISTED_MAX: usize = 20;

pub(super) fn dataset(checked: &Checked) -> String {
    let report = &checked.report;
    let n_classes = words::count(report.classes.len(), "class").replace("classs", "classes");
    let mut parts =
        vec![format!("{} in `{}`: {n_classes}\n", checked.name, checked.root.display())];
    parts.push(findings("faults", report.faults()));
    parts.push(findings("notes", report.notes()));
    parts.push(format!("{}\n", splits(report)));
    parts.push(format!("{}\n", classes(report)));
    parts.extend(images(report));
    parts.push(format!("{}\n", summary(report)));
    parts.concat()
}

fn findings<'a>(title: &str, findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut by_kind: Vec<(Kind, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        match by_kind.iter_mut().find(|(kind, _)| *kind == finding.kind) {
            Some((_, list)) => list.push(finding),
            None => by_kind.push((finding.kind, vec![finding])),
        }
    }
    if by_kind.is_empty() {
        return String::new();
    }
    by_kind.sort_by_key(|(kind, _)| *kind);
    let mut lines = vec![format!("{title}:")];
    for (kind, list) in by_kind {
        let shown = list.iter().take(LISTED_MAX);
        lines.extend(
            shown.map(|finding| {
                format!("  {}: [{}] {}", kind.name(), finding.split, finding.message)
            }),
        );
        if let Some(more) = list.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
            lines.push(format!("  {}: {more} more (all of them: --json)", kind.name()));
        }
    }
    lines.join("\n") + "\n"
}

fn splits(report: &Report) -> String {
    let head = ["split", "images", "faulty", "labelled pixels", "void"].map(str::to_owned);
    let rows = report.splits.iter().map(|split| {
        let labelled: u64 = split.pixels.iter().sum();
        vec![
            split.split.clone(),
            split.n_images.to_string(),
            split.n_faulty.to_string(),
            labelled.to_string(),
            percent(split.void_pixels, labelled + split.void_pixels),
        ]
    });
    grid(&head, rows)
}

/// Share of the labelled pixels and number of images of each class, split by split.
fn classes(report: &Report) -> String {
    let mut head = vec!["class".to_owned(), "name".to_owned()];
    for split in &report.splits {
        head.push(format!("{} pixels", split.split));
        head.push("images".to_owned());
    }
    let rows = report.classes.iter().enumerate().map(|(class, name)| {
        let mut row = vec![class.to_string(), name.clone()];
        for split in &report.splits {
            let labelled = split.pixels.iter().sum();
            row.push(percent(split.pixels[class], labelled));
            row.push(split.images[class].to_string());
        }
        row
    });
    grid(&head, rows)
}

/// How images are stored, and what is done about it.
fn images(report: &Report) -> Option<String> {
    let said = |stored: Stored| match stored {
        Stored::Colour => "8-bit colour",
        Stored::Grey => "greyscale (repeated over the channels)",
        Stored::Cmyk => "CMYK (converted without a profile)",
        Stored::Palette => "palette (its colours)",
        Stored::Alpha => "with alpha (dropped)",
        Stored::SixteenBit => "16-bit (scaled to 8)",
    };
    let stored = report.stored.iter().map(|(stored, n)| format!("{n} {}", said(*stored)));
    let rotated = (report.n_rotated > 0).then(|| {
        format!("{} with an EXIF rotation (not applied: masks are as stored)", report.n_rotated)
    });
    let parts: Vec<_> = stored.chain(rotated).collect();
    (!parts.is_empty()).then(|| format!("images: {}\n", parts.join(", ")))
}

fn summary(report: &Report) -> String {
    let n_faults = report.faults().count();
    let n_notes = report.notes().count();
    let pairs = words::count(report.n_pairs as usize, "image");
    let notes =
        if n_notes == 0 { String::new() } else { format!(", {}", words::count(n_notes, "note")) };
    match n_faults {
        0 => format!("no faults in {pairs}{notes}"),
        n => format!("{} in {} of {pairs}{notes}", words::count(n, "fault"), report.n_faulty),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2}%", 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::data::check::SplitReport;

    #[test]
    fn a_report_is_a_list_two_tables_and_a_sentence() {
        let finding = |kind, message: &str| Finding {
            kind,
            split: "val".to_owned(),
            item: Some("a".to_owned()),
            message: message.to_owned(),
        };
        let mut findings = vec![finding(Kind::VoidMask, "mask `c.png` is all void")];
        findings.extend((0..22).map(|i| finding(Kind::MissingMask, &format!("mask `{i}.png`"))));
        let split = |name: &str, pixels: &[u64]| SplitReport {
            split: name.to_owned(),
            n_images: 30,
            n_faulty: 22,
            pixels: pixels.to_vec(),
            images: vec![1, 2],
            void_pixels: 10,
        };
        let report = Report {
            n_pairs: 60,
            n_faulty: 44,
            stored: BTreeMap::from([(Stored::Colour, 30), (Stored::Grey, 7)]),
            n_rotated: 1,
            classes: vec!["null".to_owned(), "upper body".to_owned()],
            splits: vec![split("train", &[30, 60]), split("val", &[0, 0])],
            findings,
        };
        let (name, root) = ("CCP8".to_owned(), PathBuf::from("/data/CCP8"));
        let text = dataset(&Checked { kind: "voc", name, root, report });
        let listed = text.lines().filter(|line| line.starts_with("  missing mask: ")).count();
        assert_eq!(listed, LISTED_MAX + 1);
        let rest: Vec<_> =
            text.lines().filter(|line| !line.starts_with("  missing mask: [val] mask")).collect();
        insta::assert_snapshot!(rest.join("\n"), @"
        CCP8 in `/data/CCP8`: 2 classes
        faults:
          missing mask: 2 more (all of them: --json)
        notes:
          all void: [val] mask `c.png` is all void
         split   images   faulty   labelled pixels   void
        ─────────────────────────────────────────────────────
         train   30       22       90                10.00%
         val     30       22       0                 100.00%
         class   name         train pixels   images   val pixels   images
        ──────────────────────────────────────────────────────────────────
         0       null         33.33%         1        -            1
         1       upper body   66.67%         2        -            2
        images: 30 8-bit colour, 7 greyscale (repeated over the channels), 1 with an EXIF rotation (not applied: masks are as stored)
        22 faults in 44 of 60 images, 1 note
        ");
    }
}
