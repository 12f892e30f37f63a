//! Walks the chunks of a PNG file.

use super::header::{Fault, Header, Stored};

const LAST_CHUNK: &str = "its last chunk (IEND)";

/// Walks the chunks up to and with `IEND`.
pub(super) fn walk(bytes: &[u8]) -> Result<Header, Fault> {
    let mut at: usize = 8;
    let mut header = None;
    loop {
        let length = number(bytes, at).ok_or(Fault::Ends(LAST_CHUNK))?;
        let name = bytes.get(at + 4..at + 8).ok_or(Fault::Ends(LAST_CHUNK))?;
        if at == 8 && name != b"IHDR" {
            return Err(Fault::Damaged("its header is not at its start"));
        }
        match name {
            b"IHDR" if at == 8 => header = Some(header_of(bytes).ok_or(Fault::Ends(LAST_CHUNK))?),
            b"IHDR" => return Err(Fault::Damaged("it has more than one header")),
            _ => {}
        }
        let is_end = name == b"IEND";
        at = at.checked_add(12 + length as usize).ok_or(Fault::Ends(LAST_CHUNK))?;
        if is_end && at <= bytes.len() {
            return header.ok_or(Fault::Damaged("it has no header"));
        }
        if is_end {
            return Err(Fault::Ends(LAST_CHUNK));
        }
    }
}

fn header_of(bytes: &[u8]) -> Option<Header> {
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
