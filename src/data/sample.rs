//! The two rasters everything passes around.

/// Class index of pixels that are neither trained on nor scored.
pub const VOID: u8 = 255;

/// An 8-bit RGB image, rows from the top, channels interleaved: `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

/// A label mask of class indices, rows from the top: `[height, width]`; [`VOID`] is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    pub width: u32,
    pub height: u32,
    pub classes: Vec<u8>,
}
