//! AnyUp's encoding of positions, whose angles are learned.
//!
//! Channels are turned in pairs (i, i + dim / 2), as by RoPE, but each channel by an angle of its
//! own: it is no rotation unless the two angles are equal.

use crate::upsample::Map;

/// Replaces E by `E cos θ + rot(E) sin θ`, where θ = row · angles[0] + column · angles[1], rows and
/// columns run from 0 to 1, ends included, and rot(E) is (-second half, first half).
pub(super) fn rotate(map: &mut Map, angles: &[f32]) {
    let ([height, width], n) = (map.size(), map.channels());
    let step = |i: usize, n: usize| if n > 1 { i as f64 / (n - 1) as f64 } else { 0.0 };
    let (of_rows, of_columns) = angles.split_at(n);
    // cos(a + b) and sin(a + b) from tables of rows and columns.
    let columns: Vec<[f32; 2]> =
        of_columns.iter().flat_map(|w| (0..width).map(move |x| turn(step(x, width), *w))).collect();
    map.each_row(|y, row| {
        let old = row.to_vec();
        for (channel, line) in row.chunks_exact_mut(width).enumerate() {
            let [cos_y, sin_y] = turn(step(y, height), of_rows[channel]);
            let (partner, sign) =
                if channel < n / 2 { (channel + n / 2, -1.0) } else { (channel - n / 2, 1.0) };
            let partner = &old[partner * width..][..width];
            let columns = &columns[channel * width..][..width];
            for ((value, partner), [cos_x, sin_x]) in line.iter_mut().zip(partner).zip(columns) {
                let cos = cos_y * cos_x - sin_y * sin_x;
                let sin = sin_y * cos_x + cos_y * sin_x;
                *value = *value * cos + sign * partner * sin;
            }
        }
    });
}

/// Cosine and sine of a position's angle.
fn turn(position: f64, angle: f32) -> [f32; 2] {
    let (sin, cos) = (position * f64::from(angle)).sin_cos();
    [cos as f32, sin as f32]
}
