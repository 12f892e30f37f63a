//! Draws initial values from keyed ChaCha, so that each tensor's draw depends on its name alone.

use burn::tensor::{Tensor, TensorData};

use crate::model::config::LoraConfig;
use crate::model::params::Params;
use crate::model::vit::Encoder;
use crate::model::vit::linear::{Dropout, Lora};
use crate::rng;

/// Draws values uniform in `±1/√fan_in`: PyTorch's default for `nn.Conv2d` and `nn.Linear`, biases
/// included, and the reference project's for LoRA's A (Kaiming uniform, a = √5).
pub fn fan_in_uniform(fan_in: usize, n: usize, seed: u64, name: &str) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    let mut rng = rng::keyed(seed, &format!("init/{name}"), &[]);
    (0..n).map(|_| ((2.0 * rng::uniform(&mut rng) - 1.0) * bound) as f32).collect()
}

/// Draws normal values of mean 0.
pub fn normal(std: f64, n: usize, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = rng::keyed(seed, &format!("init/{name}"), &[]);
    (0..n).map(|_| (rng::normal(&mut rng) * std) as f32).collect()
}

/// Sets random weights as the official code draws them: matrices and tokens normal, the patch
/// projection as PyTorch's `nn.Conv2d`, biases 0, norms and LayerScale as they are built.
pub fn encoder(encoder: &mut Encoder, seed: u64) {
    let device = encoder.device();
    let std = encoder.arch.init_std;
    let fan_in = 3 * encoder.arch.patch * encoder.arch.patch;
    encoder.each("", &mut |name, mut slot| {
        let n = slot.n_elements();
        let values = if name.starts_with("patch_embed.") {
            fan_in_uniform(fan_in, n, seed, name)
        } else if is_token(name) || is_matrix(name) {
            normal(std, n, seed, name)
        } else {
            return;
        };
        slot.set_from_file(values, &device);
    });
}

fn is_token(name: &str) -> bool {
    name.ends_with("_token") || name.ends_with("_tokens") || name == "pos_embed"
}

fn is_matrix(name: &str) -> bool {
    name.ends_with(".weight") && !name.contains("norm")
}

/// Puts LoRA on the targets of the blocks: A Kaiming uniform, B zero, so that the first forward
/// pass is the frozen encoder's.
///
/// # Panics
/// If the encoder has no such layer or block: specs and files are checked.
pub fn lora(encoder: &mut Encoder, config: &LoraConfig, seed: u64) {
    let (device, arch) = (encoder.device(), encoder.arch);
    let rank = config.rank.get() as usize;
    for i in config.blocks_in(&arch) {
        for target in config.targets_in(&arch) {
            let layer = format!("blocks.{i}.{}", target.path());
            let place = encoder.blocks[i].lora_place(target).expect("targets are checked");
            let name = format!("{layer}.lora_a");
            let a = fan_in_uniform(place.d_in, place.d_in * rank, seed, &name);
            *place.lora = Some(Lora {
                a: Tensor::from_data(TensorData::new(a, [place.d_in, rank]), &device),
                b: Tensor::zeros([rank, place.d_out], &device),
                scale: config.scale(),
                dropout: (config.dropout > 0.0)
                    .then_some(Dropout { rate: config.dropout, place: layer }),
            });
        }
    }
}
