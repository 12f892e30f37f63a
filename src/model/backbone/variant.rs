//! The columns of the tables of encoders: one row describes one released encoder.

use crate::model::arch::Arch;
use crate::model::config::{DinoType, Pretraining};

/// One released (or, for `tiny`, made-up) encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Official name, e.g. `dinov2_vits14_reg`.
    pub name: &'static str,
    pub dino_type: DinoType,
    pub size: Size,
    /// The size as papers write it, e.g. `S`.
    pub letter: &'static str,
    /// Other spellings of the size that users may write.
    pub spellings: &'static [&'static str],
    /// Whether the encoder has register tokens; always true for DINOv3.
    pub registers: bool,
    /// The images it was trained on; for DINOv2 always the default.
    pub pretraining: Pretraining,
    pub arch: Arch,
    /// Released file names that hold these weights, best first; empty for `tiny`.
    pub files: &'static [&'static str],
    /// Names of the Hugging Face repositories of `facebook`, and of folders like them.
    pub folders: &'static [&'static str],
    /// Names of the models in `timm`, best first.
    pub timm: &'static [&'static str],
    /// sha256 of the first of `files`, in full or its published beginning; empty where unknown.
    pub sha256: &'static str,
    /// Length of the first of `files`, where it is published.
    pub bytes: Option<u64>,
    /// Address that the weights are published at.
    pub source: &'static str,
    /// Mean of the pre-training images, RGB, 0 to 1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Parameters of the encoder as published; 0 for `tiny`.
    pub params: u64,
}

/// A size by its name in specs, such as `small_plus`; the rows of the tables say which there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size(&'static str);

impl Size {
    /// The size that is in no table: the Hugging Face folder of `weights.path` describes it.
    pub const CUSTOM: Self = Self("custom");

    /// The size of a table row.
    pub(super) const fn of_row(name: &'static str) -> Self {
        Self(name)
    }

    /// The name of the size in specs.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl Variant {
    /// The architecture as tables show it, e.g. `ViT-S/14`.
    pub fn architecture(&self) -> String {
        format!("ViT-{}/{}", self.letter, self.arch.patch)
    }

    /// The architecture, and the images where they are not the usual ones: `ViT-L/16 SAT`.
    pub fn label(&self) -> String {
        match self.pretraining {
            Pretraining::Lvd1689m => self.architecture(),
            Pretraining::Sat493m => format!("{} SAT", self.architecture()),
        }
    }
}

/// The facts of an encoder that a run needs, whether it is a table row or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Backbone {
    pub name: String,
    pub arch: Arch,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl From<&Variant> for Backbone {
    fn from(variant: &Variant) -> Self {
        let Variant { name, arch, mean, std, .. } = *variant;
        Self { name: name.to_owned(), arch, mean, std }
    }
}

/// Mean and standard deviation of ImageNet, RGB.
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
/// Mean and standard deviation of the satellite images of DINOv3's SAT-493M.
pub const SAT_493M: ([f32; 3], [f32; 3]) = ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]);

/// Standard deviation of the official initialisers of weights and tokens.
pub(super) const INIT_STD: f64 = 0.02;
/// Standard deviation of the initial weights of the `tiny` variants, 1/√dim: at their width 0.02
/// would leave every block near-identity, and the tokens of an untrained encoder would hardly
/// differ.
pub(super) const INIT_STD_TINY: f64 = 0.125;
