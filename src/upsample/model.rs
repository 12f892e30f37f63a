//! A method with its weights, ready to upsample.

use std::path::Path;

use super::{Error, Map, Method, Options, Prepared, Task, Tensors, Upsampler};

/// Bytes of the rows that [`Model::each_band`] makes at a time. Rows of one patch share their
/// attention windows, so that fewer rows take more time.
const BAND_BYTES: usize = 128 << 20;

/// A method with its weights.
pub struct Model {
    method: &'static Method,
    upsampler: Box<dyn Upsampler>,
}

impl Model {
    /// Loads the weights of `method` from safetensors or from the published file. Every tensor is
    /// accounted for: what is missing, unexpected, of another shape or not finite is an error that
    /// names it.
    pub fn open(
        method: &'static Method,
        weights: Option<&Path>,
        options: &Options,
    ) -> Result<Self, Error> {
        if options.kernel.is_some() && !method.takes_kernel {
            let words = format!("{} has no window whose size could be chosen", method.title);
            return Err(Error::Task(words));
        }
        if let Some(kernel) = options.kernel.filter(|kernel| kernel.is_multiple_of(2)) {
            let words =
                format!("a window of {kernel}x{kernel} has no middle: its side must be odd");
            return Err(Error::Task(words));
        }
        let mut tensors = match (weights, method.has_weights()) {
            (Some(path), true) => Tensors::read(path, method)?,
            (None, true) => return Err(Error::Task(format!("{} needs weights", method.title))),
            (Some(_), false) => {
                return Err(Error::Task(format!("{} has no weights to load", method.title)));
            }
            (None, false) => Tensors::none(),
        };
        let upsampler = (method.build)(&mut tensors, options);
        tensors.finish(method)?;
        Ok(Self { method, upsampler })
    }

    pub fn method(&self) -> &'static Method {
        self.method
    }

    /// Height and width of the result where no other size is asked for, from the sizes of the image
    /// and of the features.
    pub fn size(&self, image: [usize; 2], features: [usize; 2]) -> [usize; 2] {
        self.upsampler.size(image, features)
    }

    /// Does what needs the whole image; the result's rows can then be made one by one.
    pub fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        check(task)?;
        self.upsampler.prepare(task)
    }

    /// Upsamples features, all in memory.
    pub fn upsample(&self, task: &Task<'_>) -> Result<Map, Error> {
        let prepared = self.prepare(task)?;
        Ok(prepared.rows(0..prepared.size()[0]))
    }

    /// Upsamples features band by band, from the top: `put` gets the number of the band's first row,
    /// and its rows.
    pub fn each_band(
        &self,
        task: &Task<'_>,
        mut put: impl FnMut(usize, &Map) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let prepared = self.prepare(task)?;
        let [height, width] = prepared.size();
        let n = (BAND_BYTES / (4 * prepared.channels() * width)).clamp(1, height);
        for first in (0..height).step_by(n) {
            put(first, &prepared.rows(first..height.min(first + n)))?;
        }
        Ok(())
    }
}

/// Checks what all methods demand.
fn check(task: &Task<'_>) -> Result<(), Error> {
    let refuse = |words: String| Err(Error::Task(words));
    if task.image.channels() != 3 {
        return refuse(format!("the image has {} channels, not 3", task.image.channels()));
    }
    let channels = task.features.channels();
    let sides = [task.image.size(), task.features.size(), task.size];
    if channels == 0 || sides.as_flattened().contains(&0) {
        return refuse("the image, the features or the size asked for is empty".to_owned());
    }
    match task.projection {
        Some(projection) if projection.n_in() != channels => {
            let n = projection.n_in();
            refuse(format!("the features have {channels} channels, the projection takes {n}"))
        }
        _ => Ok(()),
    }
}
