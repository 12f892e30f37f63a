//! The corruption snow: a layer of streaked flakes and a whitened picture.

use super::Severity;
use super::draw;
use super::motion::{Layer, Streak};
use super::zoom::{Axis, Picture};
use crate::data::Rgb;
use crate::rng::{ChaCha8Rng, uniform};

struct Level {
    /// Mean and standard deviation of the layer.
    mean: f64,
    sigma: f64,
    zoom: f64,
    /// Threshold below which the layer is cleared.
    threshold: f32,
    /// Radius and standard deviation of the streaks.
    streak: (u32, f64),
    /// Share of the picture that is not whitened.
    kept: f32,
}

const SNOW: [Level; 5] = [
    Level { mean: 0.1, sigma: 0.3, zoom: 3.0, threshold: 0.5, streak: (10, 4.0), kept: 0.8 },
    Level { mean: 0.2, sigma: 0.3, zoom: 2.0, threshold: 0.5, streak: (12, 4.0), kept: 0.7 },
    Level { mean: 0.55, sigma: 0.3, zoom: 4.0, threshold: 0.9, streak: (12, 8.0), kept: 0.7 },
    Level { mean: 0.55, sigma: 0.3, zoom: 4.5, threshold: 0.85, streak: (12, 8.0), kept: 0.65 },
    Level { mean: 0.55, sigma: 0.3, zoom: 2.5, threshold: 0.85, streak: (12, 12.0), kept: 0.55 },
];
/// Weights of red, green and blue in grey (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

const CHANNELS: usize = 3;

/// Whitens the picture and adds the layer twice, the second time turned by half a circle.
pub(super) fn snow(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    let level = &SNOW[severity.index()];
    let flakes = flakes((image.width as usize, image.height as usize), level, rng);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    let (source, _) = image.pixels.as_chunks::<CHANNELS>();
    for (pixel, (a, b)) in source.iter().zip(flakes.iter().zip(flakes.iter().rev())) {
        let pixel = pixel.map(|channel| f32::from(channel) / 255.0);
        let grey = pixel[0] * GREY[0] + pixel[1] * GREY[1] + pixel[2] * GREY[2];
        let white = grey * 1.5 + 0.5;
        let fallen = (f32::from(*a) + f32::from(*b)) / 255.0;
        pixels.extend(pixel.map(|channel| {
            let whitened = level.kept * channel + (1.0 - level.kept) * channel.max(white);
            ((whitened + fallen).min(1.0) * 255.0) as u8
        }));
    }
    Rgb { pixels, ..*image }
}

/// `[height, width]`
fn flakes((width, height): (usize, usize), level: &Level, rng: &mut ChaCha8Rng) -> Vec<u8> {
    // Only the middle of the reference's noise is magnified, so only that much is drawn.
    let (down, along) = (Axis::new(height, level.zoom), Axis::new(width, level.zoom));
    let (down, along) = (down.alone(), along.alone());
    let noise: Vec<f32> = draw::normals(rng, down.n_source * along.n_source)
        .into_iter()
        .map(|value| (level.mean + level.sigma * value) as f32)
        .collect();
    let size = (along.n_zoomed, down.n_zoomed);
    let picture = Picture { width: along.n_source, channels: 1, values: &noise };
    let mut layer = Layer {
        width: size.0,
        height: size.1,
        channels: 1,
        values: Vec::with_capacity(size.0 * size.1),
    };
    picture.zoom([&down, &along], size, |_, row| {
        let bright = |&value: &f32| if value < level.threshold { 0.0 } else { value.min(1.0) };
        layer.values.extend(row.iter().map(bright));
    });
    let streak = Streak::new(level.streak.0, level.streak.1, uniform(rng) * 90.0 - 135.0);
    let mut flakes = Vec::with_capacity(width * height);
    layer.smear(&streak, (width, height), |row| {
        flakes.extend(row.iter().map(|value| (value * 255.0).round_ties_even() as u8));
    });
    flakes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn black_is_whitened_to_grey_and_white_stays() {
        let severity = Severity::new(5).unwrap();
        let black = Rgb { width: 40, height: 30, pixels: vec![0; 3600] };
        let snowed = snow(&black, severity, &mut keyed(0, "snow", &[]));
        // (1 - 0.55) * 0.5 of 255
        assert_eq!(snowed.pixels.iter().min(), Some(&57));
        let white = Rgb { pixels: vec![255; 3600], ..black };
        assert_eq!(snow(&white, severity, &mut keyed(0, "snow", &[])), white);
    }

    #[test]
    fn the_layer_is_added_from_both_ends() {
        let black = Rgb { width: 41, height: 30, pixels: vec![0; 41 * 90] };
        let snowed = snow(&black, Severity::new(2).unwrap(), &mut keyed(0, "snow", &[]));
        let reversed: Vec<_> = snowed.pixels.iter().rev().copied().collect();
        assert_eq!(snowed.pixels, reversed);
    }
}
