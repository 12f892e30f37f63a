//! A safetensors file whose tensors grow together, image by image, so that only a batch is in
//! memory.

use std::collections::BTreeMap;
use std::io;

use burn::tensor::Tensor;

use crate::weights::PartsWriter;

/// Name of the tensor of upsampled features.
const DENSE: &str = "dense";

/// The values of one tensor of the file for one batch.
pub(super) struct Part {
    name: String,
    /// Shape for one image.
    shape: Vec<usize>,
    /// Values for the batch, row-major.
    values: Vec<f32>,
}

impl Part {
    /// A part called `name` of the values `tensor` `[batch, ..]`.
    pub(super) fn new<const D: usize>(name: &str, tensor: Tensor<D>) -> Self {
        let shape = tensor.dims()[1..].to_vec();
        let values = tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32");
        Self { name: name.to_owned(), shape, values }
    }

    /// Values of image `i` of the batch.
    pub(super) fn image(&self, i: usize) -> &[f32] {
        &self.values[i * self.len_per_image()..][..self.len_per_image()]
    }

    /// Shape for one image.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn len_per_image(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The file, whose tensors are those of the parts.
pub(super) struct Layout(PartsWriter);

impl Layout {
    /// Writes the header for `n` images of which `parts` are the first, and for `dense` features of
    /// that shape an image; bytes not yet written are zeros.
    pub(super) fn start(
        file: &mut fs_err::File,
        n: usize,
        parts: &[Part],
        dense: Option<[usize; 3]>,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let shape = |one: &[usize]| -> Vec<usize> { [&[n], one].concat() };
        let tensors = parts.iter().map(|part| (part.name.as_str(), shape(&part.shape)));
        let dense = dense.map(|one| (DENSE, shape(&one)));
        let tensors: Vec<_> = tensors.chain(dense).collect();
        Ok(Self(PartsWriter::start(file, &tensors, metadata)?))
    }

    /// Writes the parts of a batch whose first image is number `first`.
    pub(super) fn put(
        &self,
        file: &mut fs_err::File,
        first: usize,
        parts: &[Part],
    ) -> io::Result<()> {
        for (i, part) in parts.iter().enumerate() {
            self.0.put(file, i, first * part.len_per_image(), &part.values)?;
        }
        Ok(())
    }

    /// Writes values of the dense features, which come after `n_parts` parts, from their value
    /// number `first` on.
    pub(super) fn put_dense(
        &self,
        file: &mut fs_err::File,
        n_parts: usize,
        first: usize,
        values: &[f32],
    ) -> io::Result<()> {
        self.0.put(file, n_parts, first, values)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn batches_make_one_file_that_safetensors_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.safetensors");
        let device = Device::flex();
        let batch = |values: [[f32; 2]; 2]| {
            let tensor = Tensor::<2>::from_data(values, &device);
            vec![Part::new("b", tensor.clone()), Part::new("a", tensor.mul_scalar(10.0).sum_dim(1))]
        };
        let mut file = fs_err::File::create(&path).unwrap();
        let metadata = BTreeMap::from([("é".to_owned(), "\"x\"\n".to_owned())]);
        let first = batch([[1.0, 2.0], [3.0, 4.0]]);
        let layout = Layout::start(&mut file, 4, &first, None, &metadata).unwrap();
        layout.put(&mut file, 2, &batch([[5.0, 6.0], [7.0, 8.0]])).unwrap();
        layout.put(&mut file, 0, &first).unwrap();
        drop(file);
        let bytes = fs_err::read(&path).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let data = read.tensor(name).unwrap().data();
            data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        assert_eq!(floats("b"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(floats("a"), [30.0, 70.0, 110.0, 150.0]);
        assert_eq!(read.tensor("b").unwrap().shape(), [4, 2]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["é"], "\"x\"\n");
    }
}
