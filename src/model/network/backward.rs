//! The backward pass, with or without the blocks' activations kept.
//!
//! Recomputing is gradient checkpointing (Chen et al. 2016, arXiv:1604.06174) with one segment a
//! block: the forward pass keeps what goes into each block and builds no graph; then, from the last
//! block to the first, a block runs once more with a graph of its own, through which the gradient
//! of its output goes back to its input. Every value is computed by the same operations in the same
//! order, so that on the CPU the gradients have the same bits.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::Network;
use crate::model::mode::Mode;
use crate::model::params::{Params, is_buffer};
use crate::model::vit::{Encoder, FinalNorm, Layout};

/// The choice of what a step keeps of the encoder's blocks for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// All that the gradients need.
    Keep,
    /// What goes into each block; the rest is computed again. Less memory, a forward pass more.
    Recompute,
}

impl Network {
    /// The mean loss `[1]` of normalised images `[batch, 3, h, w]` with labels
    /// `[batch, height, width]`, and the gradients of all that is trained: each is the sum of
    /// those in the parts, in their order.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn backward(
        &mut self,
        (images, labels): (Tensor<4>, Tensor<3, Int>),
        mode: Mode,
        activations: Activations,
    ) -> (Tensor<1>, Vec<Gradients>) {
        match activations {
            Activations::Keep => {
                let output = self.forward(images, mode);
                let loss = self.loss(output, labels);
                let gradients = loss.backward();
                (loss.inner(), vec![gradients])
            }
            Activations::Recompute => self.backward_again((images, labels), mode),
        }
    }

    fn backward_again(
        &mut self,
        (images, labels): (Tensor<4>, Tensor<3, Int>),
        mode: Mode,
    ) -> (Tensor<1>, Vec<Gradients>) {
        let layout = self.layout(&images);
        let kept = Kept::of(&self.encoder, (&layout, images), &self.layers, mode);
        let norm = |read: &Tensor<3>| self.encoder.normed(read, FinalNorm::Applied);
        let normed: Vec<_> = kept.read.iter().map(|read| tracked(&norm(read).inner())).collect();
        let output = self.decoder.forward(&self.encoder.split(&layout, &normed), mode);
        let loss = self.loss(output, labels);
        let mut gradients = loss.backward();
        let of_normed: Vec<_> = normed.iter().map(|x| x.grad_remove(&mut gradients)).collect();
        let mut parts = vec![gradients];
        let mut of_read = BTreeMap::new();
        // From the last to the first, as the graph of the whole network has it.
        for ((layer, read), gradient) in self.layers.iter().zip(&kept.read).zip(of_normed).rev() {
            let read = tracked(read);
            let gradient = gradient.expect("the decoder depends on what it reads");
            let mut part = send_back(&[(norm(&read), gradient)]);
            of_read.insert(*layer, read.grad_remove(&mut part).expect("it is tracked"));
            parts.push(part);
        }
        parts.extend(kept.through_blocks(&self.encoder, &layout, &of_read, mode));
        (loss.inner(), parts)
    }
}

/// What a forward pass without a graph leaves for the backward pass.
struct Kept {
    images: Tensor<4>,
    /// The tokens that go into each block, `[batch, n_tokens, dim]`, as far as the decoder reads.
    inputs: Vec<Tensor<3>>,
    /// The tokens that the decoder reads, in the order of its layers.
    read: Vec<Tensor<3>>,
}

impl Kept {
    fn of(
        encoder: &Encoder,
        (layout, images): (&Layout, Tensor<4>),
        layers: &[usize],
        mode: Mode,
    ) -> Self {
        let mut constant = encoder.clone();
        constant.freeze();
        let mut x = constant.tokens(layout, images.clone());
        let (mut inputs, mut read) = (vec![], vec![]);
        let n_blocks = layers.iter().max().map_or(0, |layer| layer + 1);
        for i in 0..n_blocks {
            inputs.push(x.clone());
            x = constant.block(layout, i, x, mode);
            if layers.contains(&i) {
                read.push(x.clone());
            }
        }
        Self { images, inputs, read }
    }

    /// Takes the gradients of what the decoder read back through the blocks, down to the first
    /// tensor that is trained. `of_read` has those of the outputs of
    /// blocks, where they were read.
    fn through_blocks(
        self,
        encoder: &Encoder,
        layout: &Layout,
        of_read: &BTreeMap<usize, Tensor<3>>,
        mode: Mode,
    ) -> Vec<Gradients> {
        let mut parts = vec![];
        let Some(lowest) = lowest_trained(encoder) else { return parts };
        let last = self.inputs.len() - 1;
        let mut gradient = of_read[&last].clone();
        for (i, input) in self.inputs.into_iter().enumerate().rev() {
            if lowest > Stage::Block(i) {
                return parts;
            }
            if lowest == Stage::Block(i) {
                parts.push(send_back(&[(encoder.block(layout, i, input, mode), gradient)]));
                return parts;
            }
            let input = tracked(&input);
            let output = encoder.block(layout, i, input.clone(), mode);
            // In one graph, so that the gradients of the input are added up in the order in which
            // the graph of the whole network does it.
            let read = i.checked_sub(1).and_then(|below| of_read.get(&below));
            let read = read.map(|read| (input.clone(), read.clone()));
            let ends: Vec<_> = [(output, gradient)].into_iter().chain(read).collect();
            let mut part = send_back(&ends);
            gradient = input.grad_remove(&mut part).expect("a block depends on its input");
            parts.push(part);
        }
        parts.push(send_back(&[(encoder.tokens(layout, self.images), gradient)]));
        parts
    }
}

/// The parts of an encoder in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Embedding,
    Block(usize),
}

/// The first stage that has something to train; the final norm, which comes after all of them,
/// has no stage.
fn lowest_trained(encoder: &Encoder) -> Option<Stage> {
    let mut lowest: Option<Stage> = None;
    encoder.clone().each("", &mut |name, slot| {
        if is_buffer(name) || !slot.is_trained() || name.starts_with("norm.") {
            return;
        }
        let block = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next());
        let stage = block.map_or(Stage::Embedding, |index| {
            Stage::Block(index.parse().expect("blocks are named by their index"))
        });
        lowest = Some(lowest.map_or(stage, |lowest| lowest.min(stage)));
    });
    lowest
}

/// A copy that starts a graph of its own and gets a gradient.
fn tracked<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().autodiff().require_grad()
}

/// Runs the backward pass of several outputs, each given with its gradient.
fn send_back(ends: &[(Tensor<3>, Tensor<3>)]) -> Gradients {
    // The gradient of such a sum is the one given, multiplied by one.
    let sums = ends.iter().map(|(output, gradient)| (output.clone() * gradient.clone()).sum());
    sums.reduce(|a, b| a + b).expect("there is an output").backward()
}

#[cfg(test)]
mod tests;
