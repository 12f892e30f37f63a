//! Tensors of an adapter in memory, read from a file with every value checked.

use std::collections::{BTreeMap, HashMap};

use bytemuck::cast_slice;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::Error;
use crate::weights::{NotFinite, TensorFile};

/// Tensors by name: the names of a file, or those in a [`crate::model::Network`].
pub(super) type Tensors = BTreeMap<String, Stored>;

/// A tensor in file layout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Stored {
    /// A tensor of these elements; `None` where the shape calls for another number of them.
    pub(super) fn new(shape: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        let n = shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side))?;
        (n == values.len()).then_some(Self { shape, values })
    }
}

/// All tensors of a file, under the file's names.
pub(super) fn read(file: &TensorFile) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new();
    for name in file.names() {
        let (shape, values) = (file.shape(&name).unwrap_or_default(), file.read(&name)?);
        let stored = Stored::new(shape, values).ok_or_else(|| Error::Format {
            path: file.path().to_owned(),
            reason: format!("the shape of tensor {name} does not match its values"),
        })?;
        tensors.insert(name, stored);
    }
    check_finite(file, &tensors)?;
    Ok(tensors)
}

/// Refuses tensors with values that are not finite; the error names them as the file does.
pub(super) fn check_finite(file: &TensorFile, tensors: &Tensors) -> Result<(), Error> {
    let found: Vec<_> = tensors
        .iter()
        .filter_map(|(name, stored)| NotFinite::count(name, &stored.values))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::NotFinite { path: file.path().to_owned(), tensors: found })
}

/// Encodes the tensors as a safetensors file; of `metadata` one key, because the order of several
/// is not fixed.
pub(super) fn to_safetensors<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Stored)>,
    (key, value): (&str, String),
) -> Vec<u8> {
    let views = tensors.into_iter().map(|(name, stored)| {
        let view = TensorView::new(Dtype::F32, stored.shape.clone(), cast_slice(&stored.values));
        (name, view.expect("shapes are the tensors' own"))
    });
    let metadata = HashMap::from([(key.to_owned(), value)]);
    safetensors::serialize(views, Some(metadata)).expect("names are unique")
}
