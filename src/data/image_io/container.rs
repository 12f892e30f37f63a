//! Recognises image files, and checks their claimed size and completeness before any decoder runs.

use std::path::Path;

use super::header::{Fault, Header, Stored};
use super::{jpeg, png_chunks};
use crate::data::Error;
use crate::data::sample::PIXELS_MAX;

/// Largest factor of deflate: a byte expands to 1032 at most (258 for the 2 bits of the shortest
/// match).
const DEFLATE_RATIO_MAX: u64 = 1032;
/// Largest number of pixels per byte of a JPEG file: a block of 8x8 takes a bit in the first scan
/// at least, and four times as much where a channel has half the resolution.
const JPEG_PIXELS_A_BYTE_MAX: u64 = 2048;
/// Largest length of a path in place of a picture, as a link becomes where it is copied as a file.
const LINK_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
}

/// Checks what can be checked without decoding.
pub(super) fn open(bytes: &[u8], format: Format, path: &Path) -> Result<Header, Error> {
    let read = match format {
        Format::Jpeg => jpeg::walk(bytes).map(|walked| walked.header),
        Format::Png => png_chunks::walk(bytes),
    };
    let damaged =
        |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let header = match read {
        Ok(header) => header,
        Err(Fault::Ends(before)) => {
            return Err(Error::Truncated { path: path.to_owned(), bytes: bytes.len(), before });
        }
        Err(Fault::Damaged(reason)) => return Err(damaged(reason)),
        Err(Fault::Unsupported(reason)) => {
            return Err(Error::Unsupported { path: path.to_owned(), reason });
        }
    };
    let Header { width, height, stored } = header;
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels == 0 {
        return Err(damaged("its header says that it has no pixels"));
    }
    if n_pixels > PIXELS_MAX {
        return Err(Error::TooLarge { path: path.to_owned(), width, height });
    }
    // A pixel of a PNG file takes a bit at least.
    let n_pixels_max = bytes.len() as u64
        * match format {
            Format::Jpeg => JPEG_PIXELS_A_BYTE_MAX,
            Format::Png => DEFLATE_RATIO_MAX * pixels_a_byte(stored),
        };
    if n_pixels > n_pixels_max {
        let path = path.to_owned();
        return Err(Error::Overdeclared { path, width, height, bytes: bytes.len() });
    }
    Ok(header)
}

/// Largest number of pixels per byte, once inflated.
fn pixels_a_byte(stored: Stored) -> u64 {
    match stored {
        Stored::Palette | Stored::Grey => 8,
        _ => 1,
    }
}

/// A description of a file that is not an image, and what to do about it.
pub(super) struct NoImage {
    found: &'static str,
    advice: &'static str,
}

impl NoImage {
    pub(super) fn error(self, path: &Path, expected: &'static str) -> Error {
        let Self { found, advice } = self;
        Error::NotAnImage { path: path.to_owned(), found, expected, advice }
    }
}

/// The name of another file format, recognised by its first bytes.
fn other(bytes: &[u8]) -> &'static str {
    let after = |n: usize, tag: &[u8]| bytes.get(n..).is_some_and(|rest| rest.starts_with(tag));
    match bytes {
        _ if after(0, b"GIF8") => "a GIF",
        _ if after(0, b"RIFF") && after(8, b"WEBP") => "a WebP",
        _ if after(0, b"BM") => "a BMP",
        _ if after(0, b"II*\0") || after(0, b"MM\0*") => "a TIFF",
        _ if after(4, b"ftypavif") => "an AVIF",
        _ if after(4, b"ftyphei") || after(4, b"ftypmif1") => "a HEIC",
        _ if after(4, b"jP  \r\n") => "a JPEG 2000",
        _ if after(0, b"\xff\x0a") || after(4, b"JXL ") => "a JPEG XL",
        _ if after(0, b"\x93NUMPY") => "an array of NumPy",
        _ if after(0, b"PK\x03\x04") => "a zip archive",
        _ if after(0, b"\x1f\x8b") => "compressed by gzip",
        _ if after(0, b"%PDF") => "a PDF",
        _ if after(0, b"8BPS") => "a Photoshop file",
        _ if after(0, b"v/1\x01") => "an OpenEXR",
        [b'P', b'1'..=b'7', b'\n' | b' ', ..] => "a PNM",
        _ if after(0, b"MATLAB") => "a file of MATLAB",
        _ if is_path(bytes) => {
            "a path in a text file, as a link becomes where it is copied as text"
        }
        _ => "something else",
    }
}

/// Whether the content is nothing but a path.
fn is_path(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).map(str::trim_end).unwrap_or_default();
    let is_short = bytes.len() <= LINK_BYTES_MAX && !text.contains(char::is_control);
    is_short && text.contains('/') && Path::new(text).extension().is_some()
}

pub(super) fn sniff(bytes: &[u8]) -> Result<Format, NoImage> {
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
        _ if is_path(bytes) => NoImage {
            found: "a text file with a path in it (a link that was copied as text)",
            advice: "replace it by the file at that path",
        },
        _ => NoImage { found: other(bytes), advice: "convert it, or fetch it again" },
    })
}
