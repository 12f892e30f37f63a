//! Adaptive average pooling, to fewer cells or to more, as `F.adaptive_avg_pool2d`.

use std::ops::Range;

use crate::upsample::Map;

/// The inputs that each output averages, on one axis; where there are more outputs than inputs they
/// repeat.
pub(in crate::upsample) fn windows(n_in: usize, n_out: usize) -> Vec<Range<usize>> {
    (0..n_out).map(|i| i * n_in / n_out..((i + 1) * n_in).div_ceil(n_out)).collect()
}

/// Pools `map` to `size`.
pub(in crate::upsample) fn pooled(map: &Map, size: [usize; 2]) -> Map {
    let rows = windows(map.height(), size[0]);
    let mut out = Map::zeros(map.channels(), size);
    out.each_row(|y, out| {
        out.copy_from_slice(&pooled_row(rows[y].clone().map(|y| map.row(y)), map.width(), size[1]));
    });
    out
}

/// Pools rows `[channels, width]` to one of `width_out` columns.
pub(in crate::upsample) fn pooled_row<R: AsRef<[f32]>>(
    rows: impl Iterator<Item = R>,
    width: usize,
    width_out: usize,
) -> Vec<f32> {
    let (mut sums, mut n_rows) = (Vec::new(), 0);
    for row in rows {
        let row = row.as_ref();
        n_rows += 1;
        if sums.is_empty() {
            sums = row.to_vec();
        } else {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
    let columns = windows(width, width_out);
    let lines = sums.chunks_exact(width);
    lines
        .flat_map(|line| {
            columns.iter().map(move |window| {
                let n = n_rows * window.len();
                line[window.clone()].iter().sum::<f32>() / n as f32
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_inputs_and_repeat_where_there_are_more_outputs() {
        assert_eq!(windows(4, 2), [0..2, 2..4]);
        assert_eq!(windows(5, 3), [0..2, 1..4, 3..5]);
        assert_eq!(windows(2, 3), [0..1, 0..2, 1..2]);
    }

    #[test]
    fn cells_are_means_of_their_windows() {
        let map = Map::from_planes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1, [2, 3]);
        assert_eq!(pooled(&map, [1, 3]).to_planes(), [2.5, 3.5, 4.5]);
        assert_eq!(pooled(&map, [2, 2]).to_planes(), [1.5, 2.5, 4.5, 5.5]);
        assert_eq!(pooled(&map, [3, 1]).to_planes(), [2.0, 3.5, 5.0]);
    }
}
