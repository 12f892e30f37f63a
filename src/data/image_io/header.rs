//! The facts in the header of an image file, and the faults that stop reading it.

use serde::Serialize;

/// The storage of the pixels of an image file.
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

/// The facts in a file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stored: Stored,
}

/// The reason why a file is not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is truncated: it ends before this part.
    Ends(&'static str),
    Damaged(&'static str),
    /// It is valid, but the decoder does not support it.
    Unsupported(String),
}
