//! What an image file is, how large it says it is, and whether it is whole, before any decoder
//! sees it.

use std::path::Path;

use serde::Serialize;

use super::jpeg;
use crate::data::Error;

/// More than any camera takes; a header that claims more is damaged or a decompression bomb.
pub const PIXELS_MAX: u64 = 1 << 28;

/// Deflate expands a byte to 1032 at most (258 for the 2 bits of the shortest match).
const DEFLATE_RATIO_MAX: u64 = 1032;
/// Pixels that a byte of a JPEG file may stand for: a block of 8x8 takes a bit in the first scan
/// at least, and four times as much where a channel has half the resolution.
const JPEG_PIXELS_A_BYTE_MAX: u64 = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
}

/// How the pixels of an image file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// 8-bit RGB or `YCbCr`: read as it is.
    Colour,
    Grey,
    Cmyk,
    Palette,
    /// Colour or grey.
    Alpha,
    SixteenBit,
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stored: Stored,
}

/// Checks what can be checked without decoding.
pub(super) fn open(bytes: &[u8], format: Format, path: &Path) -> Result<Header, Error> {
    let read = match format {
        Format::Jpeg => jpeg::walk(bytes).map(|walked| walked.header),
        Format::Png => png(bytes),
    };
    let truncated = || Error::Truncated { path: path.to_owned(), bytes: bytes.len() };
    let damaged =
        |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let header = match read {
        Ok(header) => header,
        Err(Fault::Ends) => return Err(truncated()),
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

/// At most, once inflated.
fn pixels_a_byte(stored: Stored) -> u64 {
    match stored {
        Stored::Palette | Stored::Grey => 8,
        _ => 1,
    }
}

/// Why a file is not read to its end.
pub(super) enum Fault {
    /// Before it should.
    Ends,
    Damaged(&'static str),
    /// Sound, and beyond the decoder.
    Unsupported(&'static str),
}

/// Walks the chunks up to and with `IEND`.
fn png(bytes: &[u8]) -> Result<Header, Fault> {
    let mut at: usize = 8;
    let mut header = None;
    loop {
        let length = number(bytes, at).ok_or(Fault::Ends)?;
        let name = bytes.get(at + 4..at + 8).ok_or(Fault::Ends)?;
        if at == 8 && name != b"IHDR" {
            return Err(Fault::Damaged("its header is not at its start"));
        }
        match name {
            b"IHDR" if at == 8 => header = Some(png_header(bytes).ok_or(Fault::Ends)?),
            b"IHDR" => return Err(Fault::Damaged("it has more than one header")),
            _ => {}
        }
        let is_end = name == b"IEND";
        at = at.checked_add(12 + length as usize).ok_or(Fault::Ends)?;
        if is_end && at <= bytes.len() {
            return header.ok_or(Fault::Damaged("it has no header"));
        }
        if is_end {
            return Err(Fault::Ends);
        }
    }
}

fn png_header(bytes: &[u8]) -> Option<Header> {
    let (width, height) = (number(bytes, 16)?, number(bytes, 20)?);
    let stored = match (bytes.get(25)?, bytes.get(24)?) {
        (3, _) => Stored::Palette,
        (4 | 6, _) => Stored::Alpha,
        (_, 16) => Stored::SixteenBit,
        (0, _) => Stored::Grey,
        // Anything else than true colour is the decoder's to refuse.
        _ => Stored::Colour,
    };
    Some(Header { width, height, stored })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// What a file is that is no image, in words, and what to do about it.
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

/// Other kinds of images by their first bytes.
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
        _ => "something else",
    }
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
        _ => NoImage { found: other(bytes), advice: "convert it, or fetch it again" },
    })
}
