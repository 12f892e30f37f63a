//! Opening any adapter file, building its network, and writing it in any format.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::Device;

use super::check::{self, Shapes};
use super::{AdapterFile, EncoderInfo, Error, Kind, Normalise, peft, reference, sweep};
use crate::model::backbone::{self, Variant};
use crate::model::config::{LoraConfig, TuneConfig};
use crate::model::network::{Network, Parts};
use crate::model::params::{Params, Slot, is_buffer, is_lora};
use crate::model::vit::Encoder;
use crate::model::{DecoderConfig, init};
use crate::weights::{TensorFile, cause};

/// A function that is called with a tensor's name and its slot.
pub(super) type Visit<'a> = dyn FnMut(&str, Slot<'_>) + 'a;
/// A function that calls a [`Visit`] for each of some slots.
pub(super) type Each<'a> = dyn FnMut(&mut Visit<'_>) + 'a;

impl AdapterFile {
    /// Reads an adapter of any format: our safetensors, the reference project's `.pt`, or a PEFT
    /// folder (or one of its files). What is read is whole and fits the encoder that it names.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if cause::is_absent(path) {
            return Err(Error::Absent { path: path.to_owned(), reason: cause::absent(path) });
        }
        let folder = if path.is_dir() { Some(path) } else { peft::folder_of(path) };
        let adapter = if let Some(folder) = folder {
            peft::read(folder)?
        } else {
            let file = TensorFile::open(path)?;
            if file.is_pytorch() { reference::read(&file)? } else { sweep::read(&file)? }
        };
        adapter.check()?;
        Ok(adapter)
    }

    /// The LoRA settings of the adapter; `None` where it has no LoRA.
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

    /// Every tensor of the file, as (name in a network, shape).
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }

    /// The values of a tensor of the file, row-major; `None` where it has none of this name.
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|stored| stored.values.as_slice())
    }

    /// Builds the network of this file: `encoder` (its weights loaded), adapted, and the file's
    /// decoder.
    pub fn build(&self, encoder: Encoder) -> Result<Network, Error> {
        let (Some(decoder), Some(n_classes)) = (&self.about.decoder, self.about.n_classes) else {
            return Err(
                self.misfit("holds no decoder, so it can only be used for features".to_owned())
            );
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

    /// Puts onto `encoder` (its weights loaded) what this file changes in it; a decoder in the file
    /// is left out. Nothing in it is trained.
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

    /// Sets every tensor that `each` visits from the file's tensors whose names begin with
    /// `prefix`; a missing or an unused one is an error.
    pub(super) fn apply(
        &self,
        prefix: &str,
        device: &Device,
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        let mut expected = Shapes::new();
        each(&mut |name, slot| drop(expected.insert(name.to_owned(), slot.file_shape())));
        let below = self.tensors.iter().filter(|(name, _)| name.starts_with(prefix));
        if let Some(problems) = check::problems(&expected, below) {
            return Err(self.misfit(format!("does not fit {problems}")));
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

    /// Number of values in all its tensors, buffers left out.
    pub fn n_parameters(&self) -> u64 {
        let counted = self.tensors.iter().filter(|(name, _)| !is_buffer(name));
        counted.map(|(_, stored)| stored.values.len() as u64).sum()
    }

    /// The encoders that the file may be for, in words.
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
            0 => format!("an encoder of {}", info.family()),
            _ => labels.into_iter().collect::<Vec<_>>().join(" or "),
        };
        let sizes =
            [info.dim.map(|dim| format!("dim {dim}")), info.depth.map(|n| format!("{n} blocks"))];
        let sizes: Vec<_> = sizes.into_iter().flatten().collect();
        if sizes.is_empty() { label } else { format!("{label} ({})", sizes.join(", ")) }
    }

    /// Records the encoder of a file that does not name one.
    pub fn set_variant(&mut self, variant: &Variant) -> Result<(), Error> {
        self.fits(&variant.arch)?;
        if let Some(name) = self.about.encoder.name.as_ref().filter(|name| *name != variant.name) {
            return Err(self.misfit(format!("is for {name}, not for {}", variant.name)));
        }
        let weights_sha256 = self.about.encoder.weights_sha256.take();
        self.about.encoder =
            EncoderInfo { weights_sha256, ..EncoderInfo::of(variant.name, &variant.arch) };
        self.check()
    }

    /// Writes the adapter in another format; returns what that format cannot say, as sentences.
    ///
    /// `path` is a file, for PEFT a folder.
    pub fn write(&self, kind: Kind, path: &Path) -> Result<Vec<String>, Error> {
        match kind {
            Kind::Sweep => sweep::write(self, path),
            Kind::Reference => reference::write(self, path),
            Kind::Peft => peft::write(self, path),
        }
    }

    pub(super) fn misfit(&self, reason: String) -> Error {
        Error::Misfit { path: self.path.clone(), reason }
    }

    pub(super) fn inexpressible(&self, format: &'static str, reason: String) -> Error {
        Error::Inexpressible { path: self.path.clone(), format, reason }
    }
}
