//! Confusion counts of each image in a compact form, and paired bootstrap intervals computed from
//! them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::confusion::Confusion;
use crate::data::VOID;
use crate::fs::write_atomic;
use crate::kernel::confusion::counts_of;
use crate::rng;

/// Version of the files of counts.
const VERSION: u32 = 1;
/// Key of the files' metadata.
const KEY: &str = "sweep";
/// Number of resampled sets behind an interval.
pub const RESAMPLES: usize = 2000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write `{path}`")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
}

/// The entries of each image's confusion matrix that are not 0; rows are the truth, columns the
/// prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCounts {
    n_classes: usize,
    /// End of each image's entries in `entries`.
    ends: Vec<u32>,
    /// Index `truth * n_classes + prediction` of each entry, ascending within an image.
    entries: Vec<u16>,
    pixels: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    n_classes: usize,
}

/// A bootstrap interval in the unit of the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl ImageCounts {
    pub fn new(n_classes: usize) -> Self {
        Self { n_classes, ends: vec![], entries: vec![], pixels: vec![] }
    }

    pub fn n_images(&self) -> usize {
        self.ends.len()
    }

    /// Adds the next image; pixels whose truth is [`VOID`] are left out.
    ///
    /// # Panics
    /// Where the slices differ in length or a class is out of range.
    pub fn add(&mut self, truth: &[u8], predicted: &[u8]) {
        self.add_counts(&counts_of(truth, predicted, self.n_classes));
    }

    /// Adds the next image by its confusion counts, row-major.
    pub fn add_counts(&mut self, counts: &[u64]) {
        for (entry, &pixels) in counts.iter().enumerate().filter(|(_, pixels)| **pixels > 0) {
            self.entries.push(entry as u16);
            self.pixels.push(pixels as u32);
        }
        self.ends.push(self.entries.len() as u32);
    }

    /// The confusion matrix of all images, each taken `weights[i]` times.
    fn total(&self, weights: &[u32]) -> Confusion {
        let mut confusion = Confusion::new(self.n_classes);
        let mut start = 0;
        for (&end, &weight) in self.ends.iter().zip(weights) {
            let range = start..end as usize;
            start = end as usize;
            if weight == 0 {
                continue;
            }
            for (&entry, &pixels) in self.entries[range.clone()].iter().zip(&self.pixels[range]) {
                let (truth, predicted) =
                    (usize::from(entry) / self.n_classes, usize::from(entry) % self.n_classes);
                confusion.add_count(truth, predicted, u64::from(pixels) * u64::from(weight));
            }
        }
        confusion
    }

    /// Writes the counts as safetensors: `ends` \[images\], `entries` and `pixels` \[entries\].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let header = Header { version: VERSION, n_classes: self.n_classes };
        let text = serde_json::to_string(&header).expect("a header of plain values serialises");
        // u16 has no safe view as bytes on every byte order: written by hand.
        let ends: Vec<u8> = self.ends.iter().flat_map(|x| x.to_le_bytes()).collect();
        let entries: Vec<u8> = self.entries.iter().flat_map(|x| x.to_le_bytes()).collect();
        let pixels: Vec<u8> = self.pixels.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = |dtype, n, bytes| {
            TensorView::new(dtype, vec![n], bytes).expect("lengths are the vectors' own")
        };
        let tensors = [
            ("ends", view(Dtype::U32, self.ends.len(), &ends)),
            ("entries", view(Dtype::U16, self.entries.len(), &entries)),
            ("pixels", view(Dtype::U32, self.pixels.len(), &pixels)),
        ];
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).expect("names are unique");
        write_atomic(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes =
            fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::decode(&bytes).map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
        let text = text.ok_or("it was not written by sweep")?;
        let header: Header = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if header.version > VERSION {
            return Err(format!("it was written by a newer sweep (version {})", header.version));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let of = |name: &str, dtype: Dtype| {
            let view = tensors.tensor(name).map_err(|e| e.to_string())?;
            if view.dtype() == dtype {
                Ok(view.data().to_vec())
            } else {
                Err(format!("{name} is {:?}", view.dtype()))
            }
        };
        let u32s = |name: &str| {
            let bytes = of(name, Dtype::U32)?;
            Ok::<Vec<u32>, String>(
                bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
            )
        };
        let entries = of("entries", Dtype::U16)?;
        let counts = Self {
            n_classes: header.n_classes,
            ends: u32s("ends")?,
            entries: entries.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect(),
            pixels: u32s("pixels")?,
        };
        let classes = 1..=usize::from(VOID);
        let is_sound = classes.contains(&counts.n_classes)
            && counts.entries.len() == counts.pixels.len()
            && counts.ends.is_sorted()
            && counts.ends.last().copied().unwrap_or(0) as usize == counts.entries.len()
            && counts.entries.iter().all(|e| usize::from(*e) < counts.n_classes.pow(2));
        if is_sound { Ok(counts) } else { Err("its tensors contradict each other".to_owned()) }
    }
}

/// The mIoU of the images taken `weights` times each, over the classes marked in `present`; `None`
/// where they have no labelled pixel.
fn miou(counts: &ImageCounts, weights: &[u32], present: &[bool]) -> Option<f64> {
    let confusion = counts.total(weights);
    let (mut sum, mut n) = (0.0, 0u32);
    for class in (0..counts.n_classes).filter(|class| present[*class]) {
        let hits = confusion.hits(class);
        let union = confusion.row_sum(class) + confusion.column_sum(class) - hits;
        // A class may be absent from a resampled set: it is left out there.
        if union > 0 {
            sum += hits as f64 / union as f64;
            n += 1;
        }
    }
    (n > 0).then(|| sum / f64::from(n))
}

fn present(counts: &ImageCounts) -> Vec<bool> {
    let all = counts.total(&vec![1; counts.n_images()]);
    (0..counts.n_classes).map(|class| all.row_sum(class) > 0).collect()
}

/// The 95% percentile bootstrap interval of the mIoU over images. `None` for fewer than two images,
/// and where nothing is labelled; resampled sets without a label are left out.
pub fn interval(counts: &ImageCounts, seed: u64) -> Option<Interval> {
    let present = present(counts);
    resampled(counts.n_images(), seed, |weights| miou(counts, weights, &present))
}

/// The 95% interval of `mIoU(a) - mIoU(b)`: the same resampled images for both (paired bootstrap).
/// `None` where the sets differ in size or classes, and as for [`interval`].
pub fn paired_interval(a: &ImageCounts, b: &ImageCounts, seed: u64) -> Option<Interval> {
    let (present_a, present_b) = (present(a), present(b));
    if a.n_images() != b.n_images() || present_a != present_b {
        return None;
    }
    resampled(a.n_images(), seed, |weights| {
        Some(miou(a, weights, &present_a)? - miou(b, weights, &present_b)?)
    })
}

fn resampled(n: usize, seed: u64, score: impl Fn(&[u32]) -> Option<f64>) -> Option<Interval> {
    if n < 2 {
        return None;
    }
    let mut values: Vec<f64> = (0..RESAMPLES)
        .filter_map(|i| {
            let mut rng = rng::keyed(seed, "bootstrap", &[i as u64]);
            let mut weights = vec![0u32; n];
            for _ in 0..n {
                weights[rng::below(&mut rng, n as u64) as usize] += 1;
            }
            score(&weights)
        })
        .collect();
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    Some(Interval { low: at(0.025), high: at(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` images of 100 pixels; image `i` has `hits(i)` of class 1's 50 pixels right.
    fn counts(n: usize, hits: impl Fn(usize) -> usize) -> ImageCounts {
        let mut counts = ImageCounts::new(3);
        let truth: Vec<u8> = (0..100).map(|i| u8::from(i < 50)).collect();
        for i in 0..n {
            let predicted: Vec<u8> = (0..100).map(|p| u8::from(p < hits(i))).collect();
            counts.add(&truth, &predicted);
        }
        counts
    }

    #[test]
    fn the_sum_over_images_is_the_matrix_of_the_set() {
        let mut counts = ImageCounts::new(3);
        let mut whole = Confusion::new(3);
        let images = [([0, 1, 2, VOID], [0, 1, 1, 0]), ([2, 2, 0, 1], [2, 0, 0, 1])];
        for (truth, predicted) in images {
            counts.add(&truth, &predicted);
            whole.add(&truth, &predicted);
        }
        assert_eq!(counts.total(&[1, 1]), whole);
        whole.merge(&counts.total(&[0, 1]));
        assert_eq!(counts.total(&[1, 2]), whole);
    }

    #[test]
    fn files_come_back_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let counts = counts(5, |i| 10 * i);
        counts.save(&path).unwrap();
        assert_eq!(ImageCounts::load(&path).unwrap(), counts);
        let bytes = fs_err::read(&path).unwrap();
        for cut in [0, 7, 40, bytes.len() - 1] {
            assert!(ImageCounts::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut other = bytes.clone();
        let at = bytes.windows(2).position(|two| two == b"\"e").unwrap();
        other[at + 1] = b'x';
        assert!(ImageCounts::decode(&other).is_err());
    }

    #[test]
    fn intervals_hold_the_score_and_shrink_with_the_set() {
        let width = |n: usize| {
            let counts = counts(n, |i| 20 + (i * 7) % 31);
            let all = miou(&counts, &vec![1; n], &present(&counts)).unwrap();
            let Interval { low, high } = interval(&counts, 0).unwrap();
            assert!(low < all && all < high, "{low} {all} {high}");
            high - low
        };
        // Four times the images: half the width.
        let ratio = width(40) / width(160);
        assert!((1.5..2.7).contains(&ratio), "{ratio}");
    }

    #[test]
    fn without_a_label_there_is_no_interval() {
        let mut counts = ImageCounts::new(3);
        for _ in 0..3 {
            counts.add(&[VOID; 4], &[1; 4]);
        }
        assert_eq!(interval(&counts, 0), None);
        assert_eq!(paired_interval(&counts, &counts, 0), None);
        // One image of three with labels: sets without it have no score.
        counts.add(&[1, 1, 0, 0], &[1, 0, 0, 0]);
        let Interval { low, high } = interval(&counts, 0).unwrap();
        assert!((low - high).abs() < 1e-12 && low > 0.5, "{low} {high}");
    }

    #[test]
    fn pairing_cancels_what_images_have_in_common() {
        let a = counts(60, |i| 5 + (i * 13) % 40);
        let b = counts(60, |i| 7 + (i * 13) % 40);
        let alone = interval(&a, 0).unwrap();
        let paired = paired_interval(&b, &a, 0).unwrap();
        assert!(paired.low > 0.0, "{paired:?}");
        assert!((paired.high - paired.low) < 0.2 * (alone.high - alone.low));
        let same = paired_interval(&a, &a, 0).unwrap();
        assert!(same.low.abs() < 1e-12 && same.high.abs() < 1e-12);
        assert_eq!(paired_interval(&a, &counts(59, |_| 3), 0), None);
        assert_eq!(interval(&counts(1, |_| 3), 0), None);
    }
}
