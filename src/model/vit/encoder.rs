//! The encoder, which turns images into normed patch and class tokens (`DinoVisionTransformer` of
//! facebookresearch/dinov2 b8931f7 and facebookresearch/dinov3 6876159).

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::block::{Block, Norm};
use super::layout::{Layout, Positions};
use super::linear::{Bias, Linear};
use super::{pos_embed, rope};
use crate::kernel::product::from_left;
use crate::model::arch::{Arch, Position, Resize};
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot, is_lora};

/// A vision transformer without a head.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub arch: Arch,
    patch_embed: Linear,
    cls_token: Tensor<3>,
    registers: Option<Tensor<3>>,
    /// Learned positions, `[1, 1 + side * side, dim]`.
    pos_embed: Option<Tensor<3>>,
    /// RoPE periods `[head_dim / 4]`: a buffer, stored by the official files.
    periods: Option<Tensor<1>>,
    pub blocks: Vec<Block>,
    norm: Norm,
    /// Whether positions were trained. Then they are resized as in training, by a product in f32,
    /// though nothing is trained any more; released ones as the official code does it.
    positions_trained: bool,
    /// The type that blocks compute in.
    dtype: FloatDType,
}

/// The tokens that a forward pass gives.
#[derive(Debug, Clone)]
pub struct Features {
    /// Patch tokens `[batch, n_patches, dim]` of the layers asked for, in that order; normed but
    /// for [`FinalNorm::LeftOut`].
    pub patches: Vec<Tensor<3>>,
    /// Class tokens `[batch, 1, dim]` of the same layers.
    pub class: Vec<Tensor<3>>,
    /// Patch grid, rows and columns.
    pub grid: [usize; 2],
}

/// The choice whether tokens pass the encoder's last layer normalisation, whichever block they come
/// from: the `norm` of the official `get_intermediate_layers`.
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
            positions_trained: false,
            dtype: FloatDType::F32,
        }
    }

    /// The device of the tensors.
    pub fn device(&self) -> Device {
        self.cls_token.device().inner()
    }

    /// The patch grid of inputs of `px` (height, width).
    ///
    /// # Panics
    /// If the patch does not divide the sides.
    pub fn grid(&self, px: [usize; 2]) -> [usize; 2] {
        let patch = self.arch.patch;
        assert!(
            px.iter().all(|side| side.is_multiple_of(patch) && *side > 0),
            "input sides are lowered to multiples of the patch when the spec is resolved"
        );
        px.map(|side| side / patch)
    }

    /// Computes everything that depends on the patch grid only. Holds until weights are loaded
    /// anew; training leaves it right, be the positions trained or not.
    pub fn layout(&self, grid: [usize; 2]) -> Layout {
        let positions = match self.arch.position {
            Position::Learned { side, resize } => Some(self.positions_on(grid, side, resize)),
            Position::Rotary { .. } => None,
        };
        let rotation = self.periods.as_ref().map(|periods| {
            let periods: Vec<f32> =
                periods.clone().inner().into_data().try_into_vec().expect("periods are f32");
            rope::rotation(&periods, grid, self.arch.prefix(), &self.device())
        });
        Layout { grid, positions, rotation }
    }

    /// Adds all low-rank updates to the weights they belong to, which are copied for that; other
    /// weights stay shared with clones of this encoder.
    pub fn merge(&mut self) {
        for block in &mut self.blocks {
            block.merge();
        }
    }

    /// Lets the blocks compute in `dtype`: frozen matrices are kept in it, what is trained and the
    /// parameters of norms and scales stay f32, as do embedding and features.
    pub fn compute_in(&mut self, dtype: FloatDType) {
        self.dtype = dtype;
        self.blocks.each("", &mut |name, mut slot| {
            let is_linear = name.contains(".attn.") || name.contains(".mlp.");
            if is_linear && !is_lora(name) && !slot.is_trained() {
                slot.cast(dtype);
            }
        });
    }

    /// The type that blocks compute in.
    pub fn dtype(&self) -> FloatDType {
        self.dtype
    }

    /// Makes every tensor a constant, outside any graph.
    pub fn freeze(&mut self) {
        self.positions_trained |= self.pos_embed.as_ref().is_some_and(Tensor::is_require_grad);
        self.each("", &mut |_, mut slot| slot.freeze());
    }

    fn positions_on(&self, grid: [usize; 2], side: usize, resize: Resize) -> Positions {
        let stored = self.pos_embed.clone().expect("learned positions are there by construction");
        let device = self.device();
        if stored.is_require_grad() || self.positions_trained {
            let matrix = pos_embed::matrix(side, grid, resize);
            let shape = [grid[0] * grid[1], side * side];
            let matrix = Tensor::from_data(TensorData::new(matrix, shape), &device);
            return if stored.is_require_grad() {
                Positions::Resized(matrix)
            } else {
                Positions::Fixed(resized(stored, matrix))
            };
        }
        if grid == [side, side] {
            return Positions::Fixed(stored);
        }
        let dim = self.arch.dim;
        let values: Vec<f32> =
            stored.inner().into_data().try_into_vec().expect("position embeddings are f32");
        let mut on_grid = values[..dim].to_vec();
        on_grid.extend(pos_embed::resize(&values[dim..], side, grid, resize));
        let n = on_grid.len() / dim;
        Positions::Fixed(Tensor::from_data(TensorData::new(on_grid, [1, n, dim]), &device))
    }

    /// The positions of one grid, `[1, 1 + n_patches, dim]`.
    fn positions(&self, positions: &Positions) -> Tensor<3> {
        match positions {
            Positions::Fixed(tensor) => tensor.clone(),
            Positions::Resized(matrix) => {
                let stored = self.pos_embed.clone();
                let stored = stored.expect("learned positions are there by construction");
                resized(stored, matrix.clone())
            }
        }
    }

    /// The final-normed tokens after each of `layers` (indices from 0, ascending).
    ///
    /// `images` is `[batch, 3, height, width]`, normalised. `mode` is LoRA's dropout; the encoder
    /// proper is in eval mode always. Works out the layout; loops keep it and call
    /// [`Self::forward_on`].
    ///
    /// # Panics
    /// If the patch does not divide the images' sides.
    pub fn forward(&self, images: Tensor<4>, layers: &[usize], mode: Mode) -> Features {
        let [_, _, height, width] = images.dims();
        self.forward_on(&self.layout(self.grid([height, width])), images, layers, mode)
    }

    /// Runs [`Self::forward`] on images of the layout's grid.
    ///
    /// # Panics
    /// If they are of another size.
    pub fn forward_on(
        &self,
        layout: &Layout,
        images: Tensor<4>,
        layers: &[usize],
        mode: Mode,
    ) -> Features {
        let hidden = self.hidden(layout, images, layers, mode);
        self.features(layout, &hidden, FinalNorm::Applied)
    }

    /// Runs the blocks as [`Self::forward_on`] does and returns all tokens
    /// `[batch, prefix + n_patches, dim]` as the blocks leave them.
    ///
    /// # Panics
    /// If the images are of another size.
    pub fn hidden(
        &self,
        layout: &Layout,
        images: Tensor<4>,
        layers: &[usize],
        mode: Mode,
    ) -> Vec<Tensor<3>> {
        let mut x = self.tokens(layout, images);
        let mut hidden = vec![];
        let last = layers.iter().max().map_or(0, |layer| layer + 1);
        for i in 0..last {
            x = self.block(layout, i, x, mode);
            if layers.contains(&i) {
                hidden.push(x.clone());
            }
        }
        hidden
    }

    /// The tokens `[batch, prefix + n_patches, dim]` that go into the first block, in the type
    /// that blocks compute in.
    ///
    /// # Panics
    /// If the images are of another size than the layout's.
    pub fn tokens(&self, layout: &Layout, images: Tensor<4>) -> Tensor<3> {
        let x = self.embed(images, layout);
        if self.dtype == FloatDType::F32 { x } else { x.cast(self.dtype) }
    }

    /// Applies block `i` to what went through those before it; shape unchanged.
    pub fn block(&self, layout: &Layout, i: usize, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        self.blocks[i].forward(x, layout.rotation.as_ref(), mode)
    }

    /// Splits tokens that [`Self::hidden`] gave for the same layout into patch and class tokens.
    pub fn features(&self, layout: &Layout, hidden: &[Tensor<3>], norm: FinalNorm) -> Features {
        let normed: Vec<_> = hidden.iter().map(|x| self.normed(x, norm)).collect();
        self.split(layout, &normed)
    }

    /// The tokens in f32 after the last layer normalisation, or without it; shape unchanged.
    pub fn normed(&self, x: &Tensor<3>, norm: FinalNorm) -> Tensor<3> {
        let x = match norm {
            FinalNorm::Applied => self.norm.forward(x.clone()),
            FinalNorm::LeftOut => x.clone(),
        };
        if self.dtype == FloatDType::F32 { x } else { x.cast(FloatDType::F32) }
    }

    /// Splits tokens that [`Self::normed`] gave into patch and class tokens.
    pub fn split(&self, layout: &Layout, normed: &[Tensor<3>]) -> Features {
        let mut features = Features { patches: vec![], class: vec![], grid: layout.grid };
        for x in normed {
            features.class.push(x.clone().narrow(1, 0, 1));
            features.patches.push(x.clone().narrow(1, self.arch.prefix(), layout.n_patches()));
        }
        features
    }

    /// Embeds images: `[batch, 3, height, width]` -> `[batch, prefix + n_patches, dim]`.
    fn embed(&self, images: Tensor<4>, layout: &Layout) -> Tensor<3> {
        let [batch, channels, height, width] = images.dims();
        let p = self.arch.patch;
        let [rows, columns] = layout.grid;
        assert_eq!([rows * p, columns * p], [height, width], "the layout is for another size");
        // A convolution whose stride is its kernel is one product over flattened patches:
        // [b, c, rows, p, columns, p] -> [b, rows, columns, c, p, p] -> [b, n, c * p * p]
        let patches = images
            .reshape([batch, channels, rows, p, columns, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, layout.n_patches(), channels * p * p]);
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
        let class = x.clone().narrow(1, 0, 1);
        Tensor::cat(vec![class, each(registers), x.narrow(1, 1, layout.n_patches())], 1)
    }
}

/// Resizes positions to another grid by a product: the class token's stays as it is, the patches'
/// are multiplied by `matrix` `[n_patches, side * side]`.
fn resized(stored: Tensor<3>, matrix: Tensor<2>) -> Tensor<3> {
    let [_, n, _] = stored.dims();
    let patches = from_left(matrix, stored.clone().narrow(1, 1, n - 1));
    Tensor::cat(vec![stored.narrow(1, 0, 1), patches], 1)
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
