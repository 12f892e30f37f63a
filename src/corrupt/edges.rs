//! Finds outlines and distances from them, as `OpenCV`'s `Canny` and `distanceTransform` do.

/// One channel, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grey {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) levels: Vec<u8>,
}

/// Whether each pixel is on an outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    width: usize,
    height: usize,
    is_on: Vec<bool>,
}

/// tan(22.5 degrees), with this many fractional bits.
const TAN_22: i64 = 13573;
const TAN_BITS: u32 = 15;
/// Lengths of a step, of a diagonal one, and of a knight's move, in 65536ths.
const STEPS: [u32; 3] = [65_536, 91_750, 143_976];
const STEP_UNIT: f32 = 65_536.0;
/// A distance above that of any pixel to an outline.
const FAR: u32 = u32::MAX >> 2;

/// Slope of a pixel to the right and down, and the sum of their sizes.
#[derive(Debug, Clone, Copy, Default)]
struct Slope {
    right: i32,
    down: i32,
    size: i32,
}

/// Outlines: 3x3 Sobel slopes with the L1 norm, thinned, from `low` on where linked with more than
/// `high`.
pub(super) fn canny(grey: &Grey, (low, high): (i32, i32)) -> Outline {
    let (width, height) = (grey.width, grey.height);
    let slopes = slopes(grey);
    // A margin of one pixel without slope saves the border's cases.
    let stride = width + 2;
    let mut is_candidate = vec![false; slopes.len()];
    let mut is_on = vec![false; slopes.len()];
    let mut open = Vec::new();
    for y in 1..=height {
        for x in 1..=width {
            let at = y * stride + x;
            if slopes[at].size <= low || !is_ridge(&slopes, at, stride) {
                continue;
            }
            is_candidate[at] = true;
            if slopes[at].size > high {
                is_on[at] = true;
                open.push(at);
            }
        }
    }
    while let Some(at) = open.pop() {
        for from in [at - stride - 1, at - 1, at + stride - 1] {
            for near in from..from + 3 {
                if is_candidate[near] && !is_on[near] {
                    is_on[near] = true;
                    open.push(near);
                }
            }
        }
    }
    let inner = (1..=height).flat_map(|y| is_on[y * stride + 1..][..width].iter().copied());
    Outline { width, height, is_on: inner.collect() }
}

/// `[height + 2, width + 2]`, the margin zero; border pixels go on beyond the border.
fn slopes(grey: &Grey) -> Vec<Slope> {
    let (width, height) = (grey.width, grey.height);
    let mut slopes = vec![Slope::default(); (width + 2) * (height + 2)];
    for y in 0..height {
        let row = |y: usize| &grey.levels[y * width..][..width];
        let rows = [row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1))];
        let out = &mut slopes[(y + 1) * (width + 2) + 1..][..width];
        for (x, out) in out.iter_mut().enumerate() {
            let (before, after) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let [above, here, below] = rows.map(|row| {
                let [a, b, c] = [row[before], row[x], row[after]].map(i32::from);
                (c - a, a + 2 * b + c)
            });
            let right = above.0 + 2 * here.0 + below.0;
            let down = below.1 - above.1;
            *out = Slope { right, down, size: right.abs() + down.abs() };
        }
    }
    slopes
}

/// Whether the slope is steepest across the outline, in one of four directions.
fn is_ridge(slopes: &[Slope], at: usize, stride: usize) -> bool {
    let Slope { right, down, size } = slopes[at];
    let x = i64::from(right.abs());
    let y = i64::from(down.abs()) << TAN_BITS;
    let flat = x * TAN_22;
    if y < flat {
        return size > slopes[at - 1].size && size >= slopes[at + 1].size;
    }
    if y > flat + (x << (TAN_BITS + 1)) {
        return size > slopes[at - stride].size && size >= slopes[at + stride].size;
    }
    let (above, below) = if (right ^ down) < 0 {
        (at - stride + 1, at + stride - 1)
    } else {
        (at - stride - 1, at + stride + 1)
    };
    size > slopes[above].size && size > slopes[below].size
}

/// The distance from each pixel to the outline, in pixels, by the 5x5 chamfer of Borgefors (1986).
pub(super) fn distances(outline: &Outline) -> Vec<f32> {
    let (width, height) = (outline.width, outline.height);
    let mut map = Chamfer { stride: width + 4, distances: vec![FAR; (width + 4) * (height + 4)] };
    for y in 0..height {
        for x in 0..width {
            if outline.is_on[y * width + x] {
                let at = map.at(x, y);
                map.distances[at] = 0;
            }
        }
    }
    for y in 0..height {
        for x in 0..width {
            map.relax(x, y, -1);
        }
    }
    for y in (0..height).rev() {
        for x in (0..width).rev() {
            map.relax(x, y, 1);
        }
    }
    let inner = (0..height).flat_map(|y| &map.distances[map.at(0, y)..][..width]);
    inner.map(|&distance| distance as f32 / STEP_UNIT).collect()
}

/// Distances with a margin of two pixels.
struct Chamfer {
    stride: usize,
    distances: Vec<u32>,
}

impl Chamfer {
    fn at(&self, x: usize, y: usize) -> usize {
        (y + 2) * self.stride + x + 2
    }

    /// Updates distances by way of the pixels visited before: above and to the left with
    /// `sign` -1, below and to the right with 1.
    fn relax(&mut self, x: usize, y: usize, sign: isize) {
        let at = self.at(x, y);
        let down = self.stride.cast_signed();
        let [step, diagonal, knight] = STEPS;
        let ways = [
            (1, step),
            (down, step),
            (down - 1, diagonal),
            (down + 1, diagonal),
            (down - 2, knight),
            (down + 2, knight),
            (2 * down - 1, knight),
            (2 * down + 1, knight),
        ];
        for (offset, length) in ways {
            let over = self.distances[at.wrapping_add_signed(sign * offset)] + length;
            self.distances[at] = self.distances[at].min(over);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright square in the dark.
    fn square() -> Grey {
        let inside = |at: usize| (4..9).contains(&(at % 14)) && (3..8).contains(&(at / 14));
        let levels = (0..14 * 12).map(|at| if inside(at) { 200 } else { 0 }).collect();
        Grey { width: 14, height: 12, levels }
    }

    #[test]
    fn a_square_has_a_thin_outline() {
        let outline = canny(&square(), (50, 150));
        let n_on = outline.is_on.iter().filter(|&&on| on).count();
        assert!((12..=24).contains(&n_on), "{n_on}");
        assert!(!outline.is_on[5 * 14 + 6], "the middle is no outline");
        let flat = Grey { levels: vec![200; 14 * 12], ..square() };
        assert!(canny(&flat, (50, 150)).is_on.iter().all(|&on| !on));
    }

    #[test]
    fn distances_are_those_of_the_chamfer() {
        let mut is_on = vec![false; 63];
        is_on[3 * 9 + 4] = true;
        let distances = distances(&Outline { width: 9, height: 7, is_on });
        let at = |x: usize, y: usize| distances[y * 9 + x];
        assert!((at(4, 3) - 0.0).abs() < 1e-6);
        assert!((at(0, 3) - 4.0).abs() < 1e-6);
        assert!((at(5, 4) - 1.4).abs() < 1e-4);
        assert!((at(6, 4) - 2.1969).abs() < 1e-4);
        assert!((at(8, 6) - (1.4 + 2.1969 + 1.0)).abs() < 0.7);
    }

    #[test]
    fn without_an_outline_everything_is_far() {
        let none = Outline { width: 5, height: 4, is_on: vec![false; 20] };
        assert!(distances(&none).iter().all(|&distance| distance > 1000.0));
    }
}
