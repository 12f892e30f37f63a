//! Walks the segments of a JPEG file, and finds missing data that a decoder would not report.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::header::{Fault, Header, Stored};

/// Largest number of scans of a JPEG file; encoders make about 10. Each is a pass over the whole
/// image.
const SCANS_MAX: u32 = 100;
/// Number of coefficients of a block.
const COEFFICIENTS: usize = 64;
/// 64 one bits, byte-stuffed: not a Huffman code, except of encoders that break the standard.
const ONES: [u8; 16] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// zune-jpeg 0.5.15 loses rows of such files, or whole channels, without a word
/// (etemesi254/zune-image issues 419, 422 and 448).
const SCANS_APART: &str = "its channels are in separate scans, which the decoder here would get \
                           wrong; save it again as an ordinary JPEG or a PNG";

const END: &str = "its end marker (EOI)";
/// Start of frame of JPEG-LS, an own format in JPEG's segments.
const JPEG_LS: u8 = 0xf7;

/// A file that was walked to its end-of-image marker.
pub(super) struct Walked {
    pub(super) header: Header,
    /// The position of that marker.
    end: usize,
    /// Whether its scans are all that its frame needs.
    is_complete: bool,
}

/// Walks the segments and the entropy-coded data up to the end-of-image marker; a thumbnail's own
/// marker lies inside a segment and is stepped over. The decoder fills what is missing with grey,
/// so an end that is cut off is looked for here.
pub(super) fn walk(bytes: &[u8]) -> Result<Walked, Fault> {
    let mut frame: Option<Frame> = None;
    let mut n_scans = 0;
    let mut at = 2;
    loop {
        at += bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
            .ok_or(Fault::Ends(END))?;
        let marker = *bytes.get(at + 1).ok_or(Fault::Ends(END))?;
        match marker {
            0xd9 if n_scans > 0 => {
                let frame = frame.ok_or(Fault::Damaged("it has no frame"))?;
                let is_complete = frame.is_complete();
                return Ok(Walked { header: frame.header, end: at, is_complete });
            }
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
        let length = bytes.get(at + 2..at + 4).ok_or(Fault::Ends(END))?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let segment = || bytes.get(at + 4..at + 2 + length).ok_or(Fault::Ends(END));
        match marker {
            // Start of frame: all of the range but tables and an extension.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | JPEG_LS => {
                let read = Frame::read(marker, segment()?)?;
                // A second frame would let a small header vouch for a large picture.
                if frame.replace(read).is_some() {
                    return Err(Fault::Damaged("it has more than one frame"));
                }
            }
            0xda => {
                n_scans += 1;
                if n_scans > SCANS_MAX {
                    return Err(Fault::Damaged("it has more than 100 scans"));
                }
                if let Some(frame) = &mut frame {
                    frame.scan(segment()?);
                    if frame.has_scans_apart() {
                        return Err(Fault::Unsupported(SCANS_APART.to_owned()));
                    }
                }
            }
            _ => {}
        }
        at += 2 + length;
    }
}

/// The facts in the frame header, and what the scans have provided so far.
struct Frame {
    header: Header,
    is_progressive: bool,
    channels: Vec<Channel>,
}

struct Channel {
    id: u8,
    /// For each coefficient the lowest bits still missing; `None` where none of it has come.
    missing_bits: [Option<u8>; COEFFICIENTS],
}

impl Frame {
    /// Precision, height, width and the number of channels; then name, sampling and table of each.
    fn read(marker: u8, segment: &[u8]) -> Result<Self, Fault> {
        let [bits, h1, h0, w1, w0, n_channels, ref channels @ ..] = *segment else {
            return Err(Fault::Damaged("its frame header is too short"));
        };
        if let Some(kind) = unread(marker, bits) {
            let advice = "which the decoder here does not read; save it again as an ordinary JPEG \
                          (8 bits, Huffman-coded) or a PNG";
            return Err(Fault::Unsupported(format!("it is {kind}, {advice}")));
        }
        let (channels, rest) = channels.as_chunks::<3>();
        if channels.len() != usize::from(n_channels) || !rest.is_empty() {
            return Err(Fault::Damaged("its frame header is not as long as its channels need"));
        }
        // Decoders divide by these.
        let is_sampling = |half: u8| (1..=4).contains(&half);
        if !channels.iter().all(|[_, both, _]| is_sampling(both >> 4) && is_sampling(both & 15)) {
            return Err(Fault::Damaged("the sampling of its channels is invalid"));
        }
        let stored = match n_channels {
            1 => Stored::Grey,
            3 => Stored::Colour,
            4 => Stored::Cmyk,
            2 => return Err(Fault::Unsupported("it has 2 channels; save it as RGB".to_owned())),
            _ => return Err(Fault::Damaged("it has neither 1, 3 nor 4 channels")),
        };
        let [height, width] = [[h1, h0], [w1, w0]].map(|side| u32::from(u16::from_be_bytes(side)));
        let channel = |&[id, ..]: &[u8; 3]| Channel { id, missing_bits: [None; COEFFICIENTS] };
        Ok(Self {
            header: Header { width, height, stored },
            is_progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
            channels: channels.iter().map(channel).collect(),
        })
    }

    /// The number of channels, name and tables of each; then the first and last coefficient, and
    /// the bits of them. Only progressive files share out a channel over scans.
    fn scan(&mut self, segment: &[u8]) {
        let [n_channels, ref rest @ ..] = *segment else { return };
        let Some((channels, rest)) = rest.split_at_checked(2 * usize::from(n_channels)) else {
            return;
        };
        let &[first, last, bits, ..] = rest else { return };
        let (range, missing) = if self.is_progressive {
            (usize::from(first)..usize::from(last) + 1, bits & 15)
        } else {
            (0..COEFFICIENTS, 0)
        };
        let named = channels.as_chunks::<2>().0;
        for channel in &mut self.channels {
            if named.iter().any(|[id, _]| *id == channel.id)
                && let Some(coefficients) = channel.missing_bits.get_mut(range.clone())
            {
                coefficients.fill(Some(missing));
            }
        }
    }

    /// Whether channels of a sequential file come one after the other; to be asked after a scan.
    fn has_scans_apart(&self) -> bool {
        !self.is_progressive && !self.is_complete()
    }

    fn is_complete(&self) -> bool {
        self.channels.iter().all(|channel| channel.missing_bits.iter().all(|bits| *bits == Some(0)))
    }
}

/// The kind of a frame that no decoder here reads, by its marker and the bits of a sample.
fn unread(marker: u8, bits: u8) -> Option<String> {
    let kind = match marker {
        JPEG_LS => "a JPEG-LS",
        0xc3 => "a lossless JPEG",
        0xc5..=0xc7 => "a hierarchical JPEG",
        0xc9..=0xcf => "an arithmetic-coded JPEG",
        _ if bits != 8 => return Some(format!("a JPEG of {bits} bits per sample")),
        _ => return None,
    };
    Some(kind.to_owned())
}

/// Finds damage in the data of a file that can be decoded.
///
/// A strict decoder accepts an end-of-image marker wherever it comes, and reads zeros from there
/// on. With ones before the marker it stumbles where it needs more than there is, or makes another
/// picture; where the data is whole it never looks at them.
///
/// Damage that makes no difference to this is not found: a byte that happened to be all ones, or
/// pixels that ones and zeros make the same.
pub(super) fn damage(bytes: &[u8]) -> Option<String> {
    let Ok(walked) = walk(bytes) else { return None };
    let whole = match strict(bytes) {
        Ok(pixels) => pixels,
        Err(text) => return text,
    };
    if !walked.is_complete {
        return Some("it lacks its last scans".to_owned());
    }
    let (data, rest) = bytes.split_at(walked.end);
    let is_same = strict(&[data, &ONES, rest].concat()).is_ok_and(|pixels| pixels == whole);
    let cut = || "its data ends before its last pixels".to_owned();
    (!is_same).then(cut)
}

/// The pixels, or the error of a strict decoder; errors that lose no pixel are ignored.
fn strict(bytes: &[u8]) -> Result<Vec<u8>, Option<String>> {
    let options = DecoderOptions::default().set_strict_mode(true);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().map_err(|error| {
        let text = error.to_string();
        // Cameras pad between segments.
        (!text.contains("Extra bytes")).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::*;

    const SIDE: u16 = 41;

    fn encoded(color: ColorType, set: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let n_channels = match color {
            ColorType::Luma => 1,
            ColorType::Cmyk => 4,
            _ => 3,
        };
        let n = usize::from(SIDE) * usize::from(SIDE) * n_channels;
        let pixels: Vec<u8> = (0..n).map(|i| ((i * i / 7) % 251) as u8).collect();
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 80);
        set(&mut encoder);
        encoder.encode(&pixels, SIDE, SIDE, color).unwrap();
        bytes
    }

    fn kinds() -> Vec<Vec<u8>> {
        let rgb = ColorType::Rgb;
        vec![
            encoded(rgb, |_| {}),
            encoded(rgb, |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_2_0)),
            encoded(rgb, |encoder| encoder.set_progressive(true)),
            encoded(rgb, |encoder| encoder.set_restart_interval(3)),
            encoded(ColorType::Luma, |_| {}),
            encoded(ColorType::Cmyk, |_| {}),
        ]
    }

    #[test]
    fn channels_in_scans_of_their_own_are_refused() {
        let apart = encoded(ColorType::Rgb, |encoder| encoder.set_optimized_huffman_tables(true));
        assert_eq!(walk(&apart).err(), Some(Fault::Unsupported(SCANS_APART.to_owned())));
        let grey = encoded(ColorType::Luma, |encoder| encoder.set_optimized_huffman_tables(true));
        assert!(walk(&grey).is_ok());
    }

    /// Each kind is told by its frame alone: no message is about an end that came too early.
    #[test]
    fn frames_that_are_not_read_are_named() {
        let check = |marker: u8, bits: u8, expect: &str| {
            let mut bytes = encoded(ColorType::Rgb, |_| {});
            let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
            (bytes[frame + 1], bytes[frame + 4]) = (marker, bits);
            let Err(Fault::Unsupported(reason)) = walk(&bytes) else { panic!("{expect}") };
            assert!(reason.starts_with(&format!("it is {expect}, which the decoder")), "{reason}");
        };
        check(0xc1, 12, "a JPEG of 12 bits per sample");
        check(0xc2, 12, "a JPEG of 12 bits per sample");
        check(0xc3, 8, "a lossless JPEG");
        check(0xc5, 8, "a hierarchical JPEG");
        check(0xc9, 8, "an arithmetic-coded JPEG");
        check(0xca, 8, "an arithmetic-coded JPEG");
        check(0xf7, 8, "a JPEG-LS");
    }

    #[test]
    fn what_is_whole_has_no_damage() {
        for (i, bytes) in kinds().iter().enumerate() {
            assert_eq!(damage(bytes), None, "{i}");
        }
    }

    /// The end-of-image marker after less than there was.
    #[test]
    fn an_end_that_comes_early_is_seen_wherever_it_comes() {
        for (i, bytes) in kinds().iter().enumerate() {
            let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
            let end = bytes.len() - 2;
            for cut in scan + 14..end {
                let bytes = [&bytes[..cut], &[0xff, 0xd9]].concat();
                // A cut within a segment's header is seen by the walk.
                let is_seen = walk(&bytes).is_err() || damage(&bytes).is_some();
                assert!(is_seen, "{i}: {cut} of {end}");
            }
        }
    }
}
