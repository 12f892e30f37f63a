//! Arg max on GPUs: a unit for each pixel.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::classes;
use crate::kernel::cube::{Gpu, Grid, elem, empty, launch, take};
use crate::kernel::upsampled::cube::{Sizes, logit, pixel};

pub(super) fn arg_max(
    logits: Tensor<4>,
    [height, width]: [usize; 2],
) -> Tensor<3, burn::tensor::Int> {
    let dtype = classes::dtype(&logits.device());
    let (logits, _) = take(logits.inner());
    Tensor::from_primitive::<Gpu>(Gpu::arg_max(logits, height, width, dtype))
}

#[backend_extension(Cube, Fusion)]
trait ArgMax: Backend {
    #[fusion(meta = |logits, height, width, dtype| {
        TensorSpec::new(shape(&logits.shape, *height, *width), *dtype)
    })]
    fn arg_max(
        logits: FloatTensor<Self>,
        height: usize,
        width: usize,
        dtype: DType,
    ) -> IntTensor<Self>;
}

fn shape(logits: &Shape, height: usize, width: usize) -> Shape {
    let [batch, _, _, _] = logits.dims();
    Shape::new([batch, height, width])
}

impl ArgMax for CubeBackend {
    fn arg_max(logits: CubeTensor, height: usize, width: usize, dtype: DType) -> CubeTensor {
        let in_shape = TensorMetadata::shape(&logits);
        let [_, n_classes, rows, columns] = in_shape.dims();
        let output = empty(&logits, shape(&in_shape, height, width), dtype);
        let elems = [elem(&logits), elem(&output)];
        let sizes = Sizes::of(n_classes, [rows, columns], [height, width]);
        launch!(classes_of, Grid::each(&output), [logits, output.clone()], sizes, elems);
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn classes_of<F: Float, I: Int>(
    logits: &[F],
    output: &mut [I],
    sizes: Sizes,
    #[define(F, I)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let (x, row) = (i % sizes.horizontal.n_out, i / sizes.horizontal.n_out);
        let (y, image) = (row % sizes.vertical.n_out, row / sizes.vertical.n_out);
        let at = pixel(y, x, &sizes);
        let plane = sizes.vertical.n_in * sizes.horizontal.n_in;
        let first = image * sizes.n_classes * plane;
        let mut best = comptime!(f32::MIN).runtime();
        let mut found = 0u32.runtime();
        for class in 0..sizes.n_classes {
            let value = logit::<F>(logits, first + class * plane, &at);
            if value > best {
                best = value;
                found = class as u32;
            }
        }
        output[i] = I::cast_from(found);
    }
}
