//! Training or evaluation, as a network's forward pass is told.

use crate::kernel::dropout::Draw;

/// Whether dropout and BatchNorm behave as in training. The encoder proper is in eval mode always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// BatchNorm uses and gathers the batch's statistics; dropout draws by the key.
    Train(Draw),
    /// BatchNorm uses the running statistics; nothing is dropped.
    Eval,
}
