//! Reading and writing images and masks.
//!
//! Masks are read with the `png` crate, without transformations: the `image` crate expands
//! palettes, and the palette *indices* are the class indices.

mod container;
mod jpeg;

use std::io::{Cursor, ErrorKind};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use png::{BitDepth, ColorType, Compression, Transformations};

use self::container::{Format, Header, sniff};
use super::labels::{Form, RawMask, RawValues};
use super::{Error, Mask, Rgb};

pub use self::container::{PIXELS_MAX, Stored};

/// Endings of image files that are looked for, in lower case and in this order. What a file holds
/// is told by its content.
pub const ENDINGS: [&str; 3] = ["jpg", "png", "jpeg"];
/// Of colour profiles and the like in one file.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// How a file stores an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub stored: Stored,
    /// What is wrong with the picture's data, though it can be decoded: a JPEG decoder goes on with
    /// grey where it cannot read.
    pub damage: Option<String>,
    /// Its EXIF data asks for a rotation or reflection, which is not applied.
    pub is_rotated: bool,
}

/// Colours of a palette, by index.
pub type Palette = [[u8; 3]; 256];

/// Reads a JPEG or PNG file (told by its content, not its name) as 8-bit RGB.
///
/// Grey is repeated over the channels, 16-bit is scaled down, alpha is dropped, CMYK is converted
/// as by most decoders (without a profile), an EXIF rotation is not applied: masks are drawn on the
/// stored pixels.
pub fn read_rgb(path: &Path) -> Result<Rgb, Error> {
    let bytes = read(path, || Error::MissingImage { path: path.to_owned() })?;
    decode_rgb(&bytes, path)
}

/// [`read_rgb`], and how the file stores what was read.
pub fn survey_rgb(path: &Path) -> Result<(Rgb, Storage), Error> {
    let bytes = read(path, || Error::MissingImage { path: path.to_owned() })?;
    let image = decode_rgb(&bytes, path)?;
    let (format, header) = open(&bytes, path)?;
    // Only to be told of: damaged metadata is no reason to refuse a picture.
    let turn = guarded(path, || {
        let mut decoder = decoder(&bytes, format, header, path)?;
        decoder.orientation().map_err(|source| failed_to_decode(path, source))
    });
    let is_rotated = turn.is_ok_and(|turn| turn != Orientation::NoTransforms);
    let damage = match format {
        Format::Jpeg => guarded(path, || Ok(jpeg::damage(&bytes)))?,
        // Its checksums have held.
        Format::Png => None,
    };
    Ok((image, Storage { stored: header.stored, damage, is_rotated }))
}

/// Reads a PNG file of class indices: a palette of 1, 2, 4 or 8 bits, or 8-bit grey.
pub fn read_mask(path: &Path) -> Result<Mask, Error> {
    let bytes = read(path, || Error::MissingMask { path: path.to_owned() })?;
    decode_mask(&bytes, path)
}

/// Reads a PNG file of ids or colours.
pub fn read_raw_mask(path: &Path, form: Form) -> Result<RawMask, Error> {
    let bytes = read(path, || Error::MissingMask { path: path.to_owned() })?;
    decode_raw_mask(&bytes, form, path)
}

/// [`read_rgb`] of bytes in memory; `path` is named in errors.
pub fn decode_rgb(bytes: &[u8], path: &Path) -> Result<Rgb, Error> {
    let (format, header) = open(bytes, path)?;
    guarded(path, || decode_opened(bytes, (format, header), path))
}

fn decode_opened(
    bytes: &[u8],
    (format, header): (Format, Header),
    path: &Path,
) -> Result<Rgb, Error> {
    let decoder = decoder(bytes, format, header, path)?;
    let (width, height) = (header.width, header.height);
    if decoder.dimensions() != (width, height) {
        let reason = "its parts are of different sizes".to_owned();
        return Err(Error::Damaged { path: path.to_owned(), reason });
    }
    let image =
        DynamicImage::from_decoder(decoder).map_err(|source| failed_to_decode(path, source))?;
    Ok(Rgb { width, height, pixels: image.into_rgb8().into_raw() })
}

/// [`read_mask`] of bytes in memory; `path` is named in errors.
pub fn decode_mask(bytes: &[u8], path: &Path) -> Result<Mask, Error> {
    let RawMask { width, height, values } = decode_raw_mask(bytes, Form::Indices, path)?;
    match values {
        RawValues::Ids8(classes) => Ok(Mask { width, height, classes }),
        RawValues::Ids16(_) | RawValues::Colours(_) => unreachable!("indices are of 8 bits"),
    }
}

/// [`read_raw_mask`] of bytes in memory; `path` is named in errors.
pub fn decode_raw_mask(bytes: &[u8], form: Form, path: &Path) -> Result<RawMask, Error> {
    let format = sniff(bytes).map_err(|found| found.error(path, "PNG"))?;
    if format == Format::Jpeg {
        let found = "a JPEG (class indices do not survive its compression)".to_owned();
        return Err(Error::MaskFormat { path: path.to_owned(), found, expected: expected(form) });
    }
    let header = container::open(bytes, format, path)?;
    guarded(path, || decode_png_mask(bytes, header, form, path))
}

fn decode_png_mask(
    bytes: &[u8],
    header: Header,
    form: Form,
    path: &Path,
) -> Result<RawMask, Error> {
    let refused = |found: String| Error::MaskFormat {
        path: path.to_owned(),
        found,
        expected: expected(form),
    };
    let (width, height) = (header.width, header.height);
    let failed = |source| Error::DecodeMask { path: path.to_owned(), source };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(match form {
        Form::Indices | Form::Ids => Transformations::IDENTITY,
        Form::Colours => Transformations::EXPAND,
    });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let Some(pixel) = pixel(form, (color, depth)) else {
        return Err(refused(format!("{color:?} of {} bits", depth as u8)));
    };
    let bytes_max = png::DecodingError::LimitsExceeded;
    let n_bytes = reader.output_buffer_size().ok_or(bytes_max).map_err(failed)?;
    let mut packed = vec![0; n_bytes];
    let frame = reader.next_frame(&mut packed).map_err(failed)?;
    if (frame.width, frame.height) != (width, height) {
        return Err(refused("an animation whose first frame is a part of the picture".to_owned()));
    }
    let values = match pixel {
        Pixel::Bits(8) => RawValues::Ids8(packed),
        Pixel::Bits(bits) => {
            RawValues::Ids8(unpack(&packed, frame.line_size, width as usize, bits))
        }
        Pixel::Ids16 => {
            let (ids, _) = packed.as_chunks();
            RawValues::Ids16(ids.iter().map(|&id| u16::from_be_bytes(id)).collect())
        }
        Pixel::Colour { channels } => RawValues::Colours(colours(&packed, channels)),
    };
    Ok(RawMask { width, height, values })
}

fn open(bytes: &[u8], path: &Path) -> Result<(Format, Header), Error> {
    let format = sniff(bytes).map_err(|found| found.error(path, "JPEG or PNG"))?;
    Ok((format, container::open(bytes, format, path)?))
}

fn decoder<'a>(
    bytes: &'a [u8],
    format: Format,
    header: Header,
    path: &Path,
) -> Result<impl ImageDecoder + 'a, Error> {
    let kind = match format {
        Format::Jpeg => image::ImageFormat::Jpeg,
        Format::Png => image::ImageFormat::Png,
    };
    let mut limits = Limits::default();
    // 16-bit RGBA, and room for what else a file holds.
    let n_pixels = u64::from(header.width) * u64::from(header.height);
    limits.max_alloc = Some(8 * n_pixels + METADATA_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    reader.limits(limits);
    reader.into_decoder().map_err(|source| failed_to_decode(path, source))
}

fn failed_to_decode(path: &Path, source: image::ImageError) -> Error {
    Error::DecodeImage { path: path.to_owned(), source }
}

/// Decoders are made for damaged files too, and panic at some nevertheless: zune-jpeg 0.5.15 slices
/// out of range at `tests/data/faults/decoder_panics.jpg`, which is refused before by now.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What was half decoded is dropped.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let reason = "the decoder gives it up".to_owned();
        Err(Error::Damaged { path: path.to_owned(), reason })
    })
}

/// How a pixel of a mask is stored.
#[derive(Debug, Clone, Copy)]
enum Pixel {
    Bits(usize),
    Ids16,
    /// 8 bits each; those after grey or RGB are left out.
    Colour {
        channels: usize,
    },
}

/// `None` where a mask of `form` is not stored like this.
fn pixel(form: Form, (color, depth): (ColorType, BitDepth)) -> Option<Pixel> {
    match (form, color, depth) {
        (Form::Ids, ColorType::Grayscale, BitDepth::Sixteen) => Some(Pixel::Ids16),
        (Form::Indices | Form::Ids, ColorType::Indexed, _)
        | (Form::Indices, ColorType::Grayscale, BitDepth::Eight)
        | (Form::Ids, ColorType::Grayscale, _) => Some(Pixel::Bits(depth as usize)),
        (Form::Colours, color, BitDepth::Eight) => {
            Some(Pixel::Colour { channels: color.samples() })
        }
        _ => None,
    }
}

fn expected(form: Form) -> &'static str {
    match form {
        Form::Indices => {
            "palette indices (1, 2, 4 or 8 bits) or 8-bit grey, one class index a pixel \
             (a `folder` dataset reads others by `data.label_map`)"
        }
        Form::Ids => {
            "palette indices or grey of up to 16 bits, one id a pixel (colours need a \
             `data.label_map` of colours)"
        }
        Form::Colours => "colours of 8 bits a channel",
    }
}

/// RGB of pixels of 1 (grey), 2 (with alpha), 3 or 4 channels.
fn colours(packed: &[u8], channels: usize) -> Vec<u8> {
    match channels {
        3 => packed.to_vec(),
        4 => packed.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        _ => packed.chunks_exact(channels).flat_map(|pixel| [pixel[0]; 3]).collect(),
    }
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
    // Whoever opens a pipe waits for its writer, for ever.
    let bytes = fs_err::metadata(path).and_then(|metadata| {
        if metadata.is_file() { fs_err::read(path).map(Some) } else { Ok(None) }
    });
    match bytes {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::NotAFile { path: path.to_owned() }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(missing())
        }
        Err(error) => Err(Error::Io(error)),
    }
}

#[cfg(test)]
mod tests;
