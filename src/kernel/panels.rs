//! Matrices in panels of 32 columns, and the two products of them that attention is made of.
//!
//! A panel's rows lie one after another, so that a tile of a product walks both operands with one
//! pointer each and no transposing copy. Sums run over ascending indices whatever the number of
//! threads, so that results do not depend on it.

use bytemuck::{Pod, Zeroable};
use pulp::Simd;

/// Number of columns of a panel.
pub(super) const WIDTH: usize = 32;

/// The number of rows is padded to a multiple of this: whole tiles of any instruction set, whole
/// panels of the transpose.
pub(super) const HEIGHT: usize = 96;

/// Number of vectors in a tile's row.
const VECTORS: usize = 2;

/// A row of a panel: whole cache lines.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(128))]
pub(super) struct Row(pub [f32; WIDTH]);

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
impl Row {
    #[inline(always)]
    pub(super) fn sum<S: Simd>(&self, simd: S) -> f32 {
        let vectors = S::as_simd_f32s(&self.0).0;
        let sum = vectors[1..].iter().fold(vectors[0], |sum, v| simd.add_f32s(sum, *v));
        simd.reduce_sum_f32s(sum)
    }

    #[inline(always)]
    pub(super) fn max<S: Simd>(&self, simd: S) -> f32 {
        let vectors = S::as_simd_f32s(&self.0).0;
        let max = vectors[1..].iter().fold(vectors[0], |max, v| simd.max_f32s(max, *v));
        simd.reduce_max_f32s(max)
    }
}

const ZERO: Row = Row([0.0; WIDTH]);

/// A matrix, padded by zeros to whole panels and to a multiple of [`HEIGHT`] rows.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    /// Number of rows, padded.
    rows: usize,
    data: Vec<Row>,
}

impl Panels {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        let rows = rows.next_multiple_of(HEIGHT);
        Self { rows, data: vec![ZERO; rows * columns.div_ceil(WIDTH)] }
    }

    /// Packs `values`, `[rows, columns]`, row-major.
    pub(super) fn pack(values: &[f32], columns: usize) -> Self {
        let mut out = Self::zeros(values.len() / columns, columns);
        for (i, panel) in out.data.chunks_exact_mut(out.rows).enumerate() {
            for (to, from) in panel.iter_mut().zip(values.chunks_exact(columns)) {
                let from = &from[i * WIDTH..columns.min((i + 1) * WIDTH)];
                to.0[..from.len()].copy_from_slice(from);
            }
        }
        out
    }

    /// Packs the transpose of `values`, which is `[rows, columns]`, row-major.
    pub(super) fn pack_transposed(values: &[f32], columns: usize) -> Self {
        let mut out = Self::zeros(columns, values.len() / columns);
        for (panel, from) in out.data.chunks_exact_mut(out.rows).zip(values.chunks(WIDTH * columns))
        {
            for (x, from) in from.chunks_exact(columns).enumerate() {
                for (to, value) in panel.iter_mut().zip(from) {
                    to.0[x] = *value;
                }
            }
        }
        out
    }

    /// Copies row `row` into `out`, one value a column.
    pub(super) fn unpack_row(&self, row: usize, out: &mut [f32]) {
        for (to, panel) in out.chunks_mut(WIDTH).zip(self.data.chunks_exact(self.rows)) {
            to.copy_from_slice(&panel[row].0[..to.len()]);
        }
    }

    /// The panels in order: all rows of the first 32 columns, and so on.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Row]> {
        self.data.chunks_exact(self.rows)
    }

    /// The panels in the order of [`Self::panels`], for writing.
    pub(super) fn panels_mut(&mut self) -> impl Iterator<Item = &mut [Row]> {
        self.data.chunks_exact_mut(self.rows)
    }
}

/// A range of a matrix's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub of: &'a Panels,
    /// First row, a multiple of [`HEIGHT`].
    pub first: usize,
    /// Number of rows; rounded up to whole tiles.
    pub n: usize,
}

/// Computes the first rows of `out` = `a b`.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn product<S: Simd>(simd: S, a: Rows<'_>, b: &Panels, out: &mut Panels) {
    if S::F32_LANES == 16 {
        product_tiled::<S, 12>(simd, a, b, out);
    } else {
        product_tiled::<S, 6>(simd, a, b, out);
    }
}

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn product_tiled<S: Simd, const TILE: usize>(simd: S, a: Rows<'_>, b: &Panels, out: &mut Panels) {
    let rows_out = out.rows;
    for (b, out) in b.panels().zip(out.data.chunks_exact_mut(rows_out)) {
        let (out, _) = out.as_chunks_mut::<TILE>();
        for (i, out) in out.iter_mut().enumerate().take(a.n.div_ceil(TILE)) {
            for part in 0..WIDTH / (VECTORS * S::F32_LANES) {
                let sums = tile::<S, TILE>(simd, a.of, a.first / TILE + i, (b, part));
                for (sums, row) in sums.iter().zip(&mut *out) {
                    let (row, _) = S::as_mut_simd_f32s(&mut row.0);
                    row[part * VECTORS..][..VECTORS].copy_from_slice(sums);
                }
            }
        }
    }
}

/// Computes rows `i * TILE ..` of `a` times part `part` of the columns of a panel of b.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn tile<S: Simd, const TILE: usize>(
    simd: S,
    a: &Panels,
    i: usize,
    (b, part): (&[Row], usize),
) -> [[S::f32s; VECTORS]; TILE] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TILE];
    let (b, _) = b.as_chunks::<WIDTH>();
    for (a, b) in a.panels().zip(b) {
        let a = &a.as_chunks::<TILE>().0[i];
        for (x, b) in b.iter().enumerate() {
            let b = &S::as_simd_f32s(&b.0).0[part * VECTORS..][..VECTORS];
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = simd.splat_f32s(a.0[x]);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.mul_add_e_f32s(a, *b, *sum);
                }
            }
        }
    }
    sums
}

/// Computes `out` += `aᵀ b`, over the first `b.n` rows of `a`.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn add_transposed<S: Simd>(simd: S, a: &Panels, b: Rows<'_>, out: &mut Panels) {
    if S::F32_LANES == 16 {
        add_transposed_tiled::<S, 8>(simd, a, b, out);
    } else {
        add_transposed_tiled::<S, 4>(simd, a, b, out);
    }
}

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn add_transposed_tiled<S: Simd, const TILE: usize>(
    simd: S,
    a: &Panels,
    b: Rows<'_>,
    out: &mut Panels,
) {
    let rows_out = out.rows;
    for (b_panel, out) in b.of.panels().zip(out.data.chunks_exact_mut(rows_out)) {
        let b_rows = &b_panel[b.first..][..b.n];
        // A panel of a has as many columns as a chunk of out has rows.
        for (a, out) in a.panels().zip(out.chunks_exact_mut(WIDTH)) {
            let (out, _) = out.as_chunks_mut::<TILE>();
            for (i, out) in out.iter_mut().enumerate() {
                for part in 0..WIDTH / (VECTORS * S::F32_LANES) {
                    let sums = tile_transposed::<S, TILE>(simd, (a, i), (b_rows, part));
                    for (sums, row) in sums.iter().zip(&mut *out) {
                        let row = S::as_mut_simd_f32s(&mut row.0).0;
                        for (to, sum) in row[part * VECTORS..][..VECTORS].iter_mut().zip(sums) {
                            *to = simd.add_f32s(*to, *sum);
                        }
                    }
                }
            }
        }
    }
}

/// Computes columns `i * TILE ..` of a panel of a, transposed, times part `part` of a panel of b.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn tile_transposed<S: Simd, const TILE: usize>(
    simd: S,
    (a, i): (&[Row], usize),
    (b, part): (&[Row], usize),
) -> [[S::f32s; VECTORS]; TILE] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TILE];
    for (a, b) in a.iter().zip(b) {
        let a = &a.0.as_chunks::<TILE>().0[i];
        let b = &S::as_simd_f32s(&b.0).0[part * VECTORS..][..VECTORS];
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = simd.splat_f32s(*a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = simd.mul_add_e_f32s(a, *b, *sum);
            }
        }
    }
    sums
}
