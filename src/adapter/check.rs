//! Checks that an adapter file is complete and fits an encoder: one check for every verb that opens
//! one.
//!
//! Opening a file compares its tensors with its own description: its LoRA, its decoder, and the
//! encoder that it names. Loading compares it with the encoder that it is put on.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use super::stored::Stored;
use super::{AdapterFile, EncoderInfo, Error};
use crate::model::backbone::{self, Variant};
use crate::model::config::{DinoType, LoraConfig, LoraTarget, TuneConfig};
use crate::model::decoder::{Decoder, Sizes};
use crate::model::params::{Params, is_buffer};
use crate::model::vit::{Arch, Ffn, Position};
use crate::weights::plan;

/// Shapes in file layout, by names in a network.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// Largest number of tensor names in one message; more are counted.
const SHOWN: usize = 6;
/// Largest number of parameters that a decoder may claim, whatever the size of its file: four times
/// what a pyramid on the widest encoder has.
const CLAIM_MAX: u64 = 1 << 24;
/// The linear layers whose input is the encoder's channels; the others' input is the feed-forward
/// network's inner width.
const FROM_DIM: &[&str] =
    &["attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.w1", "mlp.w2", "mlp.w12"];
const TO_DIM: &[&str] = &["mlp.fc2", "mlp.w3"];
const TO_HIDDEN: &[&str] = &["mlp.fc1", "mlp.w1", "mlp.w2"];

impl AdapterFile {
    /// Checks that the file's tensors are those that its own description calls for, as far as that
    /// can be known without an encoder.
    pub(super) fn check(&self) -> Result<(), Error> {
        let variant = self.variant();
        self.check_base(variant)?;
        let arch = self.arch(variant);
        self.check_claims(&arch)?;
        if let (Some(lora), Some(variant)) = (self.lora(), variant) {
            self.check_layers(lora, &variant.arch)?;
        }
        if let (Some(config), Some(depth)) = (self.decoder(), self.about.encoder.depth) {
            config.check_depth(depth).map_err(|reason| self.misfit(reason))?;
        }
        let expected = self.expected(&arch, variant);
        let Some(problems) = problems(&expected, self.tensors.iter()) else { return Ok(()) };
        Err(self.misfit(match variant {
            Some(variant) => {
                format!(
                    "does not fit {} ({}), which it names, {problems}",
                    variant.name,
                    variant.label()
                )
            }
            None => format!("differs from its own description {problems}"),
        }))
    }

    /// Checks that the file is for an encoder of this architecture.
    pub(super) fn fits(&self, arch: &Arch) -> Result<(), Error> {
        let (info, ours) = (&self.about.encoder, EncoderInfo::of("", arch));
        let differences = info.differences(&ours);
        let is_other_family = info.dino_type.is_some() && info.dino_type != ours.dino_type;
        let is_other_size = info.dim.is_some_and(|dim| dim != arch.dim)
            || info.depth.is_some_and(|depth| depth != arch.depth);
        let family = ours.family();
        if is_other_size || is_other_family {
            return Err(self.misfit(format!(
                "is for {}; this {family} encoder has dim {} and {} blocks",
                self.meant(),
                arch.dim,
                arch.depth
            )));
        }
        if let Some(found) = differences.first() {
            let (what, theirs, ours) = (found.what, found.ours, found.theirs);
            return Err(self.misfit(format!(
                "is for {}, whose {what} is {theirs}; that of this {family} encoder is {ours}",
                self.meant()
            )));
        }
        self.lora().map_or(Ok(()), |lora| self.check_layers(lora, arch))
    }

    /// Checks that the encoder has the layers that LoRA is on.
    fn check_layers(&self, lora: &LoraConfig, arch: &Arch) -> Result<(), Error> {
        let (blocks, depth) = (lora.blocks_in(arch), arch.depth);
        if blocks.is_empty() || *blocks.end() >= depth {
            let (first, last) = (blocks.start(), blocks.end());
            return Err(self.misfit(format!(
                "adapts blocks {first} to {last}; this encoder has 0 to {}",
                depth - 1
            )));
        }
        let places = places(arch);
        match lora.targets_in(arch).into_iter().find(|target| !places.contains(target)) {
            None => Ok(()),
            Some(target) => {
                let names: Vec<_> = places.iter().map(|place| place.name()).collect();
                Err(self.misfit(format!(
                    "adapts the layer {}; this encoder's blocks have {}",
                    target.name(),
                    names.join(", ")
                )))
            }
        }
    }

    /// The row of the backbone tables that the file names; `None` where it names none of them.
    fn variant(&self) -> Option<&'static Variant> {
        let name = self.about.encoder.name.as_deref()?;
        backbone::variants().find(|variant| variant.name == name)
    }

    /// Checks that the sizes that the file gives are those of the encoder that it names.
    fn check_base(&self, variant: Option<&Variant>) -> Result<(), Error> {
        let (Some(variant), info) = (variant, &self.about.encoder) else { return Ok(()) };
        let named = EncoderInfo::of(variant.name, &variant.arch);
        let name = format!("{} ({})", variant.name, variant.label());
        if info.dino_type.is_some() && info.dino_type != named.dino_type {
            return Err(self.misfit(format!(
                "names {name} as its encoder, and says that it is a {}",
                info.family()
            )));
        }
        match info.differences(&named).first() {
            None => Ok(()),
            Some(found) => Err(self.misfit(format!(
                "names {name} as its encoder, whose {} is {}, and says that it is {}",
                found.what, found.theirs, found.ours
            ))),
        }
    }

    /// Checks that what is built from the sizes that the file gives is about as large as the file,
    /// so that no memory is allocated for made-up sizes.
    fn check_claims(&self, arch: &Arch) -> Result<(), Error> {
        let about = &self.about;
        if let Some(lora) = self.lora() {
            let (first, last) = lora.blocks_in(arch).into_inner();
            let n = self.tensors.len();
            let deepest = backbone::variants().map(|row| row.arch.depth).max().unwrap_or(0);
            if first > last || last - first >= n.max(deepest) {
                return Err(self.misfit(format!(
                    "says that blocks {first} to {last} are adapted, and has {n} tensors"
                )));
            }
        }
        let sizes = Sizes { dim: arch.dim.max(1), n_classes: about.n_classes.unwrap_or(0) };
        let n_claimed = about.decoder.as_ref().map_or(0, |config| config.parameters_min(sizes));
        let n_values = self.tensors.values().map(|stored| stored.values.len() as u64).sum();
        if n_claimed > CLAIM_MAX.max(n_values) {
            return Err(self.misfit(format!(
                "says that its decoder has at least {n_claimed} parameters, and holds only \
                 {n_values} in all"
            )));
        }
        match (about.n_classes, about.class_names.as_ref().map(Vec::len)) {
            (Some(n), Some(names)) if n != names => {
                Err(self.misfit(format!("has a decoder for {n} classes, and names {names}")))
            }
            _ => Ok(()),
        }
    }

    /// The encoder's architecture: the table row's, else as far as the file's description and
    /// tensors show it; sizes that they do not show are not used by the check.
    fn arch(&self, variant: Option<&Variant>) -> Arch {
        if let Some(variant) = variant {
            return variant.arch;
        }
        let info = &self.about.encoder;
        let any = backbone::variants().next().expect("the tables have rows").arch;
        let has = |part: &str| self.tensors.keys().any(|name| name.contains(part));
        let dim = info.dim.or_else(|| self.side(FROM_DIM, 'a')).or_else(|| self.side(TO_DIM, 'b'));
        let hidden = info
            .hidden
            .or_else(|| self.side(TO_HIDDEN, 'b'))
            .or_else(|| self.side(TO_DIM, 'a'))
            .or_else(|| self.side(&["mlp.w12"], 'b').map(|n| n / 2))
            .unwrap_or_default();
        let is_v3 = match info.dino_type {
            Some(dino_type) => dino_type == DinoType::Dinov3,
            None => has(".mlp.w1."),
        };
        let rotary = Position::Rotary { base: backbone::dinov3::BASE_PERIOD };
        Arch {
            dim: dim.unwrap_or_default(),
            depth: info.depth.or_else(|| self.depth_shown()).unwrap_or(1).max(1),
            ffn: if has(".mlp.w") { Ffn::SwiGlu { hidden } } else { Ffn::Mlp { hidden } },
            position: if is_v3 { rotary } else { any.position },
            ..any
        }
    }

    /// The side of LoRA's matrices that touches the layer, from the first A or B found among some
    /// layers: A's columns, B's rows.
    fn side(&self, layers: &[&str], letter: char) -> Option<usize> {
        let axis = usize::from(letter == 'a');
        let ends: Vec<_> = layers.iter().map(|layer| format!(".{layer}.lora_{letter}")).collect();
        let is_of = |name: &str| ends.iter().any(|end| name.ends_with(end));
        let (_, stored) = self.tensors.iter().find(|(name, _)| is_of(name))?;
        stored.shape.get(axis).copied()
    }

    /// Number of blocks that the file's tensors show: one more than the highest block index among
    /// them.
    fn depth_shown(&self) -> Option<usize> {
        let block = |name: &String| -> Option<usize> {
            name.strip_prefix("encoder.blocks.")?.split('.').next()?.parse().ok()
        };
        self.tensors.keys().filter_map(block).max().and_then(|last| last.checked_add(1))
    }

    /// Every tensor that the file should have.
    fn expected(&self, arch: &Arch, variant: Option<&Variant>) -> Shapes {
        let mut expected = match &self.about.tune {
            TuneConfig::Frozen {} => Shapes::new(),
            TuneConfig::Lora(lora) => lora_shapes(lora, arch),
            TuneConfig::Full {} if variant.is_some() => plan::expected(arch)
                .into_iter()
                .filter(|(name, _)| !is_buffer(name))
                .map(|(name, shape)| (format!("encoder.{name}"), shape))
                .collect(),
            TuneConfig::Full {} => self.alike(arch.depth),
        };
        if let (Some(config), Some(n_classes)) = (&self.about.decoder, self.about.n_classes) {
            if arch.dim == 0 {
                expected.extend(self.shapes_below("decoder."));
            } else {
                let mut decoder =
                    Decoder::new(config, Sizes { dim: arch.dim, n_classes }, 0, &Device::flex());
                decoder.each("decoder.", &mut |name, slot| {
                    expected.insert(name.to_owned(), slot.file_shape());
                });
            }
        }
        expected
    }

    /// The expected tensors of an encoder that no table has: those of the file, with every block
    /// given the tensors of the first.
    fn alike(&self, depth: usize) -> Shapes {
        const FIRST: &str = "encoder.blocks.0.";
        let mut expected = self.shapes_below("encoder.");
        expected.retain(|name, _| !name.starts_with("encoder.blocks."));
        for (name, shape) in self.shapes_below(FIRST) {
            let rest = &name[FIRST.len()..];
            let blocks = 0..depth.min(self.tensors.len());
            expected.extend(blocks.map(|i| (format!("encoder.blocks.{i}.{rest}"), shape.clone())));
        }
        expected
    }

    fn shapes_below(&self, prefix: &str) -> Shapes {
        let below = self.tensors.iter().filter(|(name, _)| name.starts_with(prefix));
        below.map(|(name, stored)| (name.clone(), stored.shape.clone())).collect()
    }
}

/// All differences between the expected and the found tensors, as the end of a sentence; `None`
/// where there are none.
pub(super) fn problems<'a>(
    expected: &Shapes,
    found: impl Iterator<Item = (&'a String, &'a Stored)>,
) -> Option<String> {
    let mut missing: BTreeSet<&String> = expected.keys().collect();
    let (mut shaped, mut unexpected) = (vec![], vec![]);
    for (name, stored) in found {
        missing.remove(name);
        match expected.get(name) {
            None => unexpected.push(format!("{name} is unexpected")),
            Some(shape) if *shape != stored.shape => {
                shaped.push(format!("{name} is {:?}, not {shape:?}", stored.shape));
            }
            Some(_) => {}
        }
    }
    let missing = missing.into_iter().map(|name| format!("{name} is missing"));
    let mut problems: Vec<_> = missing.chain(shaped).chain(unexpected).collect();
    let n = problems.len();
    let tensors = if n == 1 { "tensor" } else { "tensors" };
    let more = if n > SHOWN { ", …" } else { "" };
    problems.truncate(SHOWN);
    (n > 0).then(|| format!("in {n} {tensors}: {}{more}", problems.join(", ")))
}

/// Names and shapes of LoRA's matrices: A `[rank, in]` and B `[out, rank]` of each layer.
fn lora_shapes(lora: &LoraConfig, arch: &Arch) -> Shapes {
    let rank = lora.rank.get() as usize;
    let mut shapes = Shapes::new();
    for block in lora.blocks_in(arch) {
        for target in lora.targets_in(arch) {
            let [d_in, d_out] = widths(target, arch);
            let name = |letter| format!("encoder.blocks.{block}.{}.lora_{letter}", target.path());
            shapes.insert(name('a'), vec![rank, d_in]);
            shapes.insert(name('b'), vec![d_out, rank]);
        }
    }
    shapes
}

/// Input and output channels of a layer.
fn widths(target: LoraTarget, arch: &Arch) -> [usize; 2] {
    let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = arch.ffn;
    match target {
        LoraTarget::Q | LoraTarget::K | LoraTarget::V | LoraTarget::Proj => [arch.dim, arch.dim],
        LoraTarget::Fc1 | LoraTarget::W1 | LoraTarget::W2 => [arch.dim, hidden],
        LoraTarget::W12 => [arch.dim, 2 * hidden],
        LoraTarget::Fc2 | LoraTarget::W3 => [hidden, arch.dim],
        LoraTarget::All => unreachable!("`all` is resolved by `targets_in`"),
    }
}

/// All layers that may carry an update; DINOv2's gates may have one each, though its specs have one
/// for both.
fn places(arch: &Arch) -> BTreeSet<LoraTarget> {
    let mut places: BTreeSet<_> = LoraTarget::of(arch).iter().copied().collect();
    if places.contains(&LoraTarget::W3) {
        places.extend([LoraTarget::W1, LoraTarget::W2, LoraTarget::W12]);
    }
    places
}
