//! The patches that a pixel attends to: NATTEN's dilated windows (Hassani & Shi 2022,
//! arXiv:2209.15001), of keys that were enlarged to the output by repeating them.

/// The patches, with repetitions, in the window of each pixel of an axis of `n_high` pixels and
/// `n_low` patches.
///
/// Pixels of one remainder by the dilation make a grid of their own, on which a window of `kernel`
/// lies around the pixel, shifted inside at the ends. At a whole ratio these are the patches around
/// the pixel's own.
pub(super) fn windows(n_high: usize, n_low: usize, kernel: usize) -> Vec<Vec<usize>> {
    let dilation = n_high / n_low;
    // PyTorch's nearest-exact, whose scale is f32.
    let scale = n_low as f32 / n_high as f32;
    let patch = |at: usize| (((at as f32 + 0.5) * scale).floor() as usize).min(n_low - 1);
    (0..n_high)
        .map(|i| {
            let (remainder, place) = (i % dilation, i / dilation);
            let n = (n_high - remainder).div_ceil(dilation);
            let start = place.saturating_sub(kernel / 2).min(n - kernel);
            (start..start + kernel).map(|place| patch(remainder + dilation * place)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_ratios_give_the_patches_around() {
        let windows = windows(20, 5, 3);
        assert_eq!(windows[0], [0, 1, 2]);
        assert_eq!(windows[8..12], [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]);
        assert_eq!(windows[19], [2, 3, 4]);
    }
}
