//! What an image file is, how large it says it is, and whether it is whole, before any decoder
//! sees it.

use std::path::Path;

use serde::Serialize;

use crate::data::Error;

/// More than any camera takes; a header that claims more is damaged or a decompression bomb.
pub const PIXELS_MAX: u64 = 1 << 28;

/// Deflate expands a byte to 1032 at most (258 for the 2 bits of the shortest match).
const DEFLATE_RATIO_MAX: u64 = 1032;
/// Pixels that a byte of a JPEG file may stand for: a block of 8x8 takes a bit in the first scan
/// at least, and four times as much where a channel has half the resolution.
const JPEG_PIXELS_A_BYTE_MAX: u64 = 2048;
/// Scans of a JPEG file; encoders make about 10. Each is a pass over the whole image.
const JPEG_SCANS_MAX: u32 = 100;

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
        Format::Jpeg => jpeg(bytes),
        Format::Png => png(bytes),
    };
    let truncated = || Error::Truncated { path: path.to_owned(), bytes: bytes.len() };
    let damaged =
        |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let header = match read {
        Ok(header) => header,
        Err(Fault::Ends) => return Err(truncated()),
        Err(Fault::Damaged(reason)) => return Err(damaged(reason)),
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
enum Fault {
    /// Before it should.
    Ends,
    Damaged(&'static str),
}

/// Walks the segments and the entropy-coded data up to the end-of-image marker; a thumbnail's own
/// marker lies inside a segment and is stepped over. The decoder fills what is missing with grey,
/// so an end that is cut off is looked for here.
fn jpeg(bytes: &[u8]) -> Result<Header, Fault> {
    let mut frame = None;
    let mut n_scans = 0;
    let mut at = 2;
    loop {
        at += bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
            .ok_or(Fault::Ends)?;
        let marker = *bytes.get(at + 1).ok_or(Fault::Ends)?;
        match marker {
            0xd9 if n_scans > 0 => return frame.ok_or(Fault::Damaged("it has no frame")),
            0xd9 => return Err(Fault::Damaged("it has no picture")),
            0xff => {
                at += 1;
                continue;
            }
            // A stuffed zero, a restart marker, or another marker without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => {
                at += 2;
                continue;
            }
            _ => {}
        }
        let length = bytes.get(at + 2..at + 4).ok_or(Fault::Ends)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        match marker {
            // Start of frame: all of the range but tables and an extension.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let segment = bytes.get(at + 4..at + 2 + length).ok_or(Fault::Ends)?;
                let header = jpeg_frame(segment)?;
                // A second frame would let a small header vouch for a large picture.
                if frame.replace(header).is_some() {
                    return Err(Fault::Damaged("it has more than one frame"));
                }
            }
            0xda => {
                n_scans += 1;
                if n_scans > JPEG_SCANS_MAX {
                    return Err(Fault::Damaged("it has more than 100 scans"));
                }
            }
            _ => {}
        }
        at += 2 + length;
    }
}

/// Precision, height, width and the number of channels; then name, sampling and table of each.
fn jpeg_frame(segment: &[u8]) -> Result<Header, Fault> {
    let [_, h1, h0, w1, w0, n_channels, ref channels @ ..] = *segment else {
        return Err(Fault::Damaged("its frame header is too short"));
    };
    let (channels, rest) = channels.as_chunks::<3>();
    if channels.len() != usize::from(n_channels) || !rest.is_empty() {
        return Err(Fault::Damaged("its frame header is not as long as its channels need"));
    }
    // Decoders divide by these.
    let is_sampling = |half: u8| (1..=4).contains(&half);
    if !channels.iter().all(|[_, both, _]| is_sampling(both >> 4) && is_sampling(both & 15)) {
        return Err(Fault::Damaged("the sampling of its channels is none that there is"));
    }
    let stored = match n_channels {
        1 => Stored::Grey,
        3 => Stored::Colour,
        4 => Stored::Cmyk,
        _ => return Err(Fault::Damaged("it has neither 1, 3 nor 4 channels")),
    };
    let [height, width] = [[h1, h0], [w1, w0]].map(|side| u32::from(u16::from_be_bytes(side)));
    Ok(Header { width, height, stored })
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
        _ => NoImage { found: "something else", advice: "convert it, or fetch it again" },
    })
}
