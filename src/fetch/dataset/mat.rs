//! Reads the part of MATLAB's level 5 files that SBD's masks need.
//!
//! Source: "MAT-File Format" (`MathWorks`), chapter "MAT-File Level 5".

use std::io::Read;

use flate2::read::ZlibDecoder;

use crate::data::Mask;

const HEADER_BYTES: usize = 128;
/// Largest unpacked size, above that of any VOC mask; a file with more is damaged or malicious.
const BYTES_MAX: u64 = 64 << 20;

const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const CLASS_STRUCT: u8 = 2;
const CLASS_UINT8: u8 = 9;

/// Reads the `uint8` matrix in field `field` of the struct `name`.
///
/// The error says what is wrong with the file.
pub(super) fn read_u8_field(bytes: &[u8], name: &str, field: &str) -> Result<Mask, String> {
    let is_little = bytes.get(126..128) == Some(b"IM");
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(b"MATLAB 5.0") || !is_little {
        return Err("is not a little-endian MATLAB 5 file".to_owned());
    }
    let mut rest = Elements { bytes: &bytes[HEADER_BYTES..] };
    while let Some((kind, data)) = rest.next()? {
        let unpacked;
        let (kind, data) = if kind == MI_COMPRESSED {
            unpacked = inflate(data)?;
            let first = Elements { bytes: &unpacked }.next()?;
            first.ok_or("has an empty compressed element")?
        } else {
            (kind, data)
        };
        if kind == MI_MATRIX
            && let Some(found) = Matrix::read(data)?.field(name, field)?
        {
            return found.mask();
        }
    }
    Err(format!("has no `{name}.{field}`"))
}

/// A sequence of elements: each a tag of kind and length, then data, padded to 8 bytes.
struct Elements<'a> {
    bytes: &'a [u8],
}

impl<'a> Elements<'a> {
    fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, String> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.bytes.get(..8).ok_or_else(cut)?;
        let first = u32_at(tag, 0);
        // A small element keeps up to four bytes of data in its tag.
        let (kind, start, len, end) = match first >> 16 {
            0 => {
                let len = u32_at(tag, 4) as usize;
                let padding = if first == MI_COMPRESSED { 0 } else { len.wrapping_neg() % 8 };
                (first, 8_usize, len, 8_usize.saturating_add(len).saturating_add(padding))
            }
            len @ 1..=4 => (first & 0xffff, 4, len as usize, 8),
            _ => return Err("has a damaged element".to_owned()),
        };
        let data = self.bytes.get(start..start.saturating_add(len)).ok_or_else(cut)?;
        // The padding of the last element may be left out.
        self.bytes = self.bytes.get(end..).unwrap_or(&[]);
        Ok(Some((kind, data)))
    }

    fn expect(&mut self) -> Result<(u32, &'a [u8]), String> {
        self.next()?.ok_or_else(cut)
    }
}

/// An array: flags, dimensions and name, then its content.
struct Matrix<'a> {
    class: u8,
    dims: Vec<usize>,
    name: &'a [u8],
    rest: Elements<'a>,
}

impl<'a> Matrix<'a> {
    fn read(data: &'a [u8]) -> Result<Self, String> {
        let mut rest = Elements { bytes: data };
        let (_, flags) = rest.expect()?;
        let (_, dims) = rest.expect()?;
        let (_, name) = rest.expect()?;
        let class = *flags.first().ok_or_else(cut)?;
        let dims = dims.chunks_exact(4).map(|dim| u32_at(dim, 0) as usize).collect();
        Ok(Self { class, dims, name, rest })
    }

    /// Field `field` of this struct, if it is the struct `name`.
    fn field(mut self, name: &str, field: &str) -> Result<Option<Matrix<'a>>, String> {
        if self.class != CLASS_STRUCT || self.name != name.as_bytes() {
            return Ok(None);
        }
        let (_, width) = self.rest.expect()?;
        let width = width.get(..4).map_or(0, |width| u32_at(width, 0) as usize);
        let (_, names) = self.rest.expect()?;
        if width == 0 {
            return Err("has a struct without field names".to_owned());
        }
        for text in names.chunks(width) {
            let (kind, data) = self.rest.expect()?;
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            if kind == MI_MATRIX && &text[..end] == field.as_bytes() {
                return Matrix::read(data).map(Some);
            }
        }
        Ok(None)
    }

    /// A matrix of bytes, stored column by column.
    fn mask(mut self) -> Result<Mask, String> {
        let [height, width] = self.dims[..] else {
            return Err("has a mask that is not a matrix".to_owned());
        };
        let (kind, data) = self.rest.expect()?;
        let is_bytes = self.class == CLASS_UINT8 && matches!(kind, MI_UINT8 | MI_INT8);
        if !is_bytes || width == 0 || height.checked_mul(width) != Some(data.len()) {
            return Err("has a mask that is not a matrix of uint8".to_owned());
        }
        let classes =
            (0..height).flat_map(|y| (0..width).map(move |x| data[x * height + y])).collect();
        Ok(Mask { width: width as u32, height: height as u32, classes })
    }
}

fn inflate(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = ZlibDecoder::new(data).take(BYTES_MAX + 1).read_to_end(&mut unpacked);
    read.map_err(|error| format!("cannot be inflated: {error}"))?;
    if unpacked.len() as u64 > BYTES_MAX {
        return Err(format!("unpacks to more than {BYTES_MAX} bytes"));
    }
    Ok(unpacked)
}

/// Reads a little-endian u32; `at + 4` must be within `bytes`.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn cut() -> String {
    "is cut short".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    /// As scipy's `savemat` writes SBD's struct, boundaries (a cell of sparse matrices) first.
    const SCIPY: &[u8] = include_bytes!("../../../tests/data/sbd/scipy.mat");
    const SCIPY_PLAIN: &[u8] = include_bytes!("../../../tests/data/sbd/scipy_plain.mat");

    fn expected() -> Mask {
        let classes = (0..3 * 5_u8).map(|i| if i == 7 { 20 } else { i }).collect();
        Mask { width: 5, height: 3, classes }
    }

    #[test]
    fn a_mask_is_read_row_by_row() {
        for bytes in [SCIPY, SCIPY_PLAIN] {
            let mask = read_u8_field(bytes, "GTcls", "Segmentation").unwrap();
            assert_eq!(mask, expected());
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = read_u8_field(SCIPY, "GTcls", "Categories").unwrap_err();
        assert_eq!(error, "has no `GTcls.Categories`");
        assert!(read_u8_field(SCIPY, "GTinst", "Segmentation").is_err());
        let error = read_u8_field(b"<html>", "GTcls", "Segmentation").unwrap_err();
        assert!(error.contains("MATLAB 5"), "{error}");
        assert!(read_u8_field(SCIPY, "GTcls", "Boundaries").is_err());
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        for bytes in [SCIPY, SCIPY_PLAIN] {
            for len in 0..bytes.len() {
                // The last element's padding alone may be missing.
                if let Ok(mask) = read_u8_field(&bytes[..len], "GTcls", "Segmentation") {
                    assert_eq!(mask, expected(), "{len}");
                }
            }
            for at in HEADER_BYTES..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= flip;
                    // Whatever it says, it says it.
                    drop(read_u8_field(&bytes, "GTcls", "Segmentation"));
                }
            }
        }
    }

    /// `scripts/fuzz_data.sh` runs more of them.
    #[test]
    fn damaged_in_several_places_it_says_so_or_reads_a_mask() {
        let n_files = std::env::var("FUZZ_FILES").ok().map(|text| text.parse::<u64>().unwrap());
        let n = n_files.map_or(1000, |n_files| n_files / 100);
        let mut n_refused = 0;
        for i in 0..n {
            let mut rng = rng::keyed(0, "fuzz mat", &[i]);
            let seed = if i % 2 == 0 { SCIPY } else { SCIPY_PLAIN };
            let mut bytes = seed.to_vec();
            for _ in 0..=rng::below(&mut rng, 4) {
                let at = rng::below(&mut rng, bytes.len() as u64) as usize;
                match rng::below(&mut rng, 4) {
                    0 => bytes[at] = rng::below(&mut rng, 256) as u8,
                    1 => bytes[at] ^= 1 << rng::below(&mut rng, 8),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                }
            }
            match read_u8_field(&bytes, "GTcls", "Segmentation") {
                Ok(mask) => assert_eq!(mask.classes.len(), (mask.width * mask.height) as usize),
                Err(_) => n_refused += 1,
            }
        }
        assert!(n_refused > n / 3, "{n_refused} of {n}");
    }
}
