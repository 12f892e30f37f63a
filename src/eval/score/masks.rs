//! Scores predictions that any program saved as mask files.
//!
//! Called by `sweep score` with two folders of PNG files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::confusion::Confusion;
use super::per_image::ImageCounts;
use super::reference_metric::{ReferenceMetric, VoidIs};
use crate::data::image_io::read_mask;
use crate::data::loader::ordered_map;
use crate::data::{Mask, VOID};
use crate::eval::score::metrics;
use crate::event::Metrics;
use crate::fs::list;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list `{path}`")]
    List { path: PathBuf, source: std::io::Error },
    #[error("there is no PNG file in `{0}`")]
    Empty(PathBuf),
    #[error("`{first}` and `{second}` have the same name: remove one of them")]
    Twice { first: PathBuf, second: PathBuf },
    #[error("no prediction for {count} of the {total} masks in `{truth}`; the first: `{first}`")]
    Unpredicted { truth: PathBuf, first: PathBuf, count: usize, total: usize },
    #[error(transparent)]
    Data(#[from] crate::data::Error),
    #[error(
        "`{pred}` is {}x{}, and its truth {}x{} (width x height): predictions must have the \
         labels' own size",
        .sizes[0], .sizes[1], .sizes[2], .sizes[3]
    )]
    Size { pred: PathBuf, sizes: [u32; 4] },
    #[error("`{path}` has the value {value} at row {row}, column {column}; allowed: {allowed}")]
    Class { path: PathBuf, value: u8, row: usize, column: usize, allowed: String },
}

/// The two folders of index masks to compare, as PNG files of equal names.
#[derive(Debug, Clone)]
pub struct Folders {
    pub pred: PathBuf,
    pub truth: PathBuf,
    pub n_classes: usize,
    /// Value of the ground truth whose pixels are left out.
    pub ignore: u8,
    pub threads: usize,
}

/// The scores of the folders.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The scores; the reference project's metric is over batches of one image.
    pub metrics: Metrics,
    pub confusion: Confusion,
    pub images: ImageCounts,
    /// Predictions without a mask in the truth folder.
    pub n_unused: usize,
}

/// Scores every mask of the truth folder, in the order of their names.
pub fn score(folders: &Folders) -> Result<Scored, Error> {
    let truths = pngs(&folders.truth)?;
    let preds = pngs(&folders.pred)?;
    if truths.is_empty() {
        return Err(Error::Empty(folders.truth.clone()));
    }
    let mut missing = truths.keys().filter(|name| !preds.contains_key(*name));
    if let Some(first) = missing.next() {
        return Err(Error::Unpredicted {
            truth: folders.truth.clone(),
            first: folders.pred.join(format!("{first}.png")),
            count: 1 + missing.count(),
            total: truths.len(),
        });
    }
    let n = truths.len();
    let n_unused = preds.len() - n;
    let pairs: Vec<_> =
        truths.into_iter().map(|(name, truth)| (truth, preds[&name].clone())).collect();
    let load = {
        let folders = folders.clone();
        move |i: usize| pair(&pairs[i], &folders)
    };
    let mut confusion = Confusion::new(folders.n_classes);
    let mut images = ImageCounts::new(folders.n_classes);
    let mut reference = ReferenceMetric::new(1, VoidIs::LeftOut);
    for loaded in ordered_map(n, folders.threads, 2 * folders.threads.max(1), load) {
        let (truth, pred) = loaded?;
        confusion.add(&truth.classes, &pred.classes);
        images.add(&truth.classes, &pred.classes);
        reference.add_image(&truth.classes, &pred.classes);
    }
    let metrics = metrics::metrics(&confusion, reference.value(), n as u64);
    Ok(Scored { metrics, confusion, images, n_unused })
}

/// The PNG files of a folder, by file name without extension.
fn pngs(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let entries = list::entries(folder);
    let entries = entries.map_err(|source| Error::List { path: folder.to_owned(), source })?;
    let mut files = BTreeMap::new();
    for path in entries.into_iter().map(|entry| entry.path) {
        if let ("png", Some(stem)) = (list::ending(&path).as_str(), path.file_stem()) {
            let stem = stem.to_string_lossy().into_owned();
            if let Some(first) = files.insert(stem, path.clone()) {
                return Err(Error::Twice { first, second: path });
            }
        }
    }
    Ok(files)
}

/// Reads a mask and its prediction and checks their values. Where the truth is void, the mask that
/// comes out has [`VOID`] and the prediction a class that is not counted.
fn pair((truth, pred): &(PathBuf, PathBuf), folders: &Folders) -> Result<(Mask, Mask), Error> {
    let (mut mask, mut predicted) = (read_mask(truth)?, read_mask(pred)?);
    if (mask.width, mask.height) != (predicted.width, predicted.height) {
        let sizes = [predicted.width, predicted.height, mask.width, mask.height];
        return Err(Error::Size { pred: pred.clone(), sizes });
    }
    let n = folders.n_classes;
    let width = mask.width as usize;
    let refused = |path: &Path, i: usize, value: u8, allowed: String| Error::Class {
        path: path.to_owned(),
        value,
        row: i / width,
        column: i % width,
        allowed,
    };
    for (i, (truth_value, value)) in mask.classes.iter_mut().zip(&mut predicted.classes).enumerate()
    {
        if *truth_value == folders.ignore {
            (*truth_value, *value) = (VOID, 0);
        } else if usize::from(*truth_value) >= n {
            let allowed = format!("0 to {}, and {} (left out)", n - 1, folders.ignore);
            return Err(refused(truth, i, *truth_value, allowed));
        } else if usize::from(*value) >= n {
            let allowed = format!("0 to {} where the truth is labelled", n - 1);
            return Err(refused(pred, i, *value, allowed));
        }
    }
    Ok((mask, predicted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::image_io::{voc_palette, write_png_mask};

    fn write(folder: &Path, name: &str, width: u32, classes: &[u8]) {
        let height = classes.len() as u32 / width;
        let mask = Mask { width, height, classes: classes.to_vec() };
        fs_err::create_dir_all(folder).unwrap();
        crate::fs::write_atomic(&folder.join(name), &write_png_mask(&mask, &voc_palette()))
            .unwrap();
    }

    struct Case(tempfile::TempDir);

    impl Case {
        fn new() -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            write(&case.truth(), "a.png", 2, &[0, 1, 1, 255]);
            write(&case.pred(), "a.png", 2, &[0, 1, 0, 200]);
            write(&case.truth(), "b.png", 1, &[2, 2]);
            write(&case.pred(), "b.PNG", 1, &[2, 1]);
            case
        }

        fn truth(&self) -> PathBuf {
            self.0.path().join("truth")
        }

        fn pred(&self) -> PathBuf {
            self.0.path().join("pred")
        }

        fn folders(&self) -> Folders {
            let (pred, truth) = (self.pred(), self.truth());
            Folders { pred, truth, n_classes: 3, ignore: 255, threads: 2 }
        }

        fn refused(&self) -> String {
            let dir = self.0.path().display().to_string();
            score(&self.folders()).unwrap_err().to_string().replace(&dir, "DIR")
        }
    }

    #[test]
    fn folders_are_scored_as_sets_are() {
        let scored = score(&Case::new().folders()).unwrap();
        assert_eq!(scored.confusion.row(0), [1, 0, 0]);
        assert_eq!(scored.confusion.row(1), [1, 1, 0]);
        assert_eq!(scored.confusion.row(2), [0, 1, 1]);
        let expect = (0.5 + 1.0 / 3.0 + 0.5) / 3.0;
        assert!((scored.metrics.miou.unwrap() - expect).abs() < 1e-12);
        assert_eq!((scored.metrics.n_images, scored.images.n_images(), scored.n_unused), (2, 2, 0));
    }

    /// macOS's notes about files (`._a.png`), in both folders.
    #[test]
    fn names_that_begin_with_a_dot_are_no_masks() {
        let case = Case::new();
        for name in ["truth/._a.png", "truth/.x.png", "pred/._a.png"] {
            fs_err::write(case.0.path().join(name), "Mac OS X").unwrap();
        }
        let scored = score(&case.folders()).unwrap();
        assert_eq!((scored.metrics.n_images, scored.n_unused), (2, 0));
        write(&case.pred(), "b.png", 1, &[2, 2]);
        insta::assert_snapshot!(case.refused(), @"`DIR/pred/b.PNG` and `DIR/pred/b.png` have the same name: remove one of them");
    }

    #[test]
    fn another_value_may_be_the_one_left_out() {
        let case = Case::new();
        write(&case.truth(), "a.png", 2, &[0, 1, 1, 9]);
        let folders = Folders { ignore: 9, ..case.folders() };
        assert_eq!(score(&folders).unwrap().metrics.n_pixels, 5);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let case = Case::new();
        write(&case.pred(), "a.png", 2, &[0, 1, 3, 0]);
        insta::assert_snapshot!(case.refused(), @"`DIR/pred/a.png` has the value 3 at row 1, column 0; allowed: 0 to 2 where the truth is labelled");
        write(&case.pred(), "a.png", 1, &[0, 1]);
        insta::assert_snapshot!(case.refused(), @"`DIR/pred/a.png` is 1x2, and its truth 2x2 (width x height): predictions must have the labels' own size");
        write(&case.truth(), "a.png", 2, &[0, 7, 0, 0]);
        write(&case.pred(), "a.png", 2, &[0, 1, 1, 0]);
        insta::assert_snapshot!(case.refused(), @"`DIR/truth/a.png` has the value 7 at row 0, column 1; allowed: 0 to 2, and 255 (left out)");
        write(&case.truth(), "c.png", 1, &[0]);
        insta::assert_snapshot!(case.refused(), @"no prediction for 1 of the 3 masks in `DIR/truth`; the first: `DIR/pred/c.png`");
        let empty = Folders { truth: case.0.path().join("none"), ..case.folders() };
        assert!(matches!(score(&empty), Err(Error::List { .. })));
        fs_err::create_dir(case.0.path().join("none")).unwrap();
        assert!(matches!(score(&empty), Err(Error::Empty(_))));
    }
}
