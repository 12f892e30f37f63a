//! Rotary positions on two axes, as DINOv3's (Su et al. 2021, arXiv:2104.09864), without the random
//! scale that is used in training.

use crate::upsample::Tensors;

pub(super) struct Rope {
    /// Channels of a head.
    per_head: usize,
    /// Angles a unit of position, a quarter as many as channels.
    frequencies: Vec<f64>,
}

impl Rope {
    pub(super) fn take(tensors: &mut Tensors, name: &str, per_head: usize) -> Self {
        let periods = tensors.take(&format!("{name}.periods"), &[per_head / 4]);
        let frequency = |period: &f32| std::f64::consts::TAU / f64::from(*period);
        Self { per_head, frequencies: periods.iter().map(frequency).collect() }
    }

    /// Cosines and sines of an axis' position `i` of `n`, which run from -1 to 1.
    fn angles(&self, i: usize, n: usize) -> impl Iterator<Item = [f32; 2]> {
        let position = (2 * i + 1) as f64 / n as f64 - 1.0;
        self.frequencies.iter().map(move |frequency| {
            let (sin, cos) = (position * frequency).sin_cos();
            [cos as f32, sin as f32]
        })
    }

    /// The table of all columns, `[frequencies, width]`.
    pub(super) fn columns(&self, width: usize) -> Vec<[f32; 2]> {
        let mut table = vec![[0.0; 2]; self.frequencies.len() * width];
        for x in 0..width {
            for (i, turn) in self.angles(x, width).enumerate() {
                table[i * width + x] = turn;
            }
        }
        table
    }

    /// Turns row `y` of `height`, `[heads * per_head, width]`: of each head's channels (i, i + half)
    /// are a pair; the first half of the pairs turn by the row, the second by the column.
    pub(super) fn turn(&self, row: &mut [f32], y: usize, height: usize, columns: &[[f32; 2]]) {
        let n = self.frequencies.len();
        let width = columns.len() / n;
        let rows: Vec<[f32; 2]> = self.angles(y, height).collect();
        for head in row.chunks_exact_mut(self.per_head * width) {
            let (first, second) = head.split_at_mut(self.per_head / 2 * width);
            let pairs = first.chunks_exact_mut(width).zip(second.chunks_exact_mut(width));
            for (i, (first, second)) in pairs.enumerate() {
                let at = |x: usize| if i < n { rows[i] } else { columns[(i - n) * width + x] };
                for (x, (a, b)) in first.iter_mut().zip(second).enumerate() {
                    let [cos, sin] = at(x);
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}
