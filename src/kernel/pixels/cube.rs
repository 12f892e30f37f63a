//! Images normalised on a GPU.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Shape, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::data::transform::{INSIDE, Normal};
use crate::kernel::cube::{Gpu, Grid, empty, launch};

pub(super) fn images(pixels: Tensor<3, burn::tensor::Int>, normal: Normal) -> Tensor<4> {
    let pixels = pixels.try_into_primitive::<Gpu>().expect("on the GPU they were copied to");
    Tensor::from_primitive::<Gpu>(Gpu::unpack(pixels, normal))
}

#[backend_extension(Cube, Fusion)]
trait Unpack: Backend {
    #[fusion(dtype = DType::F32, shape = unpacked_shape(pixels))]
    fn unpack(pixels: IntTensor<Self>, normal: Normal) -> FloatTensor<Self>;
}

fn unpacked_shape(pixels: &Shape) -> Shape {
    let [batch, height, width] = pixels.dims();
    Shape::new([batch, 3, height, width])
}

impl Unpack for CubeBackend {
    fn unpack(pixels: CubeTensor, Normal { mean, std }: Normal) -> CubeTensor {
        let shape = TensorMetadata::shape(&pixels);
        let [_, height, width] = shape.dims();
        let output = empty(&pixels, unpacked_shape(&shape), DType::F32);
        let grid = Grid::each(&pixels);
        let [mean, std] = [mean, std].map(|[red, green, blue]| RgbLaunch::new(red, green, blue));
        launch!(values, grid, [pixels, output.clone()], height * width, mean, std);
        output
    }
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Rgb {
    red: f32,
    green: f32,
    blue: f32,
}

#[cube(launch, address_type = "dynamic")]
fn values(pixels: &[u32], output: &mut [f32], plane: usize, mean: Rgb, std: Rgb) {
    let i = ABSOLUTE_POS;
    if i < pixels.len() {
        let first = i / plane * plane * 3 + i % plane;
        let pixel = pixels[i];
        let mut red = 0.0f32;
        let mut green = 0.0f32;
        let mut blue = 0.0f32;
        if pixel >= comptime!(INSIDE) {
            red = (level(pixel) - mean.red) / std.red;
            green = (level(pixel >> 8) - mean.green) / std.green;
            blue = (level(pixel >> 16) - mean.blue) / std.blue;
        }
        output[first] = red;
        output[first + plane] = green;
        output[first + 2 * plane] = blue;
    }
}

/// The lowest byte, from 0 to 1.
#[cube]
fn level(word: u32) -> f32 {
    f32::cast_from(word & 255u32) / 255.0f32
}
