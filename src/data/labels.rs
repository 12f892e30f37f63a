//! Turns the values in mask files into class indices.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Mask, VOID};

/// Number of values without a class that are told apart in one mask; further ones count as one.
const UNKNOWN_MAX: usize = 64;

/// The value of a mask file at a pixel, written `7`, `128,64,0` or `#804000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Raw {
    Id(u16),
    Colour([u8; 3]),
}

/// The form in which a mask file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Palette indices, or 8-bit grey.
    Indices,
    /// Palette indices, or grey of any depth.
    Ids,
    /// Colours: stored as such, or those of a palette.
    Colours,
}

/// A mask with the values of its file, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMask {
    pub width: u32,
    pub height: u32,
    pub values: RawValues,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawValues {
    Ids8(Vec<u8>),
    Ids16(Vec<u16>),
    /// `[height, width, 3]`
    Colours(Vec<u8>),
}

/// The meaning of a mask file's values as class indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// The values are the indices.
    Plain,
    /// 0 is void, and classes count from 1.
    FromOne,
    /// The map gives the class of each value; other values are refused.
    Map(Arc<LabelMap>),
}

/// A class, or [`VOID`], for each value that masks may hold; all ids or all colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    classes: BTreeMap<Raw, u8>,
    form: Form,
}

/// A value that stands for no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    pub raw: Raw,
    pub n_pixels: u64,
    /// Of its first pixel.
    pub x: u32,
    /// Of its first pixel.
    pub y: u32,
}

impl LabelMap {
    /// `None` where it is empty, or ids and colours are mixed.
    pub fn new(classes: BTreeMap<Raw, u8>) -> Option<Self> {
        let first = classes.keys().next()?;
        let form = if matches!(first, Raw::Id(_)) { Form::Ids } else { Form::Colours };
        let is_mixed = classes.keys().any(|raw| matches!(raw, Raw::Id(_)) != (form == Form::Ids));
        (!is_mixed).then_some(Self { classes, form })
    }

    /// The pairs of the map, in the order of the values.
    pub fn classes(&self) -> impl Iterator<Item = (Raw, u8)> {
        self.classes.iter().map(|(&raw, &class)| (raw, class))
    }
}

impl Labels {
    pub fn form(&self) -> Form {
        match self {
            Self::Plain | Self::FromOne => Form::Indices,
            Self::Map(map) => map.form,
        }
    }

    /// Class indices below `n_classes`, or [`VOID`], and the values that are neither (void in the
    /// mask), in the order of their first pixel.
    pub fn apply(&self, raw: RawMask, n_classes: usize) -> (Mask, Vec<Unknown>) {
        let (width, height) = (raw.width, raw.height);
        let mut unknown = Unknowns { width, seen: Vec::new() };
        let classes = match raw.values {
            RawValues::Ids8(mut values) => {
                let table: [Option<u8>; 256] =
                    std::array::from_fn(|id| self.class(Raw::Id(id as u16), n_classes));
                for (at, value) in values.iter_mut().enumerate() {
                    let id = *value;
                    *value = table[usize::from(id)]
                        .unwrap_or_else(|| unknown.add(Raw::Id(u16::from(id)), at));
                }
                values
            }
            RawValues::Ids16(values) => {
                self.classes_of(values.into_iter().map(Raw::Id), n_classes, &mut unknown)
            }
            RawValues::Colours(values) => {
                let (colours, _) = values.as_chunks::<3>();
                let colours = colours.iter().map(|&colour| Raw::Colour(colour));
                self.classes_of(colours, n_classes, &mut unknown)
            }
        };
        (Mask { width, height, classes }, unknown.seen)
    }

    fn classes_of(
        &self,
        values: impl Iterator<Item = Raw>,
        n_classes: usize,
        unknown: &mut Unknowns,
    ) -> Vec<u8> {
        // Neighbours are mostly equal: looking up again only what changes is most of the speed.
        let mut last = None;
        let class = |(at, raw)| {
            let class = match last {
                Some((known, class)) if known == raw => class,
                _ => self.class(raw, n_classes),
            };
            last = Some((raw, class));
            class.unwrap_or_else(|| unknown.add(raw, at))
        };
        values.enumerate().map(class).collect()
    }

    /// Whether that value is void.
    pub(super) fn is_void(&self, raw: Raw) -> bool {
        self.class(raw, 0) == Some(VOID)
    }

    fn class(&self, raw: Raw, n_classes: usize) -> Option<u8> {
        let class = match (self, raw) {
            (Self::Map(map), _) => return map.classes.get(&raw).copied(),
            (_, Raw::Id(id)) if id == u16::from(VOID) => return Some(VOID),
            (Self::FromOne, Raw::Id(0)) => return Some(VOID),
            (Self::FromOne, Raw::Id(id)) => id - 1,
            (Self::Plain, Raw::Id(id)) => id,
            (Self::Plain | Self::FromOne, Raw::Colour(_)) => return None,
        };
        (usize::from(class) < n_classes).then_some(class as u8)
    }

    /// The largest value that is a class, where classes are indices.
    pub(super) fn raw_max(&self, n_classes: usize) -> u8 {
        match self {
            Self::Plain | Self::Map(_) => n_classes.saturating_sub(1) as u8,
            Self::FromOne => n_classes as u8,
        }
    }

    /// The name in fingerprints: the same for the same meaning.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::FromOne => "from_one".to_owned(),
            Self::Map(map) => {
                let pairs = map.classes().map(|(raw, class)| format!(" {raw}={class}"));
                std::iter::once("map".to_owned()).chain(pairs).collect()
            }
        }
    }
}

struct Unknowns {
    width: u32,
    seen: Vec<Unknown>,
}

impl Unknowns {
    fn add(&mut self, raw: Raw, at: usize) -> u8 {
        let place = self.seen.iter().position(|unknown| unknown.raw == raw);
        let is_full = self.seen.len() == UNKNOWN_MAX;
        if let Some(place) = place.or(is_full.then_some(UNKNOWN_MAX - 1)) {
            self.seen[place].n_pixels += 1;
        } else {
            let width = self.width as usize;
            let (x, y) = ((at % width) as u32, (at / width) as u32);
            self.seen.push(Unknown { raw, n_pixels: 1, x, y });
        }
        VOID
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Colour([red, green, blue]) => write!(f, "{red},{green},{blue}"),
        }
    }
}

impl FromStr for Raw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is neither an id (`7`) nor a colour (`128,64,0`)");
        if let Some(digits) = text.strip_prefix('#') {
            let is_hex = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = is_hex.then(|| u32::from_str_radix(digits, 16)).and_then(Result::ok);
            let [_, red, green, blue] = value.ok_or_else(refused)?.to_be_bytes();
            return Ok(Self::Colour([red, green, blue]));
        }
        let channels: Result<Vec<u16>, _> =
            text.split(',').map(|part| part.trim().parse::<u16>()).collect();
        match channels.map_err(|_| refused())?[..] {
            [id] => Ok(Self::Id(id)),
            [red, green, blue] if red.max(green).max(blue) <= 255 => {
                Ok(Self::Colour([red as u8, green as u8, blue as u8]))
            }
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for Raw {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Raw> for String {
    fn from(raw: Raw) -> Self {
        raw.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, u8)]) -> Option<LabelMap> {
        LabelMap::new(pairs.iter().map(|(raw, class)| (raw.parse().unwrap(), *class)).collect())
    }

    fn apply(labels: &Labels, values: RawValues) -> (Vec<u8>, Vec<Unknown>) {
        let n = match &values {
            RawValues::Ids8(values) => values.len(),
            RawValues::Ids16(values) => values.len(),
            RawValues::Colours(values) => values.len() / 3,
        };
        let raw = RawMask { width: 2, height: (n / 2) as u32, values };
        let (mask, unknown) = labels.apply(raw, 3);
        (mask.classes, unknown)
    }

    #[test]
    fn raw_values_are_read_as_written() {
        let check = |text: &str, expect: Raw| assert_eq!(text.parse(), Ok(expect), "{text}");
        check("7", Raw::Id(7));
        check("65535", Raw::Id(65535));
        check("128, 64,0", Raw::Colour([128, 64, 0]));
        check("#804000", Raw::Colour([128, 64, 0]));
        for text in ["", "x", "-1", "65536", "1,2", "1,2,256", "1,2,3,4", "#80400", "#80400g"] {
            text.parse::<Raw>().unwrap_err();
        }
        assert_eq!(Raw::Colour([1, 2, 3]).to_string().parse(), Ok(Raw::Colour([1, 2, 3])));
    }

    #[test]
    fn a_map_is_of_ids_or_of_colours() {
        assert_eq!(map(&[("1", 0), ("2", 1)]).unwrap().form, Form::Ids);
        assert_eq!(map(&[("1,1,1", 0)]).unwrap().form, Form::Colours);
        assert!(map(&[("1", 0), ("1,1,1", 0)]).is_none());
        assert!(map(&[]).is_none());
    }

    #[test]
    fn ids_and_colours_are_mapped() {
        let ids = Labels::Map(Arc::new(map(&[("7", 0), ("300", 2), ("0", 255)]).unwrap()));
        assert_eq!(apply(&ids, RawValues::Ids16(vec![7, 300, 0, 7])).0, [0, 2, 255, 0]);
        assert_eq!(apply(&ids, RawValues::Ids8(vec![7, 7, 0, 7])).0, [0, 0, 255, 0]);
        let colours = Labels::Map(Arc::new(map(&[("1,2,3", 1), ("#000000", 255)]).unwrap()));
        let pixels = vec![1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        assert_eq!(apply(&colours, RawValues::Colours(pixels)).0, [1, 255, 255, 1]);
    }

    #[test]
    fn values_without_a_class_are_counted_from_their_first_pixel() {
        let unknown = |raw, n_pixels, x, y| Unknown { raw, n_pixels, x, y };
        let (classes, found) = apply(&Labels::Plain, RawValues::Ids8(vec![0, 9, 3, 9, 2, 255]));
        assert_eq!(classes, [0, 255, 255, 255, 2, 255]);
        assert_eq!(found, [unknown(Raw::Id(9), 2, 1, 0), unknown(Raw::Id(3), 1, 0, 1)]);
        let (_, found) = apply(&Labels::FromOne, RawValues::Ids8(vec![0, 3, 4, 255]));
        assert_eq!(found, [unknown(Raw::Id(4), 1, 0, 1)]);
        let ids = Labels::Map(Arc::new(map(&[("7", 0)]).unwrap()));
        let (_, found) = apply(&ids, RawValues::Ids16(vec![7, 8, 8, 7]));
        assert_eq!(found, [unknown(Raw::Id(8), 2, 1, 0)]);
    }

    #[test]
    fn a_photo_taken_for_a_mask_is_not_listed_colour_by_colour() {
        let ids = Labels::Map(Arc::new(map(&[("0", 0)]).unwrap()));
        let (_, found) = apply(&ids, RawValues::Ids16((1..=1000).collect()));
        assert_eq!(found.len(), UNKNOWN_MAX);
        assert_eq!(found.iter().map(|unknown| unknown.n_pixels).sum::<u64>(), 1000);
    }
}
