//! Looks up variants in the tables of all families: by config, by family, by the name of a size.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::config::Config;
use super::variant::{Size, Variant};
use super::{dinov2, dinov3};
use crate::model::config::DinoType;

/// Every variant of all families.
pub fn variants() -> impl Iterator<Item = &'static Variant> {
    dinov2::VARIANTS.iter().chain(dinov3::VARIANTS)
}

/// The variant a config names; `None` where that size does not exist for that DINO.
pub fn find(config: &Config) -> Option<&'static Variant> {
    variants().find(|v| {
        v.size == config.size
            && is_alike(v, config)
            && (v.dino_type == DinoType::Dinov2 || v.pretraining == config.pretraining)
    })
}

/// Tells whether a row is of the config's family, with registers where that can be chosen.
fn is_alike(row: &Variant, config: &Config) -> bool {
    row.dino_type == config.dino_type
        && (row.dino_type == DinoType::Dinov3 || row.registers == config.registers)
}

/// Side of a family's patch, pixels.
pub fn patch_px(dino_type: DinoType) -> u32 {
    let row = variants().find(|row| row.dino_type == dino_type);
    row.expect("every family has a row").arch.patch as u32
}

/// Number of register (storage) tokens of a config's encoder.
pub fn registers(config: &Config) -> u32 {
    let row = variants().find(|row| is_alike(row, config));
    row.expect("every family has a row").arch.registers as u32
}

/// The sizes of a family in the order of [`size_names`], `custom` included.
pub fn sizes(dino_type: DinoType) -> Vec<Size> {
    let is_there = |size: &Size| {
        let is_row = |row: &Variant| row.dino_type == dino_type && row.size == *size;
        *size == Size::CUSTOM || variants().any(is_row)
    };
    size_names().iter().filter_map(|name| Size::named(name)).filter(is_there).collect()
}

/// Names of the sizes of all families, each once, from the smallest to the largest, then `custom`.
pub fn size_names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut rows: Vec<&Variant> = variants().collect();
        // Stable: rows of one size stay together, the first family's in front.
        rows.sort_by_key(|row| row.params);
        let mut names = Vec::new();
        for name in rows.into_iter().map(|row| row.size).chain([Size::CUSTOM]).map(Size::name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    });
    &NAMES
}

impl Size {
    /// The size of exactly that name; other spellings find none.
    pub fn named(name: &str) -> Option<Self> {
        let of_rows = variants().map(|variant| variant.size);
        of_rows.chain([Self::CUSTOM]).find(|size| size.name() == name)
    }

    /// The size of that name or of one of its other spellings.
    pub fn spelled(text: &str) -> Option<Self> {
        let row = variants().find(|row| row.spellings.contains(&text));
        row.map(|row| row.size).or_else(|| Self::named(text))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::unknown_variant(&name, size_names()))
    }
}
