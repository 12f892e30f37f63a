//! The number of values that are not finite.

#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Int, Tensor, TensorData};

use super::dispatch::on_host;
#[cfg(feature = "cube")]
use super::dispatch::{Path, path};
use super::operation::Values;

/// Counts NaN and infinite values: `[2]`, in this order.
pub fn counts<const D: usize>(x: Tensor<D>) -> Tensor<1, Int> {
    #[cfg(feature = "cube")]
    if path(&[&x]) == Path::Cube {
        return cube::counts(x);
    }
    let device = x.device().inner();
    let values = Values::of_tensor(on_host(x));
    let count = |is: fn(&f32) -> bool| {
        let n = values.slice().iter().filter(|x| is(x)).count();
        (n as u64).cast_signed()
    };
    let counts = vec![count(|x| x.is_nan()), count(|x| x.is_infinite())];
    Tensor::from_data(TensorData::new(counts, [2]), &device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn each_kind_is_counted() {
        let values = [[0.0, f32::NAN, -1.0], [f32::INFINITY, f32::NEG_INFINITY, -f32::NAN]];
        let found = counts(Tensor::<2>::from_data(values, &Device::flex()));
        let found: Vec<i64> = found.into_data().convert::<i64>().try_into_vec().unwrap();
        assert_eq!(found, [2, 2]);
    }
}
