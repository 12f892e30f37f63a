//! Initial values, drawn from keyed ChaCha so that each tensor's draw depends on its name alone.

use crate::model::config::LoraConfig;
use crate::model::params::Params;
use crate::model::vit::Encoder;
use crate::rng;

/// Uniform in `±1/√fan_in`: PyTorch's default for `nn.Conv2d` and `nn.Linear`, biases included, and
/// the reference project's for LoRA's A (Kaiming uniform, a = √5).
pub fn fan_in_uniform(fan_in: usize, n: usize, seed: u64, name: &str) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    let mut rng = rng::keyed(seed, &format!("init/{name}"), &[]);
    (0..n).map(|_| ((2.0 * rng::uniform(&mut rng) - 1.0) * bound) as f32).collect()
}

/// Normal of mean 0.
pub fn normal(std: f64, n: usize, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = rng::keyed(seed, &format!("init/{name}"), &[]);
    (0..n).map(|_| (rng::normal(&mut rng) * std) as f32).collect()
}

/// Random weights as the official code draws them: matrices and tokens normal, the patch
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

/// Puts LoRA on the targets of every block: A Kaiming uniform, B zero, so that the first forward
/// pass is the frozen encoder's.
pub fn lora(encoder: &mut Encoder, config: &LoraConfig, seed: u64) {
    use burn::tensor::{Tensor, TensorData};

    use crate::model::config::LoraTarget;
    use crate::model::vit::linear::Lora;

    let (device, dim) = (encoder.device(), encoder.arch.dim);
    let rank = config.rank.get() as usize;
    for (i, block) in encoder.blocks.iter_mut().enumerate() {
        for target in &config.targets {
            let (name, layer) = match target {
                LoraTarget::Q => ("q", &mut block.attn.q),
                LoraTarget::V => ("v", &mut block.attn.v),
            };
            let name = format!("blocks.{i}.attn.{name}.lora_a");
            let a = fan_in_uniform(dim, dim * rank, seed, &name);
            layer.lora = Some(Lora {
                a: Tensor::from_data(TensorData::new(a, [dim, rank]), &device),
                b: Tensor::zeros([rank, dim], &device),
                scale: config.scale(),
            });
        }
    }
}
