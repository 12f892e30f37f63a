//! Reads and writes images and masks: JPEG and PNG files, recognised by their content.
//!
//! Everything that is read passes through `container`, which checks that a file is an image and
//! complete, and says what it is instead; then through a decoder. The callers are splits, the
//! check of datasets, and verbs that take single images.

mod header;
mod jpeg;
mod png_chunks;
mod container;
mod mask;
mod write;

use std::io::{Cursor, ErrorKind};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use self::container::{Format, sniff};
use self::header::Header;
use super::{Error, Rgb};

pub use self::header::Stored;
pub use self::mask::{SurveyedMask, decode_mask, decode_raw_mask, read_mask, survey_raw_mask};
pub use self::write::{
    Palette, voc_palette, write_png_mask, write_png_mask_stored, write_png_rgb,
    write_png_rgb_stored,
};

/// Endings of image files that are looked for, in lower case and in this order. The format of a
/// file is recognised by its content.
pub const ENDINGS: [&str; 3] = ["jpg", "png", "jpeg"];
/// Endings of other files that hold pictures or masks, in lower case: they are looked for only to
/// say that they are not read.
pub const OTHER_ENDINGS: [&str; 33] = [
    "webp", "bmp", "tif", "tiff", "gif", "jfif", "jpe", "jp2", "j2k", "jxl", "avif", "heic",
    "heif", "npy", "npz", "ppm", "pgm", "pbm", "pnm", "pfm", "exr", "hdr", "tga", "dds", "ico",
    "svg", "psd", "dng", "cr2", "nef", "arw", "dcm", "nii",
];
/// Largest size in bytes of colour profiles and other metadata in one file.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// The way a file stores an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub stored: Stored,
    /// The damage of the picture's data, though it can be decoded: a JPEG decoder fills in grey
    /// where it cannot read.
    pub damage: Option<String>,
    /// The rotation that its EXIF data asks for, which is not applied.
    pub turn: Option<Turn>,
}

/// A rotation or reflection that the EXIF data of an image asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub words: &'static str,
    /// Whether width becomes height.
    pub swaps_sides: bool,
}

/// Reads a JPEG or PNG file (recognised by its content, not its name) as 8-bit RGB.
///
/// Grey is repeated over the channels, 16-bit is scaled down, alpha is dropped, CMYK is converted
/// as by most decoders (without a profile). An EXIF rotation is not applied: masks hold no such
/// data, so that only the stored pixels of both can be relied on to lie on each other.
pub fn read_rgb(path: &Path) -> Result<Rgb, Error> {
    let bytes = read(path, || Error::MissingImage { path: path.to_owned() })?;
    decode_rgb(&bytes, path)
}

/// Reads like [`read_rgb`], and returns how the file stores the image.
pub fn survey_rgb(path: &Path) -> Result<(Rgb, Storage), Error> {
    let bytes = read(path, || Error::MissingImage { path: path.to_owned() })?;
    let image = decode_rgb(&bytes, path)?;
    let (format, header) = open(&bytes, path)?;
    let damage = match (format, header.stored) {
        (Format::Jpeg, _) => guarded(path, || Ok(jpeg::damage(&bytes)))?,
        (Format::Png, Stored::Palette) => {
            // What cannot be read so was read above.
            mask::indices(&bytes, path).ok().flatten().and_then(beyond_palette)
        }
        // Its checksums have held.
        (Format::Png, _) => None,
    };
    Ok((image, Storage { stored: header.stored, damage, turn: turn(&bytes, path) }))
}

/// The rotation that the EXIF data of an image file asks for and [`read_rgb`] does not apply;
/// `None` where it asks for none, or the file cannot be read.
pub fn exif_turn(path: &Path) -> Option<Turn> {
    turn(&fs_err::read(path).ok()?, path)
}

fn turn(bytes: &[u8], path: &Path) -> Option<Turn> {
    let orientation = guarded(path, || {
        let (format, header) = open(bytes, path)?;
        let mut decoder = decoder(bytes, format, header, path)?;
        decoder.orientation().map_err(|source| failed_to_decode(path, source))
    });
    // Only to be told of: damaged metadata is no reason to refuse a picture.
    let (words, swaps_sides) = match orientation.ok()? {
        Orientation::NoTransforms => return None,
        Orientation::Rotate90 => ("a rotation by 90 degrees", true),
        Orientation::Rotate180 => ("a rotation by 180 degrees", false),
        Orientation::Rotate270 => ("a rotation by 270 degrees", true),
        Orientation::FlipHorizontal => ("a horizontal reflection", false),
        Orientation::FlipVertical => ("a vertical reflection", false),
        Orientation::Rotate90FlipH => ("a rotation by 90 degrees and a reflection", true),
        Orientation::Rotate270FlipH => ("a rotation by 270 degrees and a reflection", true),
    };
    Some(Turn { words, swaps_sides })
}

/// The damage of an image whose pixels are indices of a palette.
fn beyond_palette((indices, n_colours): (Vec<u8>, usize)) -> Option<String> {
    let n_beyond = indices.iter().filter(|index| usize::from(**index) >= n_colours).count();
    let colours = if n_colours == 1 { "1 colour" } else { &format!("{n_colours} colours") };
    (n_beyond > 0).then(|| {
        format!("{n_beyond} of its pixels have an index beyond the {colours} of its palette")
    })
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
        let reason = "the decoder failed on it".to_owned();
        Err(Error::Damaged { path: path.to_owned(), reason })
    })
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
            // What is there and cannot be found is a link that leads nowhere.
            match fs_err::read_link(path) {
                Ok(target) => Err(Error::DeadLink { path: path.to_owned(), target }),
                Err(_) => Err(missing()),
            }
        }
        Err(error) => Err(Error::Io(error)),
    }
}

#[cfg(test)]
mod tests;
