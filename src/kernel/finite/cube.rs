//! Counts on GPUs, by the bits: shading languages may take it that no value is NaN.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Shape, backend_extension};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, launch, take, zeros};

pub(super) fn counts<const D: usize>(x: Tensor<D>) -> Tensor<1, burn::tensor::Int> {
    Tensor::from_primitive::<Gpu>(Gpu::not_finite(take(x.inner()).0))
}

#[backend_extension(Cube, Fusion)]
trait NotFinite: Backend {
    #[fusion(dtype = DType::U32, shape = Shape::new([2]))]
    fn not_finite(x: FloatTensor<Self>) -> IntTensor<Self>;
}

impl NotFinite for CubeBackend {
    fn not_finite(x: CubeTensor) -> CubeTensor {
        let output = zeros(&x, Shape::new([2]), DType::U32);
        let (grid, elem) = (Grid::each(&x), elem(&x));
        launch!(counts_of, grid, [x, output.clone()], elem);
        output
    }
}

/// The exponent's bits of f32.
const EXPONENT: u32 = 0x7f80_0000;

#[cube(launch, address_type = "dynamic")]
fn counts_of<F: Float>(x: &[F], output: &mut [Atomic<u32>], #[define(F)] _elem: ElemType) {
    let i = ABSOLUTE_POS;
    if i < x.len() {
        let bits = u32::reinterpret(f32::cast_from(x[i]));
        if bits & EXPONENT == EXPONENT {
            if bits & 0x007f_ffffu32 != 0u32 {
                output[0].fetch_add(1u32);
            } else {
                output[1].fetch_add(1u32);
            }
        }
    }
}
