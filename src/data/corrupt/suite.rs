//! Suites: named and versioned lists of corruptions that a results table may put in one column.

use super::Corruption;

/// A list of corruptions; changing it, or what a member does, raises the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    pub name: &'static str,
    pub version: u32,
    pub corruptions: &'static [Corruption],
}

pub const SUITES: &[Suite] = &[Suite {
    name: "imagenet-c-first8",
    version: 1,
    corruptions: &[
        Corruption::GaussianNoise,
        Corruption::ShotNoise,
        Corruption::DefocusBlur,
        Corruption::Fog,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::Pixelate,
        Corruption::JpegCompression,
    ],
}];

/// The suite of that name in its newest version, or `None`.
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

impl Suite {
    /// As printed and stored, e.g. `imagenet-c-first8 v1`.
    pub fn label(&self) -> String {
        format!("{} v{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_found_by_name() {
        let first8 = suite("imagenet-c-first8").unwrap();
        assert_eq!(first8.label(), "imagenet-c-first8 v1");
        assert_eq!(first8.corruptions.len(), 8);
        assert_eq!(suite("imagenet-c"), None);
    }
}
