//! Values of the flags of `sweep pca`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::features::parse_px;
use crate::viz::pca::Shown;

/// Longest side of an input; a longer one is a typo, as attention over it would take too much.
const SIDE_PX_MAX: u32 = 8192;

/// The size of the network's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Px {
    /// The shorter side; the other keeps the image's aspect.
    Shorter(u32),
    /// Height and width, whatever the image's are.
    Exact([u32; 2]),
}

impl FromStr for Px {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [height, width] = parse_px(text)?;
        let is_one = text.trim().bytes().all(|byte| byte.is_ascii_digit());
        Ok(if is_one { Self::Shorter(height) } else { Self::Exact([height, width]) })
    }
}

impl Px {
    /// Refuses sizes of less than a patch.
    pub(super) fn check(self, patch: u32) -> Result<(), String> {
        let shortest = match self {
            Self::Shorter(side) => side,
            Self::Exact([height, width]) => height.min(width),
        };
        if shortest < patch {
            return Err(format!("--px: {shortest} is less than one patch of {patch} pixels"));
        }
        Ok(())
    }

    /// Height and width of the input for an image of `own` size: the multiples of the patch that are
    /// nearest.
    pub(super) fn of(self, own: [u32; 2], patch: u32) -> Result<[u32; 2], String> {
        let [height, width] = own;
        if own.iter().any(|side| *side < patch) {
            let words = format!("is {height}x{width} pixels, less than a patch of {patch}x{patch}");
            return Err(words);
        }
        let sides = match self {
            Self::Exact(sides) => sides.map(|side| side / patch * patch),
            Self::Shorter(shorter) => {
                let scale = f64::from(shorter) / f64::from(height.min(width));
                own.map(|side| {
                    let patches = f64::from(side) * scale / f64::from(patch);
                    (patches.round() as u32).max(1) * patch
                })
            }
        };
        if sides.iter().any(|side| *side > SIDE_PX_MAX) {
            return Err(format!(
                "is {height}x{width} pixels, and would be {}x{} for the network, more than \
                 {SIDE_PX_MAX}: name a smaller --px",
                sides[0], sides[1]
            ));
        }
        Ok(sides)
    }
}

/// The images that share a basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Basis {
    Joint,
    /// So many after one another.
    Chunk(usize),
    /// All, one that was saved.
    File(PathBuf),
}

impl FromStr for Basis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("chunk=")) {
            ("joint", _) => Ok(Self::Joint),
            ("each", _) => Ok(Self::Chunk(1)),
            (_, Some(n)) => match n.parse() {
                Ok(n @ 1..) => Ok(Self::Chunk(n)),
                _ => Err("write how many images share a basis, e.g. chunk=40".to_owned()),
            },
            _ if std::path::Path::new(text).is_file() => Ok(Self::File(text.into())),
            _ => Err("write joint, each, chunk=N, or the name of a file that is there".to_owned()),
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joint => f.write_str("joint"),
            Self::Chunk(1) => f.write_str("each"),
            Self::Chunk(n) => write!(f, "chunk={n}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The components that are red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Components(pub(super) [Shown; 3]);

impl FromStr for Components {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = |text: &str| {
            let number = text.trim().parse::<i32>().ok()?;
            let index = number.unsigned_abs().checked_sub(1)? as usize;
            Some(Shown { index, is_flipped: number < 0 })
        };
        let found: Option<Vec<_>> = text.split(',').map(shown).collect();
        found.and_then(|found| found.try_into().ok()).map(Self).ok_or_else(|| {
            "write three components, counted from 1, such as 1,2,3 or 1,-2,3".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_keeps_the_aspect_and_two_do_not() {
        let px = |text: &str| text.parse::<Px>().unwrap();
        assert_eq!(px("518").of([272, 640], 14), Ok([518, 1218]));
        assert_eq!(px("518").of([300, 300], 14), Ok([518, 518]));
        assert_eq!(px("28,60").of([300, 300], 14), Ok([28, 56]));
        assert!(px("518").of([13, 600], 14).unwrap_err().contains("less than a patch"));
        assert!(px("518").of([20, 6000], 14).unwrap_err().contains("smaller --px"));
        assert!(px("13").check(14).is_err() && px("14").check(14).is_ok());
        assert!("0".parse::<Px>().is_err() && "a".parse::<Px>().is_err());
    }

    #[test]
    fn bases_and_components_are_as_written() {
        assert_eq!("chunk=40".parse(), Ok(Basis::Chunk(40)));
        assert_eq!("each".parse(), Ok(Basis::Chunk(1)));
        for nonsense in ["chunk=0", "chunk=", "chunk=a", "no-such-file"] {
            assert!(nonsense.parse::<Basis>().is_err(), "{nonsense}");
        }
        let Components([red, green, _]) = "3,-1,2".parse().unwrap();
        assert_eq!((red.index, red.is_flipped), (2, false));
        assert_eq!((green.index, green.is_flipped), (0, true));
        for nonsense in ["", "1,2", "0,1,2", "1,2,3,4", "a,b,c"] {
            assert!(nonsense.parse::<Components>().is_err(), "{nonsense}");
        }
    }
}
