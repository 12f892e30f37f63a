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
use crate::kernel::cube::{Gpu, address, contiguous, elem, empty, one_each, take};
use crate::kernel::upsampled::cube::{logit, pixel};

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
        let [logits] = contiguous([logits]);
        let in_shape = TensorMetadata::shape(&logits);
        let [_, n_classes, rows, columns] = in_shape.dims();
        let output = empty(&logits, shape(&in_shape, height, width), dtype);
        let (count, dim) = one_each(&logits.client, output.meta.num_elements());
        let (client, address) = (logits.client.clone(), address(&[&logits, &output]));
        let elems = [elem(&logits), elem(&output)];
        classes_of::launch(
            &client,
            count,
            dim,
            address,
            logits.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            n_classes,
            rows,
            columns,
            height,
            width,
            elems,
        );
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn classes_of<F: Float, I: Int>(
    logits: &[F],
    output: &mut [I],
    n_classes: usize,
    rows: usize,
    columns: usize,
    height: usize,
    width: usize,
    #[define(F, I)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let (x, y, image) = (i % width, i / width % height, i / width / height);
        let at = pixel(y, x, rows, columns, height, width);
        let first = image * n_classes * rows * columns;
        let mut best = comptime!(f32::MIN).runtime();
        let mut found = 0u32.runtime();
        for class in 0..n_classes {
            let value = logit::<F>(logits, first + class * rows * columns, &at);
            if value > best {
                best = value;
                found = class as u32;
            }
        }
        output[i] = I::cast_from(found);
    }
}
