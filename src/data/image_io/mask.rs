//! Reads masks.
//!
//! Masks are read with the `png` crate, without transformations: the `image` crate expands
//! palettes, and the palette *indices* are the class indices.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Transformations};

use super::container::{self, Format, sniff};
use super::{Header, guarded, read};
use crate::data::labels::{Form, RawMask, RawValues};
use crate::data::{Error, Mask};

/// A mask, and the colours of its palette where it is one of indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedMask {
    pub raw: RawMask,
    pub palette: Option<Vec<[u8; 3]>>,
}

/// Reads a PNG file of class indices: a palette of 1, 2, 4 or 8 bits, or 8-bit grey.
pub fn read_mask(path: &Path) -> Result<Mask, Error> {
    let bytes = read(path, || Error::MissingMask { path: path.to_owned() })?;
    decode_mask(&bytes, path)
}

/// Reads a PNG file of ids or colours, with its palette.
pub fn survey_raw_mask(path: &Path, form: Form) -> Result<SurveyedMask, Error> {
    let bytes = read(path, || Error::MissingMask { path: path.to_owned() })?;
    decode_surveyed(&bytes, form, path)
}

/// [`read_mask`] of bytes in memory; `path` is named in errors.
pub fn decode_mask(bytes: &[u8], path: &Path) -> Result<Mask, Error> {
    let RawMask { width, height, values } = decode_raw_mask(bytes, Form::Indices, path)?;
    match values {
        RawValues::Ids8(classes) => Ok(Mask { width, height, classes }),
        RawValues::Ids16(_) | RawValues::Colours(_) => unreachable!("indices are of 8 bits"),
    }
}

/// The mask that [`survey_raw_mask`] would read, of bytes in memory; `path` is named in errors.
pub fn decode_raw_mask(bytes: &[u8], form: Form, path: &Path) -> Result<RawMask, Error> {
    Ok(decode_surveyed(bytes, form, path)?.raw)
}

fn decode_surveyed(bytes: &[u8], form: Form, path: &Path) -> Result<SurveyedMask, Error> {
    let format = sniff(bytes).map_err(|found| found.error(path, "PNG"))?;
    if format == Format::Jpeg {
        let found = "a JPEG (class indices do not survive its compression)".to_owned();
        return Err(Error::MaskFormat { path: path.to_owned(), found, expected: expected(form) });
    }
    let header = container::open(bytes, format, path)?;
    guarded(path, || decode_png(bytes, header, form, path))
}

fn decode_png(
    bytes: &[u8],
    header: Header,
    form: Form,
    path: &Path,
) -> Result<SurveyedMask, Error> {
    let refused = |found: String| Error::MaskFormat {
        path: path.to_owned(),
        found,
        expected: expected(form),
    };
    let (width, height) = (header.width, header.height);
    let failed = |source| Error::DecodeMask { path: path.to_owned(), source };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let is_palette = decoder.read_header_info().map_err(failed)?.color_type == ColorType::Indexed;
    decoder.set_transformations(match form {
        // A palette's colours are looked up below: the decoder makes black of an index beyond it.
        Form::Colours if !is_palette => Transformations::EXPAND,
        Form::Indices | Form::Ids | Form::Colours => Transformations::IDENTITY,
    });
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let Some(pixel) = pixel(form, (color, depth)) else {
        return Err(refused(format!("{color:?} of {} bits", depth as u8)));
    };
    let palette = reader.info().palette.as_deref().filter(|_| is_palette);
    let palette = palette.map(|bytes| bytes.as_chunks().0.to_vec());
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
    let values = match (form, values) {
        (Form::Colours, RawValues::Ids8(indices)) => {
            let palette = palette.as_deref().unwrap_or_default();
            RawValues::Colours(looked_up(&indices, palette, width, path)?)
        }
        (_, values) => values,
    };
    Ok(SurveyedMask { raw: RawMask { width, height, values }, palette })
}

/// The indices of an image with a palette, and how many colours that has; `None` for others.
pub(super) fn indices(bytes: &[u8], path: &Path) -> Result<Option<(Vec<u8>, usize)>, Error> {
    let surveyed = decode_surveyed(bytes, Form::Indices, path)?;
    Ok(match (surveyed.raw.values, surveyed.palette) {
        (RawValues::Ids8(indices), Some(palette)) => Some((indices, palette.len())),
        _ => None,
    })
}

/// Each pixel's colour; an index that the palette has no colour for is an error.
fn looked_up(
    indices: &[u8],
    palette: &[[u8; 3]],
    width: u32,
    path: &Path,
) -> Result<Vec<u8>, Error> {
    let is_beyond = |index: &&u8| usize::from(**index) >= palette.len();
    if let Some(at) = indices.iter().position(|index| is_beyond(&index)) {
        let (x, y) = (at as u32 % width, at as u32 / width);
        return Err(Error::NoColour {
            mask: path.to_owned(),
            index: indices[at],
            n_colours: palette.len(),
            n_pixels: indices.iter().filter(is_beyond).count(),
            x,
            y,
        });
    }
    Ok(indices.iter().flat_map(|&index| palette[usize::from(index)]).collect())
}

/// The storage of a mask's pixels.
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
        (_, ColorType::Indexed, _)
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
            "palette indices (1, 2, 4 or 8 bits) or 8-bit grey, one class index per pixel \
             (a `folder` dataset reads others by `data.label_map`)"
        }
        Form::Ids => {
            "palette indices or grey of up to 16 bits, one id per pixel (colours need a \
             `data.label_map` of colours)"
        }
        Form::Colours => "colours of 8 bits per channel",
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
