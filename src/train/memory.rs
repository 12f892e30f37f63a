//! An estimate of the memory that a training step takes on a GPU, for `sweep plan`.
//!
//! What is kept for the backward pass is counted from the operations of `model::vit`; what comes and
//! goes within a block, with the rest that an allocator keeps, is a constant that was fitted to counts
//! of the CUDA build. They agree within 15 % (see the tests).

use crate::kernel::attention::SCORES_MAX;
use crate::model::vit::{Arch, Ffn};
use crate::model::{Activations, DecoderConfig, LoraTarget, TuneConfig};
use crate::train::Precision;

/// Buffers of scores: values, probabilities and their gradient; without gradients the first.
const SCORES_BACKWARD: f64 = 3.0;
/// Values in f32 for each of a token's dimensions that come and go in a block.
const TRANSIENT_F32: f64 = 14.0;
/// The same, in the type that blocks compute in.
const TRANSIENT: f64 = 52.0;
/// Values that each block keeps for a dimension of a token where little is adapted: its input, the
/// normed input, q, k, v, attention's output, and what comes before the feed-forward network.
const KEPT: f64 = 7.0;
/// The same where everything is trained: the outputs that are scaled, and the second norm's, too.
const KEPT_FULL: f64 = 10.0;
/// The factor for decoders that read several layers, and enlarge them.
const PYRAMID: f64 = 1.12;
const F32_BYTES: f64 = 4.0;

/// The step that memory is estimated of.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    pub arch: &'a Arch,
    pub tune: &'a TuneConfig,
    pub decoder: &'a DecoderConfig,
    pub batch_size: u32,
    /// Height and width.
    pub input_px: [u32; 2],
    pub precision: Precision,
    pub activations: Activations,
}

impl Shape<'_> {
    /// The largest memory that the step holds on a GPU, in bytes, pools of the allocator included.
    pub fn estimate_bytes(&self) -> u64 {
        let (arch, batch) = (self.arch, f64::from(self.batch_size));
        let patches: usize = self.input_px.map(|px| px as usize / arch.patch).iter().product();
        let n_tokens = (patches + arch.prefix()) as f64;
        let bytes = if self.precision.resolved() == Precision::Bf16 { 2.0 } else { F32_BYTES };
        let values = batch * n_tokens * arch.dim as f64;

        let kept = self.kept_blocks() * self.kept_values() * values * bytes;
        let transient = (TRANSIENT * bytes + TRANSIENT_F32 * F32_BYTES) * values;
        let scores = batch * arch.heads as f64 * n_tokens * n_tokens * F32_BYTES;
        let parts = (scores / (F32_BYTES * SCORES_MAX as f64)).ceil().max(1.0);
        let buffers = if self.kept_blocks() > 0.0 { SCORES_BACKWARD } else { 1.0 };
        let pyramid = if self.decoder.blocks_in(arch.depth).len() > 1 { PYRAMID } else { 1.0 };
        ((kept + transient) * pyramid + scores / parts * buffers + self.weights(bytes)) as u64
    }

    /// Blocks whose values are kept for the backward pass: from the first that is trained.
    fn kept_blocks(&self) -> f64 {
        let first = match self.tune {
            TuneConfig::Frozen {} => self.arch.depth,
            TuneConfig::Lora(lora) => *lora.blocks_in(self.arch).start(),
            TuneConfig::Full {} => 0,
        };
        self.arch.depth.saturating_sub(first) as f64
    }

    /// Values that are kept in a block for each of a token's dimensions.
    fn kept_values(&self) -> f64 {
        if self.activations == Activations::Recompute {
            return 1.0;
        }
        // Of the feed-forward network: what goes into the activation, and what comes out of it.
        let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = self.arch.ffn;
        let inner = hidden as f64 / self.arch.dim as f64;
        let before = match self.arch.ffn {
            Ffn::Mlp { .. } => inner,
            Ffn::SwiGlu { .. } => 2.0 * inner,
        };
        match self.tune {
            TuneConfig::Frozen {} => 0.0,
            TuneConfig::Full {} => KEPT_FULL + before + inner,
            TuneConfig::Lora(lora) => {
                let adapts = |targets: &[LoraTarget]| {
                    let found = lora.targets_in(self.arch);
                    if targets.iter().any(|target| found.contains(target)) { 1.0 } else { 0.0 }
                };
                let first = [LoraTarget::Fc1, LoraTarget::W1, LoraTarget::W2, LoraTarget::W12];
                let second = [LoraTarget::Fc2, LoraTarget::W3];
                KEPT + before + adapts(&first) + inner * adapts(&second)
            }
        }
    }

    /// The weights; where all are trained with their gradients and AdamW's moments.
    fn weights(&self, bytes: f64) -> f64 {
        let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = self.arch.ffn;
        let layers = match self.arch.ffn {
            Ffn::Mlp { .. } => 2,
            Ffn::SwiGlu { .. } => 3,
        };
        let block = self.arch.dim * (4 * self.arch.dim + layers * hidden);
        let n = (self.arch.depth * block) as f64;
        match self.tune {
            TuneConfig::Full {} => 4.0 * F32_BYTES * n,
            TuneConfig::Frozen {} | TuneConfig::Lora(_) => bytes * n,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::backbone;

    /// Difference from what was counted, of it.
    const TOLERANCE: f64 = 0.15;

    /// Compares with the GiB that the CUDA build asked of the driver (`scripts/cuda_stand_in`) in
    /// steps with LoRA on q and v, or another tuning.
    fn check(
        size: &str,
        (tune, decoder): (&str, &str),
        settings: (u32, u32, &str, &str),
        gib: f64,
    ) {
        let (input_px, batch_size, precision, activations) = settings;
        let row = backbone::variants().find(|v| v.name == format!("dinov2_vit{size}14_reg"));
        let tune = match tune {
            "lora" => json!({ "kind": "lora", "rank": 3, "targets": ["q", "v"] }),
            kind => json!({ "kind": kind }),
        };
        let shape = Shape {
            arch: &row.unwrap().arch,
            tune: &serde_json::from_value(tune).unwrap(),
            decoder: &serde_json::from_value(json!({ "kind": decoder })).unwrap(),
            batch_size,
            input_px: [input_px; 2],
            precision: serde_json::from_value(json!(precision)).unwrap(),
            activations: serde_json::from_value(json!(activations)).unwrap(),
        };
        let found = shape.estimate_bytes() as f64 / f64::from(1 << 30);
        assert!((found / gib - 1.0).abs() < TOLERANCE, "{size} {settings:?}: {found}, not {gib}");
    }

    #[test]
    fn estimates_are_near_the_counts() {
        let lora = ("lora", "linear");
        check("s", lora, (518, 16, "f32", "keep"), 8.0);
        check("b", lora, (518, 16, "f32", "keep"), 15.0);
        check("l", lora, (518, 16, "f32", "keep"), 31.0);
        check("s", lora, (518, 16, "bf16", "keep"), 5.1);
        check("b", lora, (518, 16, "bf16", "keep"), 8.9);
        check("l", lora, (518, 16, "bf16", "keep"), 17.8);
        check("s", lora, (518, 16, "f32", "recompute"), 4.66);
        check("b", lora, (518, 16, "f32", "recompute"), 8.04);
        check("s", lora, (518, 16, "bf16", "recompute"), 3.15);
        check("b", lora, (518, 16, "bf16", "recompute"), 5.88);
        check("s", lora, (308, 16, "f32", "keep"), 2.33);
        check("s", lora, (518, 4, "f32", "keep"), 2.11);
        check("s", lora, (518, 1, "f32", "keep"), 0.62);
        check("b", lora, (518, 4, "bf16", "keep"), 2.91);
        check("s", ("lora", "fpn"), (518, 16, "f32", "keep"), 8.78);
        check("s", ("full", "linear"), (518, 16, "f32", "keep"), 11.5);
        check("s", ("frozen", "linear"), (518, 16, "f32", "keep"), 2.57);
    }
}
