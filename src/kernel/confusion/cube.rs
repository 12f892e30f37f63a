//! Confusion counts on GPUs, by atomic additions.

use burn::backend::tensor::IntTensor;
use burn::backend::{Backend, Shape, backend_extension};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::data::VOID;
use crate::kernel::cube::{Gpu, Grid, elem, launch, zeros};

/// The void class in a kernel.
const NONE: u32 = VOID as u32;

pub(super) fn counts(
    truth: Tensor<3, burn::tensor::Int>,
    predicted: Tensor<3, burn::tensor::Int>,
    n_classes: usize,
) -> Tensor<2, burn::tensor::Int> {
    let [truth, predicted] = [truth, predicted]
        .map(|map| map.try_into_primitive::<Gpu>().expect("on the device that the path says"));
    Tensor::from_primitive::<Gpu>(Gpu::confusion(truth, predicted, n_classes))
}

#[backend_extension(Cube, Fusion)]
trait Confusion: Backend {
    #[fusion(dtype = DType::U32, shape = Shape::new([*n_classes; 2]))]
    fn confusion(
        truth: IntTensor<Self>,
        predicted: IntTensor<Self>,
        n_classes: usize,
    ) -> IntTensor<Self>;
}

impl Confusion for CubeBackend {
    fn confusion(truth: CubeTensor, predicted: CubeTensor, n_classes: usize) -> CubeTensor {
        let output = zeros(&truth, Shape::new([n_classes; 2]), DType::U32);
        let (grid, elems) = (Grid::each(&truth), [elem(&truth), elem(&predicted)]);
        launch!(counts_of, grid, [truth, predicted, output.clone()], n_classes, elems);
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn counts_of<T: Int, P: Int>(
    truth: &[T],
    predicted: &[P],
    output: &mut [Atomic<u32>],
    n_classes: usize,
    #[define(T, P)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < truth.len() {
        let truth = u32::cast_from(truth[i]);
        if truth != NONE {
            let at = truth as usize * n_classes + u32::cast_from(predicted[i]) as usize;
            output[at].fetch_add(1u32);
        }
    }
}
