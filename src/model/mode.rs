//! The mode of a network's forward pass: training or evaluation.

use crate::kernel::dropout::Draw;

/// The behaviour of dropout and BatchNorm in a forward pass. The encoder proper is in eval mode
/// always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Training: BatchNorm uses and gathers the batch's statistics; dropout draws by the key.
    Train(Draw),
    /// Evaluation: BatchNorm uses the running statistics; nothing is dropped.
    Eval,
}
