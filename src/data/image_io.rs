//! Reading and writing images and masks.
//!
//! Masks are read with the `png` crate, without transformations: the `image` crate expands
//! palettes, and the palette *indices* are the class indices.

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};
use png::{BitDepth, ColorType, Compression, Transformations};

use super::{Error, Mask, Rgb};

/// More than any camera takes; a header that claims more is damaged or a decompression bomb.
pub const PIXELS_MAX: u64 = 1 << 28;

/// Colours of a palette, by index.
pub type Palette = [[u8; 3]; 256];

/// Reads a JPEG or PNG file (told by its content, not its name) as 8-bit RGB.
///
/// Grey is repeated over the channels, 16-bit is scaled down, alpha is dropped, an EXIF rotation
/// is not applied: masks are drawn on the stored pixels.
pub fn read_rgb(path: &Path) -> Result<Rgb, Error> {
    let bytes = read(path, || Error::MissingImage { path: path.to_owned() })?;
    decode_rgb(&bytes, path)
}

/// Reads a PNG file of class indices: a palette of 1, 2, 4 or 8 bits, or 8-bit grey.
pub fn read_mask(path: &Path) -> Result<Mask, Error> {
    let bytes = read(path, || Error::MissingMask { path: path.to_owned() })?;
    decode_mask(&bytes, path)
}

/// [`read_rgb`] of bytes in memory; `path` is named in errors.
pub fn decode_rgb(bytes: &[u8], path: &Path) -> Result<Rgb, Error> {
    let format = sniff(bytes).map_err(|found| found.error(path, "JPEG or PNG"))?;
    check_whole(bytes, format, path)?;
    let failed = |source| Error::DecodeImage { path: path.to_owned(), source };
    let reader = ImageReader::with_format(Cursor::new(bytes), format.in_image_crate());
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, path)?;
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?.into_rgb8().into_raw();
    Ok(Rgb { width, height, pixels })
}

/// [`read_mask`] of bytes in memory; `path` is named in errors.
pub fn decode_mask(bytes: &[u8], path: &Path) -> Result<Mask, Error> {
    let format = sniff(bytes).map_err(|found| found.error(path, "PNG"))?;
    if format == Format::Jpeg {
        let found = "a JPEG (class indices do not survive its compression)".to_owned();
        return Err(Error::MaskFormat { path: path.to_owned(), found });
    }
    check_whole(bytes, format, path)?;
    let failed = |source| Error::DecodeMask { path: path.to_owned(), source };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_size(width, height, path)?;
    let bits = match reader.output_color_type() {
        (ColorType::Indexed, depth) => depth as usize,
        (ColorType::Grayscale, BitDepth::Eight) => 8,
        (color, depth) => {
            let found = format!("{color:?} of {} bits", depth as u8);
            return Err(Error::MaskFormat { path: path.to_owned(), found });
        }
    };
    let bytes_max = png::DecodingError::LimitsExceeded;
    let n_bytes = reader.output_buffer_size().ok_or(bytes_max).map_err(failed)?;
    let mut packed = vec![0; n_bytes];
    let row_bytes = reader.next_frame(&mut packed).map_err(failed)?.line_size;
    let classes = if bits == 8 { packed } else { unpack(&packed, row_bytes, width as usize, bits) };
    Ok(Mask { width, height, classes })
}

/// `image` as a PNG file. Neither side may be 0.
pub fn write_png_rgb(image: &Rgb) -> Vec<u8> {
    encode(image.width, image.height, &image.pixels, &Colours::Rgb, Compression::Balanced)
}

/// `mask` as an indexed PNG file with `palette`. Neither side may be 0.
pub fn write_png_mask(mask: &Mask, palette: &Palette) -> Vec<u8> {
    let colours = Colours::Indexed(palette);
    encode(mask.width, mask.height, &mask.classes, &colours, Compression::Balanced)
}

/// As [`write_png_rgb`], in stored blocks: its bytes depend on no compressor's version.
pub fn write_png_rgb_stored(image: &Rgb) -> Vec<u8> {
    encode(image.width, image.height, &image.pixels, &Colours::Rgb, Compression::NoCompression)
}

/// As [`write_png_mask`], in stored blocks: its bytes depend on no compressor's version.
pub fn write_png_mask_stored(mask: &Mask, palette: &Palette) -> Vec<u8> {
    let colours = Colours::Indexed(palette);
    encode(mask.width, mask.height, &mask.classes, &colours, Compression::NoCompression)
}

/// The palette of PASCAL VOC: the bits of the index, dealt to red, green and blue from the top.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
}

impl Format {
    fn in_image_crate(self) -> image::ImageFormat {
        match self {
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::Png => image::ImageFormat::Png,
        }
    }
}

/// What a file is that is no image, in words, and what to do about it.
struct NoImage {
    found: &'static str,
    advice: &'static str,
}

impl NoImage {
    fn error(self, path: &Path, expected: &'static str) -> Error {
        let Self { found, advice } = self;
        Error::NotAnImage { path: path.to_owned(), found, expected, advice }
    }
}

fn sniff(bytes: &[u8]) -> Result<Format, NoImage> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return Ok(Format::Jpeg);
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Format::Png);
    }
    let start: Vec<u8> = bytes.iter().take(256).map(u8::to_ascii_lowercase).collect();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    let is_html =
        [&b"<!doctype"[..], b"<html", b"<head", b"<?xml"].iter().any(|tag| start.starts_with(tag));
    Err(match bytes {
        [] => NoImage { found: "empty", advice: "fetch it again" },
        _ if is_html => NoImage {
            found: "a web page",
            advice: "the download answered with an error page; fetch it again",
        },
        _ if start.starts_with(b"version https://git-lfs") => {
            NoImage { found: "a git-LFS pointer", advice: "run `git lfs pull` in its repository" }
        }
        _ => NoImage { found: "something else", advice: "convert it, or fetch it again" },
    })
}

/// The JPEG decoder fills what is missing with grey, so an end that is cut off is looked for here.
fn check_whole(bytes: &[u8], format: Format, path: &Path) -> Result<(), Error> {
    let whole = match format {
        Format::Jpeg => jpeg_ends(bytes),
        Format::Png => png_ends(bytes),
    };
    match whole {
        Some(()) => Ok(()),
        None => Err(Error::Truncated { path: path.to_owned(), bytes: bytes.len() }),
    }
}

/// Walks the segments and the entropy-coded data up to the end-of-image marker; a thumbnail's own
/// marker lies inside a segment and is stepped over.
fn jpeg_ends(bytes: &[u8]) -> Option<()> {
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match *bytes.get(at + 1)? {
            0xd9 => return Some(()),
            0xff => at += 1,
            // A stuffed zero, a restart marker, or another marker without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}

/// Walks the chunks up to and with `IEND`.
fn png_ends(bytes: &[u8]) -> Option<()> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        let is_end = bytes.get(at + 4..at + 8)? == b"IEND";
        at = at.checked_add(12 + length as usize)?;
        if is_end {
            return (at <= bytes.len()).then_some(());
        }
    }
}

fn check_size(width: u32, height: u32, path: &Path) -> Result<(), Error> {
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(Error::TooLarge { path: path.to_owned(), width, height });
    }
    Ok(())
}

/// Indices of `bits` each, most significant first, rows padded to whole bytes.
fn unpack(packed: &[u8], row_bytes: usize, width: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let ones = (1u8 << bits) - 1;
    packed
        .chunks_exact(row_bytes)
        .flat_map(|row| {
            (0..width).map(move |x| {
                let shift = 8 - bits * (x % per_byte + 1);
                (row[x / per_byte] >> shift) & ones
            })
        })
        .collect()
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

fn read(path: &Path, missing: impl FnOnce() -> Error) -> Result<Vec<u8>, Error> {
    fs_err::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => Error::Io(error),
    })
}

#[cfg(test)]
mod tests;
