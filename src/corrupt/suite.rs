//! Suites: named and versioned lists of corruptions that a results table may put in one column.

use super::frost::Source;
use super::{Corruption, Effect};

/// The effects that are scored at each level; changing the list or a member raises the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    pub name: &'static str,
    pub version: u32,
    pub members: Members,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    Corruptions(&'static [Corruption]),
    /// This many draws of the reference project's pipeline ([`super::oneof`]).
    ReferenceDraws(u8),
}

/// ImageNet-C's corruptions, and the four that it keeps for validation.
const ALL: [Corruption; 19] = {
    use Corruption::{
        Brightness, Contrast, DefocusBlur, ElasticTransform, Fog, Frost, GaussianBlur,
        GaussianNoise, GlassBlur, ImpulseNoise, JpegCompression, MotionBlur, Pixelate, Saturate,
        ShotNoise, Snow, Spatter, SpeckleNoise, ZoomBlur,
    };
    [
        GaussianNoise,
        ShotNoise,
        ImpulseNoise,
        DefocusBlur,
        GlassBlur,
        MotionBlur,
        ZoomBlur,
        Snow,
        Frost,
        Fog,
        Brightness,
        Contrast,
        ElasticTransform,
        Pixelate,
        JpegCompression,
        SpeckleNoise,
        GaussianBlur,
        Spatter,
        Saturate,
    ]
};

pub const SUITES: &[Suite] = &[
    Suite { name: "imagenet-c-15", version: 1, members: Members::Corruptions(ALL.split_at(15).0) },
    // Without those that move pixels away from their labels: elastic, zoom, glass.
    Suite {
        name: "imagenet-c-12",
        version: 1,
        members: Members::Corruptions(&[
            Corruption::GaussianNoise,
            Corruption::ShotNoise,
            Corruption::ImpulseNoise,
            Corruption::DefocusBlur,
            Corruption::MotionBlur,
            Corruption::Snow,
            Corruption::Frost,
            Corruption::Fog,
            Corruption::Brightness,
            Corruption::Contrast,
            Corruption::Pixelate,
            Corruption::JpegCompression,
        ]),
    },
    Suite { name: "imagenet-c-19", version: 1, members: Members::Corruptions(&ALL) },
    Suite {
        name: "imagenet-c-first8",
        version: 1,
        members: Members::Corruptions(&[
            Corruption::GaussianNoise,
            Corruption::ShotNoise,
            Corruption::DefocusBlur,
            Corruption::Fog,
            Corruption::Brightness,
            Corruption::Contrast,
            Corruption::Pixelate,
            Corruption::JpegCompression,
        ]),
    },
    Suite { name: "reference_oneof", version: 1, members: Members::ReferenceDraws(10) },
];

/// The suite of that name in its newest version, or `None`.
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

impl Suite {
    /// The name and version as printed and stored, e.g. `imagenet-c-15 v1`.
    pub fn label(&self) -> String {
        format!("{} v{}", self.name, self.version)
    }

    /// The effects in the suite's order; frost from `source`.
    pub fn effects(&self, source: Source) -> Vec<Effect> {
        match self.members {
            Members::Corruptions(corruptions) => {
                corruptions.iter().map(|&corruption| Effect::of(corruption, source)).collect()
            }
            Members::ReferenceDraws(n) => (0..n).map(Effect::ReferenceDraw).collect(),
        }
    }

    /// Whether `corruption` is one of its members.
    pub fn contains(&self, corruption: Corruption) -> bool {
        match self.members {
            Members::Corruptions(corruptions) => corruptions.contains(&corruption),
            Members::ReferenceDraws(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TABLE;
    use super::*;

    fn corruptions(name: &str) -> Vec<Corruption> {
        match suite(name).unwrap().members {
            Members::Corruptions(corruptions) => corruptions.to_vec(),
            Members::ReferenceDraws(_) => Vec::new(),
        }
    }

    #[test]
    fn suites_are_found_by_name() {
        let first8 = suite("imagenet-c-first8").unwrap();
        assert_eq!(first8.label(), "imagenet-c-first8 v1");
        assert_eq!(corruptions("imagenet-c-first8").len(), 8);
        assert_eq!(corruptions("imagenet-c-15").len(), 15);
        assert_eq!(corruptions("imagenet-c-19").len(), 19);
        assert_eq!(suite("imagenet-c"), None);
    }

    #[test]
    fn the_twelve_are_the_fifteen_that_leave_pixels_in_place() {
        let mut still = corruptions("imagenet-c-15");
        still.retain(|corruption| !corruption.moves_pixels());
        assert_eq!(corruptions("imagenet-c-12"), still);
        assert_eq!(still.len(), 12);
    }

    #[test]
    fn the_nineteen_are_the_whole_table() {
        let all: Vec<_> = TABLE.iter().map(|row| row.corruption).collect();
        assert_eq!(corruptions("imagenet-c-19"), all);
    }

    #[test]
    fn names_of_effects_are_read_back_and_say_where_frost_is_from() {
        for suite in SUITES {
            for source in [Source::Originals, Source::Procedural] {
                for effect in suite.effects(source) {
                    assert_eq!(Effect::parse(&effect.name()), Some(effect));
                }
            }
        }
        let names = |source: Source| {
            suite("imagenet-c-15").unwrap().effects(source).into_iter().map(Effect::name)
        };
        assert!(names(Source::Originals).any(|name| name == "frost"));
        assert!(names(Source::Procedural).any(|name| name == "frost*"));
    }
}
