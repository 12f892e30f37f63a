//! The corruption zoom blur: the mean of many magnifications of the middle of a picture.
//!
//! `scipy.ndimage.zoom` of order 1 puts the first and last pixels of both pictures upon each
//! other. The reference rounds each axis on its own and crops at the top left, so its zoom drifts.

use super::Severity;
use crate::data::Rgb;

/// The end of the zoom, and its step, by level.
const ZOOM: [(f64, f64); 5] =
    [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)];

const CHANNELS: usize = 3;

/// The mean of the picture and of its zooms (the first of which is the picture again).
pub(super) fn zoom_blur(image: &Rgb, severity: Severity) -> Rgb {
    let factors = factors(severity.of(&ZOOM));
    let (width, height) = (image.width as usize, image.height as usize);
    let units: [f32; 256] = std::array::from_fn(|level| (level as f64 / 255.0) as f32);
    let source: Vec<f32> = image.pixels.iter().map(|&level| units[usize::from(level)]).collect();
    let picture = Picture { width, channels: CHANNELS, values: &source };
    let mut total = vec![0.0f32; source.len()];
    for &factor in &factors {
        let (down, along) = (Axis::new(height, factor), Axis::new(width, factor));
        picture.zoom([&down, &along], (width, height), |y, row| {
            let total = &mut total[y * width * CHANNELS..][..row.len()];
            for (sum, value) in total.iter_mut().zip(row) {
                *sum += value;
            }
        });
    }
    let n = (factors.len() + 1) as f32;
    let pixels =
        source.iter().zip(&total).map(|(value, sum)| (((value + sum) / n).min(1.0) * 255.0) as u8);
    Rgb { pixels: pixels.collect(), ..*image }
}

/// The values of `numpy.arange(1, end, step)`, as many and rounded the same.
pub(super) fn factors((end, step): (f64, f64)) -> Vec<f64> {
    let n = ((end - 1.0) / step).ceil() as u32;
    let delta = (1.0 + step) - 1.0;
    (0..n).map(|i| 1.0 + f64::from(i) * delta).collect()
}

/// One axis of a zoom: which part of the picture becomes how many pixels.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// First pixel of the part.
    first: usize,
    /// Pixels of the part.
    pub(super) n_source: usize,
    /// Pixels it becomes.
    pub(super) n_zoomed: usize,
    align: Align,
}

/// The alignment of pixels before and after the zoom.
#[derive(Debug, Clone, Copy)]
enum Align {
    /// The middles of the first pixels, and of the last: scipy.
    Middles,
    /// The borders, as `OpenCV` has it; so many zoomed pixels are skipped at the start.
    Borders { skipped: usize },
}

/// Rows of interleaved channels.
pub(super) struct Picture<'a> {
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) values: &'a [f32],
}

/// A place between two pixels.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index of the pixel before it, and of the one after.
    pixels: [usize; 2],
    /// Share of the one after.
    share: f32,
}

impl Axis {
    /// The middle `1 / factor` of `side` pixels.
    pub(super) fn new(side: usize, factor: f64) -> Self {
        let n_source = (side as f64 / factor).ceil() as usize;
        let n_zoomed = (n_source as f64 * factor).round_ties_even() as usize;
        Self { first: (side - n_source) / 2, n_source, n_zoomed, align: Align::Middles }
    }

    /// The same by `OpenCV`'s rules, the middle of the zoomed pixels taken.
    pub(super) fn opencv(side: usize, factor: f64) -> Self {
        let n_source = (side as f64 / factor).ceil() as usize;
        let n_zoomed = ((n_source as f64 * factor) as usize).max(side);
        let align = Align::Borders { skipped: (n_zoomed - side) / 2 };
        Self { first: (side - n_source) / 2, n_source, n_zoomed, align }
    }

    /// The same zoom of a picture that is the part alone.
    pub(super) fn alone(&self) -> Self {
        Self { first: 0, ..*self }
    }

    /// The places of the first `n` zoomed pixels in the whole picture.
    fn places(&self, n: usize) -> Vec<Place> {
        let last = (self.n_source - 1) as f64;
        let last_zoomed = (self.n_zoomed.max(2) - 1) as f64;
        let zoomed_to_source = |i: f64| match self.align {
            Align::Middles => i * (last / last_zoomed),
            Align::Borders { skipped } => {
                let scale = self.n_source as f64 / self.n_zoomed as f64;
                (i + skipped as f64 + 0.5) * scale - 0.5
            }
        };
        (0..n)
            .map(|i| {
                let at = zoomed_to_source(i as f64).clamp(0.0, last);
                let before = at as usize;
                let pixels = [before, (before + 1).min(self.n_source - 1)];
                Place { pixels: pixels.map(|i| i + self.first), share: (at - before as f64) as f32 }
            })
            .collect()
    }
}

impl Picture<'_> {
    /// Hands the rows of the zoomed picture's upper left part of `size` (width, height) to `sink`,
    /// with their index. `axes`: down, along.
    pub(super) fn zoom(
        &self,
        [down, along]: [&Axis; 2],
        (width, height): (usize, usize),
        mut sink: impl FnMut(usize, &[f32]),
    ) {
        let places = along.places(width);
        let n = width * self.channels;
        // Rows of the picture, zoomed along themselves.
        let mut rows = [vec![0.0; n], vec![0.0; n]];
        let mut known = [usize::MAX; 2];
        let mut out = vec![0.0; n];
        for (y, place) in down.places(height).into_iter().enumerate() {
            if known[1] == place.pixels[0] {
                rows.swap(0, 1);
                known.swap(0, 1);
            }
            for i in 0..2 {
                if known[i] != place.pixels[i] {
                    self.zoom_row(place.pixels[i], &places, &mut rows[i]);
                    known[i] = place.pixels[i];
                }
            }
            let [above, below] = &rows;
            for (out, (above, below)) in out.iter_mut().zip(above.iter().zip(below)) {
                *out = above + place.share * (below - above);
            }
            sink(y, &out);
        }
    }

    fn zoom_row(&self, y: usize, places: &[Place], out: &mut [f32]) {
        let row = &self.values[y * self.width * self.channels..][..self.width * self.channels];
        match self.channels {
            CHANNELS => {
                let (row, _) = row.as_chunks::<CHANNELS>();
                for (out, place) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(places) {
                    let (a, b) = (row[place.pixels[0]], row[place.pixels[1]]);
                    *out = [0, 1, 2].map(|c| a[c] + place.share * (b[c] - a[c]));
                }
            }
            channels => {
                for (out, place) in out.chunks_exact_mut(channels).zip(places) {
                    for (c, out) in out.iter_mut().enumerate() {
                        let [a, b] = place.pixels.map(|x| row[x * channels + c]);
                        *out = a + place.share * (b - a);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_numpy() {
        let counts = ZOOM.map(|level| factors(level).len());
        assert_eq!(counts, [12, 16, 11, 13, 11]);
        let last = factors(ZOOM[4])[10];
        assert!((last - 1.3).abs() < 1e-12);
    }

    #[test]
    fn an_axis_is_rounded_as_the_reference_rounds_it() {
        let axis = Axis::new(375, 1.3);
        // 375 / 1.3 = 288.5 becomes 289; 289 * 1.3 = 375.7 becomes 376.
        assert_eq!((axis.first, axis.n_source, axis.n_zoomed), (43, 289, 376));
        let places = axis.places(375);
        assert_eq!(places[0].pixels, [43, 44]);
        assert!(places[374].pixels[1] <= 43 + 288);
    }

    #[test]
    fn zooming_by_one_changes_nothing() {
        let values: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32).collect();
        let picture = Picture { width: 5, channels: 3, values: &values };
        let mut out = Vec::new();
        let axes = [&Axis::new(4, 1.0), &Axis::new(5, 1.0)];
        picture.zoom(axes, (5, 4), |_, row| out.extend_from_slice(row));
        assert_eq!(out, values);
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for severity in Severity::ALL {
            let image = Rgb { width: 23, height: 31, pixels: vec![255; 23 * 31 * 3] };
            assert!(zoom_blur(&image, severity).pixels.iter().all(|&level| level >= 254));
        }
    }
}
