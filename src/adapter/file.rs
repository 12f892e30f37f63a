//! Opening any adapter file, building its network, and writing it in any format.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use burn::tensor::Device;

use super::{AdapterFile, EncoderInfo, Error, Kind, Normalise, Stored, peft, reference, sweep};
use crate::model::backbone::{self, Variant};
use crate::model::config::{DinoType, LoraConfig, LoraTarget, TuneConfig};
use crate::model::network::{Network, Parts};
use crate::model::params::{Params, Slot, is_buffer, is_lora};
use crate::model::vit::{Arch, Encoder, Ffn, Position};
use crate::model::{DecoderConfig, init};
use crate::weights::{self, TensorFile};

/// Called with a name and its slot.
type Visit<'a> = dyn FnMut(&str, Slot<'_>) + 'a;
/// Calls a [`Visit`] for each of some slots.
type Each<'a> = dyn FnMut(&mut Visit<'_>) + 'a;

/// Names that a message lists at most.
const SHOWN: usize = 6;

impl AdapterFile {
    /// Reads an adapter of any format: our safetensors, the reference project's `.pt`, or a PEFT
    /// folder (or either of its two files).
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return peft::read(path);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let ("adapter_config.json" | "adapter_model.safetensors", Some(folder)) =
            (&*name, path.parent())
        {
            return peft::read(folder);
        }
        let read = |source| Error::Read { path: path.to_owned(), source };
        let mut head = [0u8; 9];
        let n = {
            let mut file = fs_err::File::open(path).map_err(read)?;
            file.read(&mut head).map_err(read)?
        };
        if n == head.len() && head[8] == b'{' && head[6..8] == [0, 0] {
            return sweep::read(path);
        }
        // Says what a file is that is neither: a web page, a git-LFS pointer, cut short.
        TensorFile::open(path).map_err(|error| match error {
            weights::Error::Read { path, source } => Error::Read { path, source },
            weights::Error::Format { path, reason } => Error::Format { path, reason },
            other => Error::Format { path: path.to_owned(), reason: other.to_string() },
        })?;
        reference::read(path)
    }

    /// The LoRA in it.
    pub fn lora(&self) -> Option<&LoraConfig> {
        match &self.about.tune {
            TuneConfig::Lora(lora) => Some(lora),
            TuneConfig::Frozen {} | TuneConfig::Full {} => None,
        }
    }

    pub fn decoder(&self) -> Option<&DecoderConfig> {
        self.about.decoder.as_ref()
    }

    pub fn normalise(&self) -> Normalise {
        self.about.normalise
    }

    /// (name in a network, shape) of every tensor.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }

    /// The network of this file: `encoder` (its weights loaded), adapted, and the file's decoder.
    pub fn build(&self, encoder: Encoder) -> Result<Network, Error> {
        let (Some(decoder), Some(n_classes)) = (&self.about.decoder, self.about.n_classes) else {
            return Err(self.misfit("holds no decoder, so that it gives features only".to_owned()));
        };
        self.fits(&encoder.arch)?;
        decoder
            .check_depth(encoder.arch.depth)
            .map_err(|reason| self.misfit(format!("does not fit: {reason}")))?;
        let parts = Parts { tune: &self.about.tune, decoder, n_classes, seed: 0 };
        let mut network = Network::new(encoder, &parts);
        let device = network.device();
        self.apply("", &device, &mut |f| network.each_changed(f))?;
        Ok(network)
    }

    /// `encoder` (its weights loaded) with what this file changes in it; a decoder in the file is
    /// left out. Nothing in it is trained.
    pub fn adapt(&self, mut encoder: Encoder) -> Result<Encoder, Error> {
        self.fits(&encoder.arch)?;
        match &self.about.tune {
            TuneConfig::Frozen {} => return Ok(encoder),
            TuneConfig::Lora(lora) => init::lora(&mut encoder, lora, 0),
            TuneConfig::Full {} => {}
        }
        let is_full = matches!(self.about.tune, TuneConfig::Full {});
        let device = encoder.device();
        self.apply("encoder.", &device, &mut |f| {
            encoder.each("encoder.", &mut |name, slot| {
                if if is_full { !is_buffer(name) } else { is_lora(name) } {
                    f(name, slot);
                }
            });
        })?;
        Ok(encoder)
    }

    /// Sets all that `each` visits from the tensors below `prefix`; every one is accounted for.
    fn apply(&self, prefix: &str, device: &Device, each: &mut Each<'_>) -> Result<(), Error> {
        let mut known = BTreeSet::new();
        let mut problems = vec![];
        each(&mut |name, slot| {
            known.insert(name.to_owned());
            match self.tensors.get(name) {
                None => problems.push(format!("{name} is missing")),
                Some(stored) if stored.shape != slot.file_shape() => problems.push(format!(
                    "{name} is {:?}, not {:?}",
                    stored.shape,
                    slot.file_shape()
                )),
                Some(_) => {}
            }
        });
        let unexpected = self.tensors.keys().filter(|name| name.starts_with(prefix));
        let unexpected = unexpected.filter(|name| !known.contains(*name));
        problems.extend(unexpected.map(|name| format!("{name} is unexpected")));
        if !problems.is_empty() {
            let n = problems.len();
            let more = if n > SHOWN { ", …" } else { "" };
            problems.truncate(SHOWN);
            let problems = problems.join(", ");
            return Err(self.misfit(format!("does not fit in {n} tensors: {problems}{more}")));
        }
        each(&mut |name, mut slot| {
            let trained = slot.is_trained();
            slot.set_from_file(self.tensors[name].values.clone(), device);
            if trained {
                slot.train();
            }
        });
        Ok(())
    }

    /// Whether the file is for an encoder of this architecture.
    fn fits(&self, arch: &Arch) -> Result<(), Error> {
        let info = &self.about.encoder;
        let differs = |theirs: Option<usize>, ours| theirs.is_some_and(|theirs| theirs != ours);
        let ours = EncoderInfo::of("", arch).dino_type;
        let other_family = info.dino_type.is_some() && info.dino_type != ours;
        if differs(info.dim, arch.dim) || differs(info.depth, arch.depth) || other_family {
            return Err(self.misfit(format!(
                "is for {}; this {} encoder has dim {} and {} blocks",
                self.meant(),
                family(ours),
                arch.dim,
                arch.depth
            )));
        }
        let Some(lora) = self.lora() else { return Ok(()) };
        let (last, depth) = (*lora.blocks_in(arch).end(), arch.depth);
        if last >= depth {
            return Err(self.misfit(format!("adapts block {last}; this encoder has {depth}")));
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

    /// Values in all its tensors, buffers left out.
    pub fn n_parameters(&self) -> u64 {
        let counted = self.tensors.iter().filter(|(name, _)| !is_buffer(name));
        counted.map(|(_, stored)| stored.values.len() as u64).sum()
    }

    /// The encoders that it may be for, in words.
    pub fn meant(&self) -> String {
        let info = &self.about.encoder;
        let fits = |variant: &&Variant| {
            info.dim.is_none_or(|dim| dim == variant.arch.dim)
                && info.depth.is_none_or(|depth| depth == variant.arch.depth)
                && info.dino_type.is_none_or(|dino_type| dino_type == variant.dino_type)
                && info.name.as_ref().is_none_or(|name| name == variant.name)
        };
        let labels: BTreeSet<_> = backbone::variants().filter(fits).map(Variant::label).collect();
        let label = match labels.len() {
            0 => format!("an encoder of {}", family(info.dino_type)),
            _ => labels.into_iter().collect::<Vec<_>>().join(" or "),
        };
        let sizes =
            [info.dim.map(|dim| format!("dim {dim}")), info.depth.map(|n| format!("{n} blocks"))];
        let sizes: Vec<_> = sizes.into_iter().flatten().collect();
        if sizes.is_empty() { label } else { format!("{label} ({})", sizes.join(", ")) }
    }

    /// Says which encoder it is for, where the file does not.
    pub fn set_variant(&mut self, variant: &Variant) -> Result<(), Error> {
        self.fits(&variant.arch)?;
        if let Some(name) = self.about.encoder.name.as_ref().filter(|name| *name != variant.name) {
            return Err(self.misfit(format!("is for {name}, not for {}", variant.name)));
        }
        let weights_sha256 = self.about.encoder.weights_sha256.take();
        self.about.encoder =
            EncoderInfo { weights_sha256, ..EncoderInfo::of(variant.name, &variant.arch) };
        Ok(())
    }

    /// Writes it in another format; gives what that format does not say, in words.
    ///
    /// `path` is a file, for PEFT a folder.
    pub fn write(&self, kind: Kind, path: &Path) -> Result<Vec<String>, Error> {
        match kind {
            Kind::Sweep => sweep::write(self, path),
            Kind::Reference => reference::write(self, path),
            Kind::Peft => peft::write(self, path),
        }
    }

    fn misfit(&self, reason: String) -> Error {
        Error::Misfit { path: self.path.clone(), reason }
    }

    pub(super) fn inexpressible(&self, format: &'static str, reason: String) -> Error {
        Error::Inexpressible { path: self.path.clone(), format, reason }
    }
}

fn family(dino_type: Option<DinoType>) -> &'static str {
    match dino_type {
        Some(DinoType::Dinov2) => "DINOv2",
        Some(DinoType::Dinov3) => "DINOv3",
        None => "DINO",
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

impl EncoderInfo {
    /// Of an encoder called `name`.
    pub fn of(name: &str, arch: &Arch) -> Self {
        let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = arch.ffn;
        Self {
            name: Some(name.to_owned()),
            dino_type: Some(match arch.position {
                Position::Learned { .. } => DinoType::Dinov2,
                Position::Rotary { .. } => DinoType::Dinov3,
            }),
            patch: Some(arch.patch),
            dim: Some(arch.dim),
            depth: Some(arch.depth),
            heads: Some(arch.heads),
            hidden: Some(hidden),
            registers: Some(arch.registers),
            weights_sha256: None,
        }
    }
}

impl Stored {
    /// Elements, checked against the shape.
    pub(super) fn new(shape: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        let n = shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side))?;
        (n == values.len()).then_some(Self { shape, values })
    }
}
