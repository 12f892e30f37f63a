//! The patches that a pixel attends to: those that overlap a tenth of the image around it.

const RADIUS: f32 = 0.1;

/// The patches, of `n_low`, in the window of each of `n_high` pixels of an axis.
///
/// Computed in f32 in the original's order: where an edge falls on that of a patch, rounding decides.
pub(super) fn windows(n_high: usize, n_low: usize) -> Vec<Vec<usize>> {
    let low = n_low as f32;
    (0..n_high)
        .map(|i| {
            let at = (i as f32 + 0.5) / n_high as f32;
            let start = ((at - RADIUS).clamp(0.0, 1.0) * low).floor() as usize;
            let end = ((at + RADIUS).clamp(0.0, 1.0) * low).ceil() as usize;
            (start..end).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (pixels, patches, first patch of each pixel, end of its patches), by the original code.
    /// (35, 5) and (40, 16) have edges on those of patches.
    type Row = (usize, usize, &'static [usize], &'static [usize]);
    const TABLE: &[Row] = &[
        (
            24,
            6,
            &[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5],
            &[1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6],
        ),
        (
            35,
            5,
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                3, 3, 3, 3, 4, 4, 4,
            ],
            &[
                1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5,
                5, 5, 5, 5, 5, 5, 5,
            ],
        ),
        (
            49,
            7,
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3,
                3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 6, 6,
            ],
            &[
                1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5,
                5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            ],
        ),
        (
            40,
            16,
            &[
                0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9,
                9, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14,
            ],
            &[
                2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12,
                12, 13, 13, 13, 14, 14, 15, 15, 15, 16, 16, 16, 16, 16, 16,
            ],
        ),
        (
            21,
            4,
            &[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3],
            &[1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4],
        ),
        (
            13,
            30,
            &[0, 0, 2, 5, 7, 9, 12, 14, 16, 18, 21, 23, 25],
            &[5, 7, 9, 12, 14, 16, 18, 21, 23, 25, 28, 30, 30],
        ),
    ];

    #[test]
    fn windows_are_the_original_codes_with_its_roundings() {
        for (n_high, n_low, starts, ends) in TABLE {
            let expect: Vec<Vec<usize>> =
                starts.iter().zip(*ends).map(|(start, end)| (*start..*end).collect()).collect();
            assert_eq!(windows(*n_high, *n_low), expect, "{n_high} {n_low}");
        }
    }
}
