//! Arg max on the CPU: a row of upsampled logits at a time.

use burn::tensor::{Device, Int, Tensor};
use rayon::prelude::*;

use crate::kernel::classes;
use crate::kernel::operation::Values;
use crate::kernel::upsampled::{Axes, Logits, blend};

pub(super) fn arg_max(logits: Tensor<4>, size: [usize; 2]) -> Tensor<3, Int> {
    let shape = logits.dims();
    let [height, width] = size;
    let values = Values::of_tensor(logits);
    let mut out = vec![0u8; shape[0] * height * width];
    let images = Logits::new(values.slice(), shape).images();
    for (logits, out) in images.zip(out.chunks_exact_mut(height * width)) {
        of_image(logits, size, out);
    }
    classes::tensor(out, [shape[0], height, width], &Device::flex())
}

/// Writes the classes of one image, row-major, into `out`.
fn of_image(logits: Logits<'_>, size: [usize; 2], out: &mut [u8]) {
    let width = logits.grid[1];
    let axes = Axes::new(logits.grid, size);
    out.par_chunks_exact_mut(size[1]).zip(&axes.vertical).for_each(|(out, tap)| {
        let line = blend(logits, *tap);
        let mut best = vec![f32::NEG_INFINITY; size[1]];
        for (class, row) in line.chunks_exact(width).enumerate() {
            for ((out, best), tap) in out.iter_mut().zip(&mut best).zip(&axes.horizontal) {
                let value =
                    row[tap.low] * (1.0 - tap.weight_high) + row[tap.high] * tap.weight_high;
                if value > *best {
                    *best = value;
                    *out = class as u8;
                }
            }
        }
    });
}
