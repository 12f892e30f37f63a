//! Every tensor of a network by name: one walk serves loading, counting, optimising and saving.

use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};

/// One named tensor of a network, as it lies in memory.
///
/// Files keep PyTorch's layouts; matrices lie transposed in memory, as Burn's products want them.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A vector `[n]`.
    Vector(&'a mut Tensor<1>),
    /// A matrix, `[in, out]` in memory, `[out, in]` in files.
    Matrix(&'a mut Tensor<2>),
    /// A convolution's kernel, `[in * kh * kw, out]` in memory, `[out, in, kh, kw]` (given) in
    /// files.
    Kernel(&'a mut Tensor<2>, [usize; 4]),
    /// Tokens `[1, n, dim]`.
    Tokens(&'a mut Tensor<3>),
    /// A convolution's kernel, `[out, in, kh, kw]` in memory and in files.
    Conv(&'a mut Tensor<4>),
}

/// Tells whether a name is that of state which is no parameter: RoPE periods, BatchNorm's running
/// statistics.
pub fn is_buffer(name: &str) -> bool {
    ["periods", "running_mean", "running_var", "num_batches_tracked"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// Tells whether a name is that of one of LoRA's tensors.
pub fn is_lora(name: &str) -> bool {
    name.ends_with("lora_a") || name.ends_with("lora_b")
}

/// A module made of named tensors.
pub trait Params {
    /// Calls `f` with the full name and slot of every tensor, in a fixed order.
    ///
    /// `path` is the prefix, empty or ending in a dot.
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>));
}

impl<T: Params> Params for Option<T> {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        if let Some(inner) = self {
            inner.each(path, f);
        }
    }
}

impl<T: Params> Params for Vec<T> {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        for (i, inner) in self.iter_mut().enumerate() {
            inner.each(&format!("{path}{i}."), f);
        }
    }
}

impl Slot<'_> {
    /// The tensor's shape in files.
    pub fn file_shape(&self) -> Vec<usize> {
        match self {
            Self::Vector(t) => t.dims().to_vec(),
            Self::Matrix(t) => {
                let [d_in, d_out] = t.dims();
                vec![d_out, d_in]
            }
            Self::Kernel(_, shape) => shape.to_vec(),
            Self::Tokens(t) => t.dims().to_vec(),
            Self::Conv(t) => t.dims().to_vec(),
        }
    }

    pub fn n_elements(&self) -> usize {
        self.file_shape().iter().product()
    }

    /// Tells whether the tensor receives gradients.
    pub fn is_trained(&self) -> bool {
        match self {
            Self::Vector(t) => t.is_require_grad(),
            Self::Matrix(t) | Self::Kernel(t, _) => t.is_require_grad(),
            Self::Tokens(t) => t.is_require_grad(),
            Self::Conv(t) => t.is_require_grad(),
        }
    }

    /// Tells whether the tensor takes part in autodiff at all; frozen ones do not.
    pub fn is_autodiff(&self) -> bool {
        match self {
            Self::Vector(t) => t.is_autodiff(),
            Self::Matrix(t) | Self::Kernel(t, _) => t.is_autodiff(),
            Self::Tokens(t) => t.is_autodiff(),
            Self::Conv(t) => t.is_autodiff(),
        }
    }

    /// The values in file layout, f32, row-major; without autodiff.
    pub fn to_file(&self) -> Vec<f32> {
        let data = match self {
            Self::Vector(t) => (*t).clone().inner().into_data(),
            Self::Matrix(t) | Self::Kernel(t, _) => (*t).clone().inner().transpose().into_data(),
            Self::Tokens(t) => (*t).clone().inner().into_data(),
            Self::Conv(t) => (*t).clone().inner().into_data(),
        };
        data.convert::<f32>().try_into_vec().expect("converted to f32 on the line above")
    }

    /// Replaces the tensor by `values` in file layout; the result is an untracked constant.
    ///
    /// # Panics
    /// If the number of values is not the slot's.
    pub fn set_from_file(&mut self, values: Vec<f32>, device: &Device) {
        let shape = self.file_shape();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "shapes are checked by callers");
        match self {
            Self::Vector(t) => **t = Tensor::from_data(TensorData::new(values, shape), device),
            Self::Matrix(t) | Self::Kernel(t, _) => {
                let d_out = shape[0];
                let d_in = shape[1..].iter().product();
                // [out, in] -> [in, out], made contiguous once here instead of at every product.
                **t = Tensor::from_data(
                    TensorData::new(transpose(&values, d_out, d_in), [d_in, d_out]),
                    device,
                );
            }
            Self::Tokens(t) => **t = Tensor::from_data(TensorData::new(values, shape), device),
            Self::Conv(t) => **t = Tensor::from_data(TensorData::new(values, shape), device),
        }
    }

    /// The values in memory order as one vector without autodiff; for element-wise optimisers.
    pub fn flat(&self) -> Tensor<1> {
        match self {
            Self::Vector(t) => (*t).clone().inner(),
            Self::Matrix(t) | Self::Kernel(t, _) => (*t).clone().inner().flatten(0, 1),
            Self::Tokens(t) => (*t).clone().inner().flatten(0, 2),
            Self::Conv(t) => (*t).clone().inner().flatten(0, 3),
        }
    }

    /// Puts back values that [`Self::flat`] gave; the tensor is trained from then on.
    pub fn set_flat_trained(&mut self, flat: Tensor<1>) {
        match self {
            Self::Vector(t) => **t = flat.autodiff().require_grad(),
            Self::Matrix(t) | Self::Kernel(t, _) => {
                **t = flat.reshape(t.dims()).autodiff().require_grad();
            }
            Self::Tokens(t) => **t = flat.reshape(t.dims()).autodiff().require_grad(),
            Self::Conv(t) => **t = flat.reshape(t.dims()).autodiff().require_grad(),
        }
    }

    /// The tensor's gradient in memory order, taken out of `gradients`.
    pub fn take_gradient(&self, gradients: &mut Gradients) -> Option<Tensor<1>> {
        match self {
            Self::Vector(t) => t.grad_remove(gradients),
            Self::Matrix(t) | Self::Kernel(t, _) => {
                t.grad_remove(gradients).map(|g| g.flatten(0, 1))
            }
            Self::Tokens(t) => t.grad_remove(gradients).map(|g| g.flatten(0, 2)),
            Self::Conv(t) => t.grad_remove(gradients).map(|g| g.flatten(0, 3)),
        }
    }

    /// The tensor's gradient in file layout, left in `gradients`.
    pub fn gradient_in_file_layout(&self, gradients: &Gradients) -> Option<Vec<f32>> {
        let data = match self {
            Self::Vector(t) => t.grad(gradients)?.into_data(),
            Self::Matrix(t) | Self::Kernel(t, _) => t.grad(gradients)?.transpose().into_data(),
            Self::Tokens(t) => t.grad(gradients)?.into_data(),
            Self::Conv(t) => t.grad(gradients)?.into_data(),
        };
        Some(data.convert::<f32>().try_into_vec().expect("converted to f32 on the line above"))
    }

    /// Makes the tensor a leaf that receives gradients.
    pub fn train(&mut self) {
        let flat = self.flat();
        self.set_flat_trained(flat);
    }

    /// Converts the values to another type; the tensor is a constant from then on.
    pub fn cast(&mut self, dtype: FloatDType) {
        match self {
            Self::Vector(t) => **t = (*t).clone().inner().cast(dtype),
            Self::Matrix(t) | Self::Kernel(t, _) => **t = (*t).clone().inner().cast(dtype),
            Self::Tokens(t) => **t = (*t).clone().inner().cast(dtype),
            Self::Conv(t) => **t = (*t).clone().inner().cast(dtype),
        }
    }

    /// Makes the tensor a constant.
    pub fn freeze(&mut self) {
        match self {
            Self::Vector(t) => **t = (*t).clone().inner(),
            Self::Matrix(t) | Self::Kernel(t, _) => **t = (*t).clone().inner(),
            Self::Tokens(t) => **t = (*t).clone().inner(),
            Self::Conv(t) => **t = (*t).clone().inner(),
        }
    }
}

/// Transposes `[rows, columns]` row-major to `[columns, rows]` row-major, a tile at a time: a
/// column of a large matrix would touch another cache line with every value.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                let from = &values[row * columns..(row + 1) * columns];
                for column in left..columns.min(left + TILE) {
                    out[column * rows + row] = from[column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_moves_every_value_whatever_the_tiles() {
        for (rows, columns) in [(1, 1), (3, 70), (32, 32), (65, 33)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transpose(&values, rows, columns);
            assert_eq!(transpose(&turned, columns, rows), values);
            assert_eq!(turned.get(1), if rows > 1 { values.get(columns) } else { values.get(1) });
        }
    }
}
