//! Writes images and masks as PNG files.

use png::{BitDepth, ColorType, Compression};

use crate::data::{Mask, Rgb};

/// Colours of a palette, by index.
pub type Palette = [[u8; 3]; 256];

/// Encodes `image` as a PNG file. Neither side may be 0.
pub fn write_png_rgb(image: &Rgb) -> Vec<u8> {
    encode(image.width, image.height, &image.pixels, &Colours::Rgb, Compression::Balanced)
}

/// Encodes `mask` as an indexed PNG file with `palette`. Neither side may be 0.
pub fn write_png_mask(mask: &Mask, palette: &Palette) -> Vec<u8> {
    let colours = Colours::Indexed(palette);
    encode(mask.width, mask.height, &mask.classes, &colours, Compression::Balanced)
}

/// As [`write_png_rgb`], in stored blocks: the bytes do not depend on a compressor's version.
pub fn write_png_rgb_stored(image: &Rgb) -> Vec<u8> {
    encode(image.width, image.height, &image.pixels, &Colours::Rgb, Compression::NoCompression)
}

/// As [`write_png_mask`], in stored blocks: the bytes do not depend on a compressor's version.
pub fn write_png_mask_stored(mask: &Mask, palette: &Palette) -> Vec<u8> {
    let colours = Colours::Indexed(palette);
    encode(mask.width, mask.height, &mask.classes, &colours, Compression::NoCompression)
}

/// The palette of PASCAL VOC: the bits of the index in turn go to red, green and blue, from the
/// top.
pub fn voc_palette() -> Palette {
    std::array::from_fn(|index| {
        let mut colour = [0; 3];
        for bit in 0..8 {
            for (channel, value) in colour.iter_mut().enumerate() {
                let set = (index >> (3 * bit + channel)) & 1;
                *value |= (set as u8) << (7 - bit);
            }
        }
        colour
    })
}

enum Colours<'a> {
    Rgb,
    Indexed(&'a Palette),
}

fn encode(
    width: u32,
    height: u32,
    data: &[u8],
    colours: &Colours<'_>,
    compression: Compression,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() / 2 + 2048);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(BitDepth::Eight);
    match colours {
        Colours::Rgb => encoder.set_color(ColorType::Rgb),
        Colours::Indexed(palette) => {
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(palette.as_flattened().to_vec());
        }
    }
    encoder.set_compression(compression);
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(data)?;
            writer.finish()
        })
        .expect("writing to memory fails only where the data is not width x height");
    bytes
}
