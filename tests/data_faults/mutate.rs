//! Sound files, and ways to damage them. The same key makes the same damage everywhere.

use dino_sweep::data::image_io::{
    voc_palette, write_png_mask, write_png_mask_stored, write_png_rgb,
};
use dino_sweep::data::{Mask, Rgb};
use dino_sweep::rng::{self, ChaCha8Rng};
use jpeg_encoder::{ColorType as Jpeg, Encoder, SamplingFactor};

/// Values that length and size fields are set to.
const EXTREMES: [u32; 9] = [0, 1, 2, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

pub(crate) const WIDTH: u32 = 23;
pub(crate) const HEIGHT: u32 = 17;

/// Images of all kinds, each [`WIDTH`] by [`HEIGHT`].
pub(crate) fn images() -> Vec<Vec<u8>> {
    use png::{BitDepth, ColorType};
    let pixels: Vec<u8> = (0..WIDTH * HEIGHT * 3).map(|i| (i * 7 % 251) as u8).collect();
    let rgb = Rgb { width: WIDTH, height: HEIGHT, pixels };
    let mut seeds = vec![write_png_rgb(&rgb)];
    seeds.push(png_of(ColorType::Grayscale, BitDepth::Eight, 1));
    seeds.push(png_of(ColorType::Grayscale, BitDepth::Two, 1));
    seeds.push(png_of(ColorType::GrayscaleAlpha, BitDepth::Sixteen, 1));
    seeds.push(png_of(ColorType::Rgba, BitDepth::Eight, 1));
    seeds.push(png_of(ColorType::Rgb, BitDepth::Sixteen, 1));
    seeds.push(png_of(ColorType::Rgb, BitDepth::Eight, 2));
    seeds.push(jpeg_of(&rgb.pixels, Jpeg::Rgb, |_| {}));
    seeds.push(jpeg_of(&rgb.pixels, Jpeg::Rgb, |encoder| encoder.set_progressive(true)));
    seeds.push(jpeg_of(&rgb.pixels, Jpeg::Rgb, |encoder| {
        encoder.set_restart_interval(2);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder
            .add_app_segment(
                1,
                b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec(),
            )
            .unwrap();
    }));
    seeds.push(jpeg_of(&rgb.pixels[..(WIDTH * HEIGHT) as usize], Jpeg::Luma, |_| {}));
    let four: Vec<u8> = (0..WIDTH * HEIGHT * 4).map(|i| (i * 5 % 253) as u8).collect();
    seeds.push(jpeg_of(&four, Jpeg::Cmyk, |_| {}));
    seeds
}

/// Masks of two classes and void in every form.
pub(crate) fn masks() -> Vec<Vec<u8>> {
    use png::{BitDepth, ColorType};
    let classes = (0..WIDTH * HEIGHT).map(|i| [0, 1, 255, 1][(i * 5 % 4) as usize]).collect();
    let mask = Mask { width: WIDTH, height: HEIGHT, classes };
    vec![
        write_png_mask(&mask, &voc_palette()),
        write_png_mask_stored(&mask, &voc_palette()),
        png_of(ColorType::Indexed, BitDepth::One, 1),
        png_of(ColorType::Indexed, BitDepth::Four, 1),
        png_of(ColorType::Indexed, BitDepth::Eight, 2),
        png_of(ColorType::Grayscale, BitDepth::Eight, 1),
        png_of(ColorType::Grayscale, BitDepth::Sixteen, 1),
        png_of(ColorType::Rgb, BitDepth::Eight, 1),
    ]
}

fn png_of(color: png::ColorType, depth: png::BitDepth, n_frames: u32) -> Vec<u8> {
    let row = (WIDTH as usize * color.samples() * depth as usize).div_ceil(8);
    let data: Vec<u8> = (0..row * HEIGHT as usize).map(|i| (i * 3 % 2) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(voc_palette().as_flattened()[..3 << (depth as usize)].to_vec());
    }
    if n_frames > 1 {
        encoder.set_animated(n_frames, 0).unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    for _ in 0..n_frames {
        writer.write_image_data(&data).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

fn jpeg_of(pixels: &[u8], color: Jpeg, set: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    set(&mut encoder);
    encoder.encode(pixels, WIDTH as u16, HEIGHT as u16, color).unwrap();
    bytes
}

/// One of `seeds`, damaged in one to three places; and the kind of damage.
pub(crate) fn damaged(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> (Vec<u8>, &'static str) {
    let seed = pick(rng, seeds);
    let mut bytes = seed.clone();
    let n = 1 + below(rng, 3);
    let mut kind = "";
    for _ in 0..n {
        kind = damage(rng, &mut bytes, seeds);
    }
    // A wrong checksum ends the reading of most PNG files early: with a right one it goes further.
    if below(rng, 4) > 0 {
        mend_png(&mut bytes);
    }
    let kind = if n > 1 { "several of these" } else { kind };
    let kind = if bytes == *seed { "none: the bytes are the same" } else { kind };
    (bytes, kind)
}

fn damage(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) -> &'static str {
    const KINDS: [&str; 9] = [
        "a bit",
        "8 bits",
        "a byte",
        "cut",
        "a piece lost",
        "a piece twice",
        "a piece of another file",
        "an extreme number",
        "a number of the header",
    ];
    if bytes.is_empty() {
        return "cut";
    }
    let n = bytes.len();
    let at = below(rng, n);
    let end = (at + 1 + below(rng, 64)).min(n);
    let kind = below(rng, KINDS.len());
    match kind {
        0 => bytes[at] ^= 1 << below(rng, 8),
        1 => {
            for _ in 0..8 {
                let at = below(rng, n);
                bytes[at] ^= 1 << below(rng, 8);
            }
        }
        2 => bytes[at] = below(rng, 256) as u8,
        3 => bytes.truncate(at),
        4 => {
            bytes.drain(at..end);
        }
        5 => {
            let piece = bytes[at..end].to_vec();
            let to = below(rng, n);
            bytes.splice(to..to, piece);
        }
        6 => {
            let other = pick(rng, seeds);
            let from = below(rng, other.len());
            let to = (from + 1 + below(rng, 200)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        7 => set_field(rng, bytes, at),
        _ => {
            // The fields that say how large the image is and how it is stored.
            let is_png = bytes.starts_with(b"\x89PNG");
            let place = if is_png { Some(8 + below(rng, 25)) } else { frame_of(bytes) };
            if let Some(place) = place.filter(|place| *place < n) {
                let place = if is_png { place } else { (place + below(rng, 16)).min(n - 1) };
                if below(rng, 2) == 0 {
                    bytes[place] = below(rng, 256) as u8;
                } else {
                    set_field(rng, bytes, place);
                }
            }
        }
    }
    KINDS[kind]
}

/// Sets 2 or 4 bytes to an extreme, most significant first.
pub(crate) fn set_field(rng: &mut ChaCha8Rng, bytes: &mut [u8], at: usize) {
    let value = EXTREMES[below(rng, EXTREMES.len())].to_be_bytes();
    let value = if below(rng, 2) == 0 { &value[..] } else { &value[2..] };
    for (byte, value) in bytes[at..].iter_mut().zip(value) {
        *byte = *value;
    }
}

/// A sound PNG file whose header says that it is `width` x `height`.
pub(crate) fn relabelled(mut bytes: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Where the frame header of a JPEG file begins.
pub(crate) fn frame_of(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair[0] == 0xff && (0xc0..=0xc2).contains(&pair[1]))
}

/// Sets the checksums of all chunks that can be walked to.
fn mend_png(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(chunk) = bytes.get(at + 4..(at + 8).saturating_add(length)) else { return };
        let crc = crc32(chunk).to_be_bytes();
        let end = at + 8 + length;
        let Some(field) = bytes.get_mut(end..end + 4) else { return };
        field.copy_from_slice(&crc);
        at = end + 4;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

pub(crate) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    rng::below(rng, n as u64) as usize
}

pub(crate) fn pick<'a>(rng: &mut ChaCha8Rng, seeds: &'a [Vec<u8>]) -> &'a Vec<u8> {
    &seeds[below(rng, seeds.len())]
}
