//! Adds the logits of overlapping windows on GPUs: a unit for each value of the sum, which goes over
//! the windows in their order, so that the same sum comes out each time.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Window;
use crate::kernel::cube::{Gpu, Grid, elem, launch, owned, take};
use crate::kernel::upsampled::cube::{Sizes, logit, pixel};

/// The sums `[1, n_classes, height, width]`, f32, after the logits of `windows`, all of one size.
pub(super) fn add(sums: Tensor<4>, logits: Tensor<4>, windows: &[Window]) -> Tensor<4> {
    let corners = windows.iter().flat_map(|window| [window.top as u32, window.left as u32]);
    let corners = TensorData::new(corners.collect(), [windows.len(), 2]);
    let corners = Tensor::<2, burn::tensor::Int>::from_data(corners, (&sums.device(), DType::U32));
    let corners = corners.try_into_primitive::<Gpu>().expect("on the GPU it was copied to");
    let [sums, logits] = [sums, logits.inner()].map(|tensor| take(tensor).0);
    Tensor::from_primitive::<Gpu>(Gpu::windows_added(sums, logits, corners, windows[0].size))
}

#[backend_extension(Cube, Fusion)]
trait Canvas: Backend {
    /// `corners` are the top and left of each window, `[n_windows, 2]`; `size` is their height and
    /// width.
    #[fusion(dtype = sums, shape = sums)]
    fn windows_added(
        sums: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        corners: IntTensor<Self>,
        size: [usize; 2],
    ) -> FloatTensor<Self>;
}

impl Canvas for CubeBackend {
    fn windows_added(
        sums: CubeTensor,
        logits: CubeTensor,
        corners: CubeTensor,
        size: [usize; 2],
    ) -> CubeTensor {
        let sums = owned(sums);
        let [_, n_classes, rows, columns] = TensorMetadata::shape(&logits).dims();
        let [_, _, height, width] = TensorMetadata::shape(&sums).dims();
        let (sizes, elem) = (Sizes::of(n_classes, [rows, columns], size), elem(&logits));
        let grid = Grid::each(&sums);
        launch!(sums_of, grid, [logits, corners, sums.clone()], height, width, sizes, elem);
        sums
    }
}

#[cube(launch, address_type = "dynamic")]
fn sums_of<F: Float>(
    logits: &[F],
    corners: &[u32],
    sums: &mut [f32],
    height: usize,
    width: usize,
    sizes: Sizes,
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < sums.len() {
        let (x, row) = (i % width, i / width);
        let (y, class) = (row % height, row / height);
        let plane = sizes.vertical.n_in * sizes.horizontal.n_in;
        let mut sum = sums[i];
        for window in 0..corners.len() / 2 {
            let top = corners[2 * window] as usize;
            let left = corners[2 * window + 1] as usize;
            let is_in_rows = y >= top && y < top + sizes.vertical.n_out;
            if is_in_rows && x >= left && x < left + sizes.horizontal.n_out {
                let at = pixel(y - top, x - left, &sizes);
                sum += logit::<F>(logits, (window * sizes.n_classes + class) * plane, &at);
            }
        }
        sums[i] = sum;
    }
}
