//! What the header of an image file says, and why a file is not read to its end.

use serde::Serialize;

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

/// Why a file is not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends before this.
    Ends(&'static str),
    Damaged(&'static str),
    /// Sound, and beyond the decoder.
    Unsupported(String),
}
