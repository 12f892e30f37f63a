//! The dimensions of an encoder, which the backbone tables, weight files and LoRA's checks
//! describe.

/// The dimensions of one encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arch {
    /// Side of a square patch, pixels.
    pub patch: usize,
    pub dim: usize,
    pub depth: usize,
    pub heads: usize,
    pub ffn: Ffn,
    /// Register (storage) tokens between the class token and the patches.
    pub registers: usize,
    pub norm_eps: f64,
    pub bias: AttentionBias,
    /// Initial LayerScale, for random weights.
    pub layer_scale: f64,
    /// Standard deviation of random weights and tokens.
    pub init_std: f64,
    pub position: Position,
}

/// The feed-forward network of a block; `hidden` is its inner width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ffn {
    Mlp { hidden: usize },
    SwiGlu { hidden: usize },
}

/// The choice of q, k and v that have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionBias {
    All,
    /// DINOv3 masks the key's bias to zero.
    QueryValue,
    None,
}

/// The encoding of patch positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Position {
    /// A learned embedding of `side` x `side` patches and the class token, resized bicubically.
    Learned { side: usize, resize: Resize },
    /// Rotary, with periods `base^(2i / (head_dim / 2))`.
    Rotary { base: f64 },
}

/// The two ways in which official code resizes learned positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resize {
    /// Bicubic, a = -0.75, coordinates from `(n + offset) / side`.
    Offset(f64),
    /// Bicubic, a = -0.5, antialiased, coordinates from the sizes.
    Antialias,
}

impl Arch {
    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Tells whether official files have SwiGLU's two gates as one layer, `w12`: DINOv2's do.
    pub fn has_fused_gates(&self) -> bool {
        matches!((self.ffn, self.position), (Ffn::SwiGlu { .. }, Position::Learned { .. }))
    }

    /// Number of tokens before the patches: the class token and the registers.
    pub fn prefix(&self) -> usize {
        1 + self.registers
    }
}
