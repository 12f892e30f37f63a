//! The encoder: patches and tokens in, normed patch tokens out.

use burn::tensor::{Device, Tensor, TensorData};

use super::block::{Block, Norm};
use super::linear::{Bias, Linear};
use super::rope;
use super::{Arch, Position, pos_embed};
use crate::kernel::attention::Rotation;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};

/// A vision transformer without a head.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub arch: Arch,
    patch_embed: Linear,
    cls_token: Tensor<3>,
    registers: Option<Tensor<3>>,
    /// `[1, 1 + side * side, dim]`
    pos_embed: Option<Tensor<3>>,
    /// RoPE periods `[head_dim / 4]`: a buffer, stored by the official files.
    periods: Option<Tensor<1>>,
    pub blocks: Vec<Block>,
    norm: Norm,
    layout: Option<Layout>,
}

/// What depends on the patch grid only, worked out once.
#[derive(Debug, Clone)]
struct Layout {
    grid: [usize; 2],
    positions: Option<Positions>,
    rope: Option<Rotation>,
}

/// Learned positions of the class token and the patches on this grid.
#[derive(Debug, Clone)]
enum Positions {
    /// `[1, 1 + n_patches, dim]`
    Fixed(Tensor<3>),
    /// `[n_patches, side * side]`: the embedding is trained, so each forward pass resizes it.
    Resized(Tensor<2>),
}

/// What a forward pass gives.
#[derive(Debug, Clone)]
pub struct Features {
    /// Patch tokens `[batch, n_patches, dim]` of the layers asked for, in that order; normed but for
    /// [`FinalNorm::LeftOut`].
    pub patches: Vec<Tensor<3>>,
    /// Class tokens `[batch, 1, dim]` of the same layers.
    pub class: Vec<Tensor<3>>,
    /// Patch grid, rows and columns.
    pub grid: [usize; 2],
}

/// Whether tokens pass the encoder's last layer normalisation, whichever block they come from: the
/// `norm` of the official `get_intermediate_layers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalNorm {
    Applied,
    LeftOut,
}

impl Encoder {
    /// An encoder of zeros, to be filled by a weight file or an initialiser.
    pub fn zeros(arch: Arch, device: &Device) -> Self {
        let tokens = |n| Tensor::zeros([1, n, arch.dim], device);
        let (pos_embed, periods) = match arch.position {
            Position::Learned { side, .. } => (Some(tokens(1 + side * side)), None),
            Position::Rotary { base } => {
                let values = rope::periods(base, arch.head_dim());
                let n = values.len();
                (None, Some(Tensor::from_data(TensorData::new(values, [n]), device)))
            }
        };
        Self {
            arch,
            patch_embed: Linear::zeros(3 * arch.patch * arch.patch, arch.dim, Bias::Yes, device),
            cls_token: tokens(1),
            registers: (arch.registers > 0).then(|| tokens(arch.registers)),
            pos_embed,
            periods,
            blocks: (0..arch.depth).map(|_| Block::zeros(&arch, device)).collect(),
            norm: Norm::ones(&arch, device),
            layout: None,
        }
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.cls_token.device().inner()
    }

    /// Works out positions for inputs of `input_px` (height, width); call after loading weights
    /// and before [`Self::forward`].
    ///
    /// # Panics
    /// If the sides are not multiples of the patch.
    pub fn prepare(&mut self, input_px: [usize; 2]) {
        let patch = self.arch.patch;
        assert!(
            input_px.iter().all(|px| px % patch == 0 && *px > 0),
            "input sides are lowered to multiples of the patch when the spec is resolved"
        );
        let grid = input_px.map(|px| px / patch);
        let device = self.cls_token.device();
        let positions = match self.arch.position {
            Position::Learned { side, resize } => Some(self.resized_positions(side, grid, resize)),
            Position::Rotary { .. } => None,
        };
        let rope = self.periods.as_ref().map(|periods| {
            let periods: Vec<f32> =
                periods.clone().inner().into_data().try_into_vec().expect("periods are f32");
            rope::rotation(&periods, grid, self.arch.prefix(), &device)
        });
        self.layout = Some(Layout { grid, positions, rope });
    }

    /// The input size (height, width) that [`Self::prepare`] was last called for.
    pub fn prepared_px(&self) -> Option<[usize; 2]> {
        self.layout.as_ref().map(|layout| layout.grid.map(|n| n * self.arch.patch))
    }

    /// Adds all low-rank updates to the weights they belong to, which are copied for that; other
    /// weights stay shared with clones of this encoder.
    pub fn merge(&mut self) {
        for block in &mut self.blocks {
            block.merge();
        }
    }

    /// Makes the prepared positions constants, with the weights they come from.
    pub fn freeze_positions(&mut self) {
        let Some(layout) = self.layout.take() else { return };
        let positions = layout.positions.map(|p| Positions::Fixed(self.positions(&p).inner()));
        self.layout = Some(Layout { positions, ..layout });
    }

    fn resized_positions(
        &self,
        side: usize,
        grid: [usize; 2],
        resize: pos_embed::Resize,
    ) -> Positions {
        let dim = self.arch.dim;
        let stored = self.pos_embed.clone().expect("learned positions are there by construction");
        let device = stored.device();
        if stored.is_require_grad() {
            let matrix = pos_embed::matrix(side, grid, resize);
            let shape = [grid[0] * grid[1], side * side];
            return Positions::Resized(Tensor::from_data(TensorData::new(matrix, shape), &device));
        }
        if grid == [side, side] {
            return Positions::Fixed(stored);
        }
        let values: Vec<f32> =
            stored.inner().into_data().try_into_vec().expect("position embeddings are f32");
        let mut resized = values[..dim].to_vec();
        resized.extend(pos_embed::resize(&values[dim..], side, grid, resize));
        let n = resized.len() / dim;
        Positions::Fixed(Tensor::from_data(TensorData::new(resized, [1, n, dim]), &device))
    }

    /// `[1, 1 + n_patches, dim]`
    fn positions(&self, positions: &Positions) -> Tensor<3> {
        let matrix = match positions {
            Positions::Fixed(tensor) => return tensor.clone(),
            Positions::Resized(matrix) => matrix,
        };
        let stored = self.pos_embed.clone().expect("learned positions are there by construction");
        let [_, n, _] = stored.dims();
        let patches = matrix.clone().unsqueeze().matmul(stored.clone().narrow(1, 1, n - 1));
        Tensor::cat(vec![stored.narrow(1, 0, 1), patches], 1)
    }

    /// `images` `[batch, 3, height, width]`, normalised, of the prepared size.
    ///
    /// Gives the final-normed tokens after each of `layers` (indices from 0, ascending). `mode` is
    /// LoRA's dropout; the encoder proper is in eval mode always.
    ///
    /// # Panics
    /// If [`Self::prepare`] was not called for this size.
    pub fn forward(&self, images: Tensor<4>, layers: &[usize], mode: Mode) -> Features {
        self.features(&self.hidden(images, layers, mode), FinalNorm::Applied)
    }

    /// As [`Self::forward`], all tokens `[batch, prefix + n_patches, dim]` as the blocks leave them.
    ///
    /// # Panics
    /// If [`Self::prepare`] was not called for this size.
    pub fn hidden(&self, images: Tensor<4>, layers: &[usize], mode: Mode) -> Vec<Tensor<3>> {
        let layout = self.layout.as_ref().expect("`prepare` comes before `forward`");
        let mut x = self.embed(images, layout);
        let mut hidden = vec![];
        let last = layers.iter().max().map_or(0, |layer| layer + 1);
        for (i, block) in self.blocks.iter().enumerate().take(last) {
            x = block.forward(x, layout.rope.as_ref(), mode);
            if layers.contains(&i) {
                hidden.push(x.clone());
            }
        }
        hidden
    }

    /// Patch and class tokens of what [`Self::hidden`] gave.
    ///
    /// # Panics
    /// If [`Self::prepare`] was not called for this size.
    pub fn features(&self, hidden: &[Tensor<3>], norm: FinalNorm) -> Features {
        let grid = self.layout.as_ref().expect("`prepare` comes before `forward`").grid;
        let mut features = Features { patches: vec![], class: vec![], grid };
        for x in hidden {
            let x = match norm {
                FinalNorm::Applied => self.norm.forward(x.clone()),
                FinalNorm::LeftOut => x.clone(),
            };
            features.class.push(x.clone().narrow(1, 0, 1));
            features.patches.push(x.narrow(1, self.arch.prefix(), grid[0] * grid[1]));
        }
        features
    }

    /// `[batch, 3, height, width]` -> `[batch, prefix + n_patches, dim]`.
    fn embed(&self, images: Tensor<4>, layout: &Layout) -> Tensor<3> {
        let [batch, channels, height, width] = images.dims();
        let p = self.arch.patch;
        let [rows, columns] = layout.grid;
        assert_eq!([rows * p, columns * p], [height, width], "prepared for another input size");
        // A convolution whose stride is its kernel is one product over flattened patches:
        // [b, c, rows, p, columns, p] -> [b, rows, columns, c, p, p] -> [b, n, c * p * p]
        let patches = images
            .reshape([batch, channels, rows, p, columns, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * p * p]);
        let patches = self.patch_embed.forward(patches);
        let each = |tokens: &Tensor<3>| {
            let [_, n, dim] = tokens.dims();
            tokens.clone().expand([batch, n, dim])
        };
        let mut x = Tensor::cat(vec![each(&self.cls_token), patches], 1);
        if let Some(positions) = &layout.positions {
            x = x + self.positions(positions);
        }
        let Some(registers) = &self.registers else { return x };
        // Registers come after the class token and carry no position.
        let n_patches = rows * columns;
        let class = x.clone().narrow(1, 0, 1);
        Tensor::cat(vec![class, each(registers), x.narrow(1, 1, n_patches)], 1)
    }
}

impl Params for Encoder {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        let p = self.arch.patch;
        f(&format!("{path}cls_token"), Slot::Tokens(&mut self.cls_token));
        if let Some(registers) = &mut self.registers {
            f(&format!("{path}register_tokens"), Slot::Tokens(registers));
        }
        if let Some(pos_embed) = &mut self.pos_embed {
            f(&format!("{path}pos_embed"), Slot::Tokens(pos_embed));
        }
        if let Some(periods) = &mut self.periods {
            f(&format!("{path}rope_embed.periods"), Slot::Vector(periods));
        }
        let kernel = [self.arch.dim, 3, p, p];
        f(
            &format!("{path}patch_embed.proj.weight"),
            Slot::Kernel(&mut self.patch_embed.weight, kernel),
        );
        if let Some(bias) = &mut self.patch_embed.bias {
            f(&format!("{path}patch_embed.proj.bias"), Slot::Vector(bias));
        }
        self.blocks.each(&format!("{path}blocks."), f);
        self.norm.each(&format!("{path}norm."), f);
    }
}
