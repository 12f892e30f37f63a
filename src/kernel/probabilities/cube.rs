//! Adds the class probabilities of a view on GPUs: a unit for each pixel.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, launch, owned, take};
use crate::kernel::upsampled::cube::{Sizes, logit, pixel};

/// The sums `[1, n_classes, height, width]`, f32, after the softmax of one image's logits, upsampled.
pub(super) fn add(sums: Tensor<4>, logits: Tensor<4>) -> Tensor<4> {
    let [sums, logits] = [sums, logits.inner()].map(|tensor| take(tensor).0);
    Tensor::from_primitive::<Gpu>(Gpu::softmax_added(sums, logits))
}

#[backend_extension(Cube, Fusion)]
trait Probabilities: Backend {
    #[fusion(dtype = sums, shape = sums)]
    fn softmax_added(sums: FloatTensor<Self>, logits: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Probabilities for CubeBackend {
    fn softmax_added(sums: CubeTensor, logits: CubeTensor) -> CubeTensor {
        let sums = owned(sums);
        let [_, n_classes, rows, columns] = TensorMetadata::shape(&logits).dims();
        let [_, _, height, width] = TensorMetadata::shape(&sums).dims();
        let sizes = Sizes::of(n_classes, [rows, columns], [height, width]);
        let (grid, elem) = (Grid::units(&sums, height * width), elem(&logits));
        launch!(sums_of, grid, [logits, sums.clone()], sizes, elem);
        sums
    }
}

#[cube(launch, address_type = "dynamic")]
fn sums_of<F: Float>(logits: &[F], sums: &mut [f32], sizes: Sizes, #[define(F)] _elem: ElemType) {
    let i = ABSOLUTE_POS;
    let n_pixels = sizes.vertical.n_out * sizes.horizontal.n_out;
    if i < n_pixels {
        let at = pixel(i / sizes.horizontal.n_out, i % sizes.horizontal.n_out, &sizes);
        let plane = sizes.vertical.n_in * sizes.horizontal.n_in;
        let mut top = logit::<F>(logits, 0, &at);
        for class in 1..sizes.n_classes {
            top = max(top, logit::<F>(logits, class * plane, &at));
        }
        let mut sum = 0.0f32;
        for class in 0..sizes.n_classes {
            sum += (logit::<F>(logits, class * plane, &at) - top).exp();
        }
        for class in 0..sizes.n_classes {
            let value = (logit::<F>(logits, class * plane, &at) - top).exp();
            sums[class * n_pixels + i] += value / sum;
        }
    }
}
