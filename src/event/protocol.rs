//! The protocol of a score: how images become predictions, and how predictions become numbers.
//!
//! `experiment` makes it from a spec; plans store it beside the line that people read; `report`
//! groups scores by it. Scores of two protocols are never averaged together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The settings by which a set is scored, as far as they are the same for clean and corrupted
/// images.
///
/// Its line ([`fmt::Display`]) is what tables and journals show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The mode with its defaults filled in ([`Mode::resolved`]).
    pub mode: Mode,
    pub tta: Tta,
    /// The network's input in training, height and width; whole images are squashed to it.
    pub input_px: [u32; 2],
    pub select: Select,
    /// Images over which the reference project's metric is averaged.
    pub reference_batch: u32,
}

/// The way a whole image becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// The image squashed to the training input; logits resized to the label's size.
    Whole {},
    /// The image resized so that its short side is `short_side` px, read in windows of `crop` px
    /// every `stride` px; their mean logits resized to the label's size. A window that the patch
    /// does not divide is padded centrally (Meta's `CenterPadding`).
    Slide {
        crop: u32,
        stride: u32,
        /// Side that the image's short side is resized to; `None`: that of the crop.
        #[serde(default)]
        short_side: Option<u32>,
    },
}

/// Several views of an image, whose class probabilities are averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tta {
    /// Whether each scale is also predicted mirrored.
    pub flip: bool,
    /// Factors on the image's size, one view each.
    pub scales: Vec<f64>,
}

/// The checkpoint of a run that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The weights after the last step.
    Last,
    /// The weights of the best validation on `dev`, never chosen on a reported set.
    Best,
}

impl Protocol {
    /// The line without the size of the input, which tables show in a column of its own.
    pub fn line_but_input(&self) -> String {
        self.line("input")
    }

    fn line(&self, input: &str) -> String {
        let Self { mode, tta, input_px: _, select, reference_batch } = self;
        let mode = match mode {
            Mode::Whole {} => format!("whole {input}"),
            Mode::Slide { crop, stride, short_side } => {
                format!("slide {crop}/{stride} at short side {}", short_side.unwrap_or(*crop))
            }
        };
        let select = match select {
            Select::Last => "last",
            Select::Best => "best",
        };
        format!("{mode}{tta}, label size, {select}, ref-metric batch {reference_batch}")
    }
}

/// The protocol in one line: `whole 448x448, label size, last, ref-metric batch 16`.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.input_px;
        f.write_str(&self.line(&format!("{height}x{width}")))
    }
}

impl Mode {
    /// The protocol of scores from before there was a choice.
    pub fn before() -> Self {
        Self::Whole {}
    }

    /// The mode with the defaults of its keys filled in, so that two modes that do the same are
    /// equal.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Self::Whole {} => self,
            Self::Slide { crop, stride, short_side } => {
                Self::Slide { crop, stride, short_side: short_side.or(Some(crop)) }
            }
        }
    }
}

impl Default for Tta {
    fn default() -> Self {
        Self { flip: false, scales: vec![1.0] }
    }
}

impl Tta {
    /// Number of views of each image.
    pub fn n_views(&self) -> usize {
        self.scales.len() * if self.flip { 2 } else { 1 }
    }
}

/// Writes the part of a protocol's line about TTA: nothing for one plain view.
impl fmt::Display for Tta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        let scales: Vec<_> = self.scales.iter().map(|scale| format!("x{scale}")).collect();
        write!(f, ", TTA {}{}", scales.join(" "), if self.flip { " and mirrored" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Protocol {
        Protocol {
            mode: Mode::Whole {},
            tta: Tta::default(),
            input_px: [448, 308],
            select: Select::Last,
            reference_batch: 16,
        }
    }

    fn slide(short_side: Option<u32>) -> Mode {
        Mode::Slide { crop: 512, stride: 341, short_side }
    }

    #[test]
    fn lines_say_all_and_tables_leave_the_input_out() {
        let check = |protocol: Protocol, line: &str, but_input: &str| {
            assert_eq!(
                (protocol.to_string(), protocol.line_but_input()),
                (line.into(), but_input.into())
            );
        };
        check(
            whole(),
            "whole 448x308, label size, last, ref-metric batch 16",
            "whole input, label size, last, ref-metric batch 16",
        );
        let tta = Tta { flip: true, scales: vec![0.5, 1.0] };
        check(
            Protocol { tta, select: Select::Best, ..whole() },
            "whole 448x308, TTA x0.5 x1 and mirrored, label size, best, ref-metric batch 16",
            "whole input, TTA x0.5 x1 and mirrored, label size, best, ref-metric batch 16",
        );
        let tta = Tta { flip: false, scales: vec![2.0] };
        let line = "slide 512/341 at short side 512, TTA x2, label size, last, ref-metric batch 16";
        check(Protocol { mode: slide(None), tta, ..whole() }, line, line);
    }

    #[test]
    fn modes_that_do_the_same_are_equal_once_resolved() {
        assert_eq!(slide(None).resolved(), slide(Some(512)).resolved());
        assert_ne!(slide(None).resolved(), slide(Some(600)).resolved());
        assert_eq!(Mode::Whole {}.resolved(), Mode::Whole {});
    }

    #[test]
    fn json_is_written_like_this() {
        let json = r#"{"mode":{"kind":"whole"},"tta":{"flip":false,"scales":[1.0]},"input_px":[448,308],"select":"last","reference_batch":16}"#;
        assert_eq!(serde_json::to_string(&whole()).unwrap(), json);
        assert_eq!(serde_json::from_str::<Protocol>(json).unwrap(), whole());
    }
}
