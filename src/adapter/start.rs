//! Training that starts from an adapter file (key `init.adapter`).

use super::{AdapterFile, Error};
use crate::model::DecoderConfig;
use crate::model::config::{LoraConfig, LoraTarget, TuneConfig};
use crate::model::network::Network;
use crate::model::vit::Arch;

/// What a run trains: its tuning, its decoder, and the number of classes.
type Trained<'a> = (&'a TuneConfig, &'a DecoderConfig, usize);

impl AdapterFile {
    /// Checks that the file holds exactly what a run on an encoder of `arch` trains, of the same
    /// sizes and scale; `arch` is `None` where the encoder is not known yet.
    pub fn check_start(&self, arch: Option<&Arch>, trained: Trained<'_>) -> Result<(), Error> {
        let (tune, decoder, n_classes) = trained;
        if let Some(arch) = arch {
            self.fits(arch)?;
        }
        let about = &self.about;
        let differs = |what: &str, file: String, run: String| {
            Err(self.misfit(format!(
                "cannot start this run: its {what} is {file}, and the run's is {run}"
            )))
        };
        match (&about.tune, tune) {
            (TuneConfig::Lora(file), TuneConfig::Lora(run)) => {
                if let Some((what, file, run)) = difference(file, run, arch) {
                    return differs(what, file, run);
                }
            }
            (file, run) if kind(file) == kind(run) => {}
            (file, run) => return differs("tuning", kind(file).into(), kind(run).into()),
        }
        match (&about.decoder, about.n_classes) {
            (Some(file), _) if file != decoder => differs("decoder", file.label(), decoder.label()),
            (Some(_), Some(n)) if n != n_classes => {
                differs("number of classes", n.to_string(), n_classes.to_string())
            }
            (Some(_), _) => Ok(()),
            (None, _) => Err(self.misfit("cannot start a run: it holds no decoder".to_owned())),
        }
    }

    /// Sets all that `network` trains from the file; it goes on being trained.
    pub fn start(&self, network: &mut Network) -> Result<(), Error> {
        let device = network.device();
        self.apply("", &device, &mut |f| network.each_changed(f))
    }
}

fn kind(tune: &TuneConfig) -> &'static str {
    match tune {
        TuneConfig::Frozen {} => "a frozen encoder",
        TuneConfig::Lora(_) => "LoRA",
        TuneConfig::Full {} => "the whole encoder",
    }
}

/// The first difference that matters between the LoRA of a file and that of a run: what, in the
/// file, in the run.
fn difference(
    file: &LoraConfig,
    run: &LoraConfig,
    arch: Option<&Arch>,
) -> Option<(&'static str, String, String)> {
    if file.rank != run.rank {
        return Some(("LoRA rank", file.rank.to_string(), run.rank.to_string()));
    }
    if (file.scale() - run.scale()).abs() > f64::EPSILON {
        return Some(("LoRA scale", file.scale().to_string(), run.scale().to_string()));
    }
    let arch = arch?;
    let targets = |lora: &LoraConfig| {
        let mut names: Vec<_> = lora.targets_in(arch).into_iter().map(LoraTarget::name).collect();
        names.sort_unstable();
        names.join(", ")
    };
    if targets(file) != targets(run) {
        return Some(("LoRA", format!("on {}", targets(file)), format!("on {}", targets(run))));
    }
    let blocks = |lora: &LoraConfig| {
        let blocks = lora.blocks_in(arch);
        format!("on blocks {} to {}", blocks.start(), blocks.end())
    };
    let (file, run) = (blocks(file), blocks(run));
    (file != run).then_some(("LoRA", file, run))
}
