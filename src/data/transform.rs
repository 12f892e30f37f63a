//! Resizes, flips, pads and normalises images and masks; submodules hold the training transforms.

pub mod crop;
pub mod photometric;
pub mod train;
mod window;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

pub use self::train::{Config, DrawKey, Training};
use self::window::Window;
use super::{Mask, Rgb, VOID};

/// Resizes `image` to another size, whatever its shape: bilinear, widened when shrinking
/// (antialiased), as Pillow's `resize(…, BILINEAR)` within one grey level.
pub fn squash(image: &Rgb, height_px: u32, width_px: u32) -> Rgb {
    if (image.height, image.width) == (height_px, width_px) {
        return image.clone();
    }
    bilinear(image, [height_px, width_px], &ResizeOptions::new())
}

/// `image`, or the box of it that `options` name, at `[height, width]`: bilinear.
fn bilinear(image: &Rgb, [height, width]: [u32; 2], options: &ResizeOptions) -> Rgb {
    let options = options.resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut resized = Rgb { width, height, pixels: vec![0; width as usize * height as usize * 3] };
    let expect = "an `Rgb` holds width x height x 3 bytes";
    // Typed, so that the program does not hold the code of all other pixel types.
    let source = TypedImageRef::<U8x3>::from_buffer(image.width, image.height, &image.pixels);
    let target = TypedImage::<U8x3>::from_buffer(width, height, &mut resized.pixels);
    Resizer::new()
        .resize_typed(&source.expect(expect), &mut target.expect(expect), &options)
        .expect("the box lies inside the image");
    resized
}

/// Resizes `mask` to another size: the class at `floor((i + 0.5) * source / target)`, as Pillow's
/// `resize(…, NEAREST)` and torch's `nearest-exact` (torch's `nearest` leaves out the half).
pub fn resize_nearest(mask: &Mask, height_px: u32, width_px: u32) -> Mask {
    if (mask.height, mask.width) == (height_px, width_px) {
        return mask.clone();
    }
    Window::whole([height_px, width_px]).of_mask(mask)
}

/// The rows and columns, of an image of height and width `from`, that [`resize_nearest`] takes for
/// those of an image of size `to`.
pub fn nearest_sources(from: [usize; 2], to: [usize; 2]) -> [Vec<usize>; 2] {
    let [from, to] = [from, to].map(|size| size.map(|px| px as u32));
    Window::whole(to).sources(from).map(Iterator::collect)
}

/// Mirrors left and right.
pub fn flip_rgb(image: &mut Rgb) {
    for row in image.pixels.chunks_exact_mut(image.width as usize * 3) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

/// Mirrors left and right.
pub fn flip_mask(mask: &mut Mask) {
    for row in mask.classes.chunks_exact_mut(mask.width as usize) {
        row.reverse();
    }
}

/// Pads `mask` with void to its right and below it, up to `[height, width]`.
///
/// # Panics
/// Where it is larger.
pub fn pad_mask(mask: Mask, [height, width]: [u32; 2]) -> Mask {
    if (mask.height, mask.width) == (height, width) {
        return mask;
    }
    assert!(mask.height <= height && mask.width <= width, "padding only adds");
    let mut classes = vec![VOID; height as usize * width as usize];
    let rows = classes.chunks_exact_mut(width as usize);
    for (padded, row) in rows.zip(mask.classes.chunks_exact(mask.width as usize)) {
        padded[..row.len()].copy_from_slice(row);
    }
    Mask { width, height, classes }
}

/// A pixel's red, green and blue in the lowest three bytes, and 255 in the highest. A pixel beside
/// the image, which pads it, is 0.
pub type Pixel = u32;

/// The highest byte of a pixel that belongs to the image.
pub const INSIDE: Pixel = 255 << 24;

/// The mean and standard deviation of each channel that images are normalised by; values are from
/// 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Normal {
    /// Values from 0 to 1 as they are.
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };
}

/// The pixels of `image`, and beside it padding, `[height, width]` of `size`.
///
/// # Panics
/// Where the image is larger.
pub fn pack(image: &Rgb, [height, width]: [u32; 2]) -> Vec<Pixel> {
    assert!(image.height <= height && image.width <= width, "padding only adds");
    let mut packed = vec![0; height as usize * width as usize];
    let rows = image.pixels.chunks_exact(image.width.max(1) as usize * 3);
    for (packed, row) in packed.chunks_exact_mut(width.max(1) as usize).zip(rows) {
        for (packed, [red, green, blue]) in packed.iter_mut().zip(row.as_chunks::<3>().0) {
            *packed = Pixel::from_le_bytes([*red, *green, *blue, 255]);
        }
    }
    packed
}

/// Writes the channels of one image, `(value / 255 - mean) / std`, into `out`,
/// `[3, height, width]`; beside the image it writes 0, the mean colour.
///
/// # Panics
/// Where `out` is not three times as long as `pixels`.
pub fn normalise(pixels: &[Pixel], normal: Normal, out: &mut [f32]) {
    assert_eq!(out.len(), 3 * pixels.len(), "output holds [3, height, width]");
    for (channel, plane) in out.chunks_exact_mut(pixels.len().max(1)).enumerate() {
        let (mean, std) = (normal.mean[channel], normal.std[channel]);
        let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            let level = table[usize::from(pixel.to_le_bytes()[channel])];
            *value = if *pixel < INSIDE { 0.0 } else { level };
        }
    }
}

/// Writes `(value / 255 - mean) / std` into `out`, `[3, height, width]`.
///
/// # Panics
/// Where `out` is not `3 * height * width` long.
pub fn to_chw(image: &Rgb, normal: Normal, out: &mut [f32]) {
    normalise(&pack(image, [image.height, image.width]), normal, out);
}

#[cfg(test)]
mod parity;

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32) -> Rgb {
        let pixels = (0..height)
            .flat_map(|y| (0..width).map(move |x| [x * 37 + y * 91, x * x * 11, y * 53 + x * 5]))
            .flat_map(|pixel| pixel.map(|value| (value % 256) as u8))
            .collect();
        Rgb { width, height, pixels }
    }

    fn check_pillow(height: u32, width: u32, expect: &[u8]) {
        let squashed = squash(&image(7, 5), height, width);
        assert_eq!((squashed.height, squashed.width), (height, width));
        assert_eq!(squashed.pixels.len(), expect.len());
        for (i, (&ours, &theirs)) in squashed.pixels.iter().zip(expect).enumerate() {
            assert!(ours.abs_diff(theirs) <= 1, "byte {i}: {ours}, Pillow {theirs}");
        }
    }

    #[test]
    fn shrinks_as_pillow() {
        check_pillow(
            2,
            3,
            &[99, 14, 57, 129, 94, 68, 129, 96, 79, 106, 14, 163, 118, 94, 174, 128, 96, 185],
        );
    }

    #[test]
    fn grows_as_pillow() {
        check_pillow(
            6,
            9,
            &[
                0, 0, 0, 25, 7, 3, 53, 26, 7, 82, 56, 11, 111, 99, 15, 140, 159, 19, 169, 89, 23,
                197, 59, 27, 222, 140, 30, 68, 0, 40, 93, 7, 43, 121, 26, 47, 150, 56, 51, 179, 99,
                55, 208, 159, 59, 130, 89, 63, 73, 59, 67, 98, 140, 70, 144, 0, 84, 169, 7, 87,
                131, 26, 91, 77, 56, 95, 106, 99, 99, 135, 159, 103, 104, 89, 107, 85, 59, 111,
                110, 140, 114, 113, 0, 128, 138, 7, 131, 100, 26, 135, 46, 56, 139, 75, 99, 143,
                104, 159, 147, 133, 89, 151, 161, 59, 155, 186, 140, 158, 40, 0, 172, 65, 7, 175,
                93, 26, 179, 122, 56, 183, 151, 99, 187, 130, 159, 191, 145, 89, 195, 173, 59, 199,
                198, 140, 202, 108, 0, 212, 133, 7, 215, 161, 26, 219, 190, 56, 223, 219, 99, 227,
                49, 159, 231, 21, 89, 235, 49, 59, 239, 74, 140, 242,
            ],
        );
    }

    #[test]
    fn shrinks_one_axis_and_grows_the_other_as_pillow() {
        check_pillow(
            8,
            2,
            &[
                59, 43, 8, 163, 99, 22, 99, 43, 31, 146, 99, 45, 148, 43, 64, 122, 99, 78, 126, 43,
                97, 100, 99, 111, 103, 43, 131, 117, 99, 145, 78, 43, 164, 174, 99, 178, 117, 43,
                197, 121, 99, 211, 149, 43, 220, 75, 99, 234,
            ],
        );
    }

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        let mask = |classes: &[u8]| Mask {
            width: classes.len() as u32,
            height: 1,
            classes: classes.to_vec(),
        };
        let check = |n: u32, expect: &[u8]| {
            let source = mask(&[0, 1, 2, 3, 4, 5, 6]);
            assert_eq!(resize_nearest(&source, 1, n), mask(expect));
        };
        // Pillow's, and torch's `nearest-exact`.
        check(3, &[1, 3, 5]);
        check(4, &[0, 2, 4, 6]);
        check(5, &[0, 2, 3, 4, 6]);
        check(10, &[0, 1, 1, 2, 3, 3, 4, 5, 5, 6]);
        check(14, &[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    }

    #[test]
    fn nearest_resizes_both_axes() {
        let mask = Mask { width: 2, height: 2, classes: vec![1, 2, 3, 255] };
        let big = resize_nearest(&mask, 4, 3);
        assert_eq!(big.classes, [1, 2, 2, 1, 2, 2, 3, 255, 255, 3, 255, 255]);
    }

    #[test]
    fn flips_mirror_left_and_right() {
        let mut image = Rgb { width: 2, height: 1, pixels: vec![1, 2, 3, 4, 5, 6] };
        flip_rgb(&mut image);
        assert_eq!(image.pixels, [4, 5, 6, 1, 2, 3]);
        let mut mask = Mask { width: 3, height: 2, classes: vec![1, 2, 3, 4, 5, 6] };
        flip_mask(&mut mask);
        assert_eq!(mask.classes, [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn what_is_padded_is_void_and_of_the_mean_colour() {
        let image = Rgb { width: 1, height: 2, pixels: vec![255, 0, 51, 0, 0, 255] };
        let mut out = [9.0; 18];
        let normal = Normal { mean: [0.5; 3], std: [0.5; 3] };
        normalise(&pack(&image, [3, 2]), normal, &mut out);
        let expect: [f32; 18] = [
            1.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, -0.6, 0.0, 1.0, 0.0,
            0.0, 0.0,
        ];
        assert!(out.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?}");
        let mask = Mask { width: 1, height: 2, classes: vec![4, 5] };
        let padded = Mask { width: 2, height: 3, classes: vec![4, 255, 5, 255, 255, 255] };
        assert_eq!(pad_mask(mask, [3, 2]), padded);
        assert_eq!(pad_mask(padded.clone(), [3, 2]), padded);
    }

    #[test]
    fn planes_are_normalised() {
        let image = Rgb { width: 2, height: 1, pixels: vec![0, 51, 255, 255, 102, 0] };
        let mut out = [0.0; 6];
        let normal = Normal { mean: [0.0, 0.2, 0.5], std: [1.0, 0.1, 0.25] };
        to_chw(&image, normal, &mut out);
        let expect = [0.0, 1.0, 0.0, 2.0, 2.0, -2.0];
        assert!(out.iter().zip(expect).all(|(a, b): (_, f32)| (a - b).abs() < 1e-6), "{out:?}");
    }
}
