//! The original code's numbers, for tests.

use std::path::PathBuf;

use super::{Linear, Map, Method, Model, Options};
use crate::weights::TensorFile;

/// A file of `tests/data/upsample`.
pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/upsample").join(name)
}

pub(super) fn open(name: &str) -> TensorFile {
    TensorFile::open(&path(name)).unwrap()
}

pub(super) fn model(method: &str, weights: &str, kernel: Option<usize>) -> Model {
    let weights = path(&format!("{method}/{weights}.safetensors"));
    let weights = (method != "bilinear").then_some(weights);
    Model::open(Method::find(method).unwrap(), weights.as_deref(), &Options { kernel }).unwrap()
}

/// The images of a tensor `[batch, channels, height, width]`.
pub(super) fn maps(file: &TensorFile, name: &str) -> Vec<Map> {
    let shape = file.shape(name).unwrap();
    let &[_, channels, height, width] = shape.as_slice() else { panic!("{name}: {shape:?}") };
    let values = file.read(name).unwrap();
    let images = values.chunks_exact(channels * height * width);
    images.map(|values| Map::from_planes(values, channels, [height, width])).collect()
}

/// The first image of it.
pub(super) fn map(file: &TensorFile, name: &str) -> Map {
    maps(file, name).swap_remove(0)
}

pub(super) fn head(method: &str) -> Linear {
    let file = open(&format!("{method}/steps.safetensors"));
    Linear::new(file.read("a.head.weight").unwrap(), file.read("a.head.bias").unwrap())
}

/// Checks values against the original's, by a limit relative to the largest.
pub(super) fn close(what: &str, ours: &[f32], expect: &[f32], limit: f32) {
    assert_eq!(ours.len(), expect.len(), "{what}");
    let largest = expect.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    let worst = ours.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(ours.iter().all(|value| value.is_finite()), "{what}");
    assert!(worst <= limit * largest, "{what}: {} > {limit}", worst / largest);
}
