//! Reads images and their features from a safetensors file, and writes the upsampled features to
//! another, a band of rows at a time.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Error, Map, Model, Task};
use crate::fs::write_atomic_with;
use crate::weights::{NotFinite, PartsWriter, TensorFile};

const IMAGE: &str = "image";
/// Name of the tensor that is read, and of the one that is written.
const FEATURES: &str = "features";

/// A file with `image` `[batch, 3, height, width]`, normalised as the method expects, and `features`
/// `[batch, channels, rows, columns]`. Other tensors in it are ignored.
pub struct Pairs {
    file: TensorFile,
    n: usize,
    /// Height and width of the images.
    image: [usize; 2],
    channels: usize,
    /// Rows and columns of the features.
    grid: [usize; 2],
}

impl Pairs {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = TensorFile::open(path)?;
        let [n, image_channels, height, width] = shape(&file, IMAGE)?;
        let refuse = |tensor, reason| Err(Error::Input { path: path.to_owned(), tensor, reason });
        if image_channels != 3 {
            return refuse(IMAGE, format!("it has {image_channels} channels, not 3"));
        }
        let [n_features, channels, rows, columns] = shape(&file, FEATURES)?;
        if n_features != n {
            return refuse(FEATURES, format!("they are of {n_features} images, `{IMAGE}` has {n}"));
        }
        Ok(Self { file, n, image: [height, width], channels, grid: [rows, columns] })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Height and width of the images.
    pub fn image_size(&self) -> [usize; 2] {
        self.image
    }

    /// Rows and columns of the features.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Image `i` and its features.
    pub fn load(&self, i: usize) -> Result<[Map; 2], Error> {
        Ok([self.read(i, IMAGE, 3, self.image)?, self.read(i, FEATURES, self.channels, self.grid)?])
    }

    fn read(
        &self,
        i: usize,
        tensor: &'static str,
        channels: usize,
        size: [usize; 2],
    ) -> Result<Map, Error> {
        let n = channels * size[0] * size[1];
        let values = self.file.read_range(tensor, i * n..(i + 1) * n)?;
        match NotFinite::count(tensor, &values) {
            None => Ok(Map::from_planes(&values, channels, size)),
            Some(found) => Err(Error::Input {
                path: self.file.path().to_owned(),
                tensor,
                reason: format!("image {i} of it (from 0) has values that are not finite: {found}"),
            }),
        }
    }
}

/// The shape of a tensor of four dimensions, none of which is 0.
fn shape(file: &TensorFile, tensor: &'static str) -> Result<[usize; 4], Error> {
    let failed =
        |reason: String| Err(Error::Input { path: file.path().to_owned(), tensor, reason });
    let Some(shape) = file.shape(tensor) else {
        let names = file.names();
        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return failed(format!("it is missing; the file's tensors: {found}"));
    };
    let Ok(sides) = <[usize; 4]>::try_from(shape.as_slice()) else {
        return failed(format!("it is {shape:?}, not [batch, channels, height, width]"));
    };
    if sides.contains(&0) {
        return failed(format!("it is {shape:?}, which is empty"));
    }
    let dtype = file.dtype(tensor).unwrap_or_default();
    if !TensorFile::is_readable(&dtype) {
        return failed(format!("it is {dtype}; f32, f16 and bf16 can be read"));
    }
    Ok(sides)
}

/// The features to upsample, and how.
pub struct Job<'a> {
    pub model: &'a Model,
    pub pairs: &'a Pairs,
    /// Height and width of the result.
    pub size: [usize; 2],
}

/// Upsamples the features of all images and writes them to `path` as `features`
/// `[batch, channels, height, width]`, f32. `progress` gets the number of rows made and of all.
pub fn write(
    path: &Path,
    job: &Job<'_>,
    metadata: &BTreeMap<String, String>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let Job { model, pairs, size } = *job;
    let [height, width] = size;
    let shape = vec![pairs.n, pairs.channels, height, width];
    write_atomic_with(path, |file| {
        let writer = PartsWriter::start(file, &[(FEATURES, shape)], metadata)?;
        for i in 0..pairs.n {
            let [image, features] = pairs.load(i)?;
            let task = Task { image: &image, features: &features, projection: None, size };
            model.each_band(&task, |first, band| {
                let planes = band.to_planes();
                let n = band.size()[0] * width;
                for (channel, values) in planes.chunks_exact(n).enumerate() {
                    let plane = i * pairs.channels + channel;
                    writer.put(file, 0, (plane * height + first) * width, values)?;
                }
                progress(i * height + first + band.size()[0], pairs.n * height);
                Ok(())
            })?;
        }
        Ok(())
    })
}
