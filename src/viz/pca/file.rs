//! Bases as safetensors files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Basis, Fitted, Separation};
use crate::fs::write_atomic_with;
use crate::weights::{self, NotFinite, PartsWriter, TensorFile};

const MEAN: &str = "mean";
const COMPONENTS: &str = "components";
const VARIANCE: &str = "variance";
const MINIMUM: &str = "minimum";
const MAXIMUM: &str = "maximum";
const FOREGROUND_MEAN: &str = "foreground.mean";
const FOREGROUND_COMPONENT: &str = "foreground.component";
const FOREGROUND_AT: &str = "foreground.threshold";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] weights::Error),
    #[error("`{path}` is not a basis: {reason}")]
    Unfit { path: PathBuf, reason: String },
}

impl Fitted {
    /// Writes the basis: `mean` `[dim]`, `components` `[n, dim]`, `variance`, `minimum` and `maximum`
    /// `[n]`; with a foreground also `foreground.mean` and `foreground.component` `[dim]` and
    /// `foreground.threshold` `[1]`.
    pub fn write(&self, path: &Path, metadata: &BTreeMap<String, String>) -> io::Result<()> {
        let (dim, n) = (self.basis.dim(), self.basis.n());
        let bound = |i: usize| self.bounds.iter().map(|pair| pair[i]).collect::<Vec<_>>();
        let (minimum, maximum) = (bound(0), bound(1));
        let mut tensors: Vec<(&str, Vec<usize>, &[f32])> = vec![
            (MEAN, vec![dim], &self.basis.mean),
            (COMPONENTS, vec![n, dim], &self.basis.components),
            (VARIANCE, vec![n], &self.basis.variance),
            (MINIMUM, vec![n], &minimum),
            (MAXIMUM, vec![n], &maximum),
        ];
        if let Some(separation) = &self.separation {
            tensors.push((FOREGROUND_MEAN, vec![dim], &separation.basis.mean));
            tensors.push((FOREGROUND_COMPONENT, vec![dim], &separation.basis.components));
            tensors.push((FOREGROUND_AT, vec![1], std::slice::from_ref(&separation.at)));
        }
        let layout: Vec<_> =
            tensors.iter().map(|(name, shape, _)| (*name, shape.clone())).collect();
        write_atomic_with(path, |file| {
            let parts = PartsWriter::start(file, &layout, metadata)?;
            for (i, (_, _, values)) in tensors.iter().enumerate() {
                parts.put(file, i, 0, values)?;
            }
            Ok(())
        })
    }

    /// Reads a basis of at least `n` components for tokens of width `dim`, with the file's metadata.
    /// The bounds are empty where the file has none, as in one made by other programs.
    pub fn read(
        path: &Path,
        (dim, n): (usize, usize),
    ) -> Result<(Self, BTreeMap<String, String>), Error> {
        let file = TensorFile::open(path)?;
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, Error> {
            let unfit = |reason| Error::Unfit { path: path.to_owned(), reason };
            match file.shape(name) {
                None => return Err(unfit(format!("it has no `{name}`"))),
                Some(found) if found != shape => {
                    let words = format!("`{name}` is {found:?}, where {shape:?} is needed");
                    return Err(unfit(words));
                }
                Some(_) => {}
            }
            let values = file.read(name)?;
            match NotFinite::count(name, &values) {
                Some(found) => Err(unfit(format!("`{name}` is not finite: {found}"))),
                None => Ok(values),
            }
        };
        let has = |name: &str| file.shape(name).is_some();
        let unfit = |reason| Error::Unfit { path: path.to_owned(), reason };
        let n_there = match file.shape(COMPONENTS).as_deref() {
            Some([n, width]) if *width == dim => *n,
            Some([_, width]) => {
                let words = format!("it is for tokens of width {width}; this encoder's have {dim}");
                return Err(unfit(words));
            }
            _ => return Err(unfit(format!("it has no `{COMPONENTS}` [components, width]"))),
        };
        if n_there < n {
            let words = format!("it has {n_there} components; component {n} is asked for");
            return Err(unfit(words));
        }
        let basis = Basis {
            mean: read(MEAN, &[dim])?,
            components: read(COMPONENTS, &[n_there, dim])?,
            variance: read(VARIANCE, &[n_there])?,
        };
        let bounds = if has(MINIMUM) {
            let (low, high) = (read(MINIMUM, &[n_there])?, read(MAXIMUM, &[n_there])?);
            low.into_iter().zip(high).map(|(low, high)| [low, high]).collect()
        } else {
            vec![]
        };
        let separation = if has(FOREGROUND_MEAN) {
            let basis = Basis {
                mean: read(FOREGROUND_MEAN, &[dim])?,
                components: read(FOREGROUND_COMPONENT, &[dim])?,
                variance: vec![0.0],
            };
            Some(Separation { basis, at: read(FOREGROUND_AT, &[1])?[0] })
        } else {
            None
        };
        Ok((Self { basis, separation, bounds, n_patches: 0 }, file.metadata().clone()))
    }
}
