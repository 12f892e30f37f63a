//! The flags that name an encoder, alone or with an adapter, and its opening.

use std::path::PathBuf;

use burn::tensor::Device;

use super::adapter;
use super::fault::{Exit, fault};
use crate::adapter::AdapterFile;
use crate::data::transform::Normal;
use crate::eval::features::Model;
use crate::model::backbone::{self, Backbone};
use crate::weights;

/// An encoder by its weights, with an adapter or without.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "encoder")]
pub struct Args {
    /// Weights of the encoder: a file, the index of a sharded one, or a folder
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Name of the encoder, such as `dinov2_vits14_reg`; found from the weights if left out
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Adapter (LoRA and decoder): of a run, of the reference project (`.pt`), or a PEFT folder
    #[arg(long, value_name = "FILE")]
    pub adapter: Option<PathBuf>,
}

/// An encoder that is known, but not loaded.
pub struct Named<'a> {
    args: &'a Args,
    pub backbone: Backbone,
    pub adapter: Option<AdapterFile>,
}

impl Args {
    /// Finds out which encoder it is, and opens the adapter.
    pub fn name(&self) -> anyhow::Result<Named<'_>> {
        let backbone = self.backbone()?;
        let adapter = self.adapter.as_deref().map(AdapterFile::open).transpose();
        let adapter = adapter.map_err(adapter::with_exit)?;
        Ok(Named { args: self, backbone, adapter })
    }

    /// The encoder that is asked for, or the one identified from the weight file.
    fn backbone(&self) -> anyhow::Result<Backbone> {
        let Some(name) = &self.variant else {
            let found = weights::identify(&self.weights)?;
            let (mean, std) = (found.mean, found.std);
            return Ok(Backbone { name: found.name, arch: found.arch, mean, std });
        };
        let variant = backbone::variants().find(|variant| variant.name == name);
        variant.map(Backbone::from).ok_or_else(|| {
            let names: Vec<_> = backbone::variants().map(|variant| variant.name).collect();
            let names = names.join("`, `");
            fault(Exit::Usage, format!("no encoder is called `{name}`; known: `{names}`"))
        })
    }
}

impl Named<'_> {
    /// Loads it onto a device.
    pub fn load(&self, device: &Device) -> anyhow::Result<Model> {
        let backbone = &self.backbone;
        let encoder = weights::load(&self.args.weights, (&backbone.name, backbone.arch), device)?;
        Ok(match &self.adapter {
            None => Model::bare(encoder),
            Some(file) if file.decoder().is_none() => {
                Model::bare(file.adapt(encoder).map_err(adapter::with_exit)?)
            }
            Some(file) => {
                let network = file.build(encoder).map_err(adapter::with_exit)?;
                Model::Network(Box::new(network.without_gradients()))
            }
        })
    }

    /// How images are normalised: as the adapter was trained, else as the encoder was.
    pub fn normal(&self) -> Normal {
        let own = Normal { mean: self.backbone.mean, std: self.backbone.std };
        self.adapter.as_ref().map_or(own, |adapter| adapter.normalise().or(own))
    }
}

/// Side of the images that the encoders were made for, pixels: 37 patches of 14, 32 of 16.
pub fn side_px(patch: u32) -> u32 {
    if patch == 14 { 518 } else { 512 / patch * patch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_those_the_encoders_were_made_for() {
        assert_eq!([14, 16, 8].map(side_px), [518, 512, 512]);
    }
}
