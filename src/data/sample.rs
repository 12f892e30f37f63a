//! The two rasters everything passes around: [`Rgb`] images and [`Mask`]s of classes.

/// Class index of pixels that are neither trained on nor scored.
pub const VOID: u8 = 255;

/// More pixels than any camera takes; a header that claims more is damaged or a decompression bomb.
pub const PIXELS_MAX: u64 = 1 << 28;

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

impl Mask {
    /// A mask of nothing, for images without labels.
    pub fn empty() -> Self {
        Self { width: 0, height: 0, classes: Vec::new() }
    }
}
