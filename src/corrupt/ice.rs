//! Draws ice for frost where the photographs are not available: ferns of crystals on a cloudy
//! pane, as bright, as contrasty and as blue as the photographs are on average.

use super::weather;
use crate::data::Rgb;
use crate::rng::{ChaCha8Rng, keyed, uniform};

/// Raised when the drawing changes: part of every score's identity.
pub(super) const VERSION: u32 = 1;

const WIDTH: usize = 720;
const HEIGHT: usize = 540;
/// Side of the fractal behind the crystals, in pixels.
const CLOUD_SIDE: usize = 1024;
const N_FERNS: usize = 260;
/// Depth to which branches branch.
const GENERATIONS: u32 = 2;

struct Look {
    /// Of red, green and blue.
    mean: [f32; 3],
    std: [f32; 3],
    /// The factor by which the cloud fades from scale to scale.
    decay: f32,
    /// Length of the longest branches in pixels.
    length: f64,
}

/// As many as there are photographs.
pub(super) const N_TEXTURES: usize = 5;

/// Means and spreads are those of the five photographs, rounded.
const LOOKS: [Look; N_TEXTURES] = [
    Look { mean: [78.0, 149.0, 166.0], std: [27.0, 16.0, 15.0], decay: 1.8, length: 150.0 },
    Look { mean: [201.0, 205.0, 214.0], std: [21.0, 22.0, 23.0], decay: 1.5, length: 90.0 },
    Look { mean: [201.0, 205.0, 214.0], std: [21.0, 22.0, 23.0], decay: 1.6, length: 120.0 },
    Look { mean: [138.0, 153.0, 165.0], std: [28.0, 28.0, 30.0], decay: 1.7, length: 70.0 },
    Look { mean: [112.0, 123.0, 135.0], std: [44.0, 43.0, 42.0], decay: 2.0, length: 180.0 },
];

/// The `index`th texture, always the same.
pub(super) fn texture(index: usize) -> Rgb {
    let look = &LOOKS[index];
    let mut rng = keyed(u64::from(VERSION), "ice", &[index as u64]);
    let cloud = weather::plasma(CLOUD_SIDE, look.decay, &mut rng);
    let mut pane = Pane { light: vec![0.0; WIDTH * HEIGHT] };
    for _ in 0..N_FERNS {
        let root = [uniform(&mut rng) * WIDTH as f64, uniform(&mut rng) * HEIGHT as f64];
        let branch = Branch {
            root,
            angle: uniform(&mut rng) * std::f64::consts::TAU,
            length: look.length * (0.3 + 0.7 * uniform(&mut rng)),
            light: 0.4 + 0.6 * uniform(&mut rng) as f32,
        };
        pane.grow(&branch, GENERATIONS, &mut rng);
    }
    let grain = (0..WIDTH * HEIGHT).map(|_| uniform(&mut rng) as f32 - 0.5);
    let mixed: Vec<f32> = grain
        .zip(&pane.light)
        .enumerate()
        .map(|(at, (grain, light))| {
            let cloud = cloud[at / WIDTH * CLOUD_SIDE + at % WIDTH];
            1.4 * cloud + light + 0.25 * grain
        })
        .collect();
    coloured(&mixed, look)
}

/// Shifts and scales `light` to the look's mean and spread.
fn coloured(light: &[f32], look: &Look) -> Rgb {
    let n = light.len() as f32;
    let mean = light.iter().sum::<f32>() / n;
    let std = (light.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt();
    let pixels = light.iter().flat_map(|x| {
        let z = (x - mean) / std;
        [0, 1, 2].map(|c| (look.mean[c] + look.std[c] * z) as u8)
    });
    Rgb { width: WIDTH as u32, height: HEIGHT as u32, pixels: pixels.collect() }
}

/// The light that crystals reflect.
struct Pane {
    light: Vec<f32>,
}

#[derive(Debug, Clone, Copy)]
struct Branch {
    root: [f64; 2],
    /// In radians.
    angle: f64,
    length: f64,
    light: f32,
}

impl Pane {
    /// A branch with branches at 60 degrees on both sides, shorter towards the tip.
    fn grow(&mut self, branch: &Branch, generations: u32, rng: &mut ChaCha8Rng) {
        let (sin, cos) = branch.angle.sin_cos();
        let mut next = 4.0 + 4.0 * uniform(rng);
        let mut along = 0.0;
        while along < branch.length {
            let place = [branch.root[0] + along * cos, branch.root[1] + along * sin];
            let left = 1.0 - along / branch.length;
            self.add(place, branch.light * (0.3 + 0.7 * left as f32));
            if along >= next && generations > 0 {
                next = along + 5.0 + 6.0 * uniform(rng);
                for side in [-1.0, 1.0] {
                    let twig = Branch {
                        root: place,
                        angle: branch.angle + side * (60.0 + 8.0 * uniform(rng)).to_radians(),
                        length: branch.length * left * (0.2 + 0.25 * uniform(rng)),
                        light: branch.light * 0.8,
                    };
                    self.grow(&twig, generations - 1, rng);
                }
            }
            along += 0.7;
        }
    }

    /// Spreads light over the four pixels around a place.
    fn add(&mut self, [x, y]: [f64; 2], light: f32) {
        let (left, top) = (x.floor(), y.floor());
        let (right, bottom) = ((x - left) as f32, (y - top) as f32);
        for (dx, dy, share) in [
            (0, 0, (1.0 - right) * (1.0 - bottom)),
            (1, 0, right * (1.0 - bottom)),
            (0, 1, (1.0 - right) * bottom),
            (1, 1, right * bottom),
        ] {
            let (x, y) = (left as isize + dx, top as isize + dy);
            let is_inside = x.cast_unsigned() < WIDTH && y.cast_unsigned() < HEIGHT;
            if is_inside {
                let light_here = &mut self.light[y.cast_unsigned() * WIDTH + x.cast_unsigned()];
                // Crystals over crystals are hardly brighter.
                *light_here += share * light * (1.0 - 0.5 * light_here.min(2.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textures_are_as_bright_as_the_photographs_and_always_the_same() {
        let texture = texture(3);
        let mean =
            texture.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / texture.pixels.len() as f64;
        assert!((mean - 152.0).abs() < 3.0, "{mean}");
        assert_eq!(texture, super::texture(3));
        // Scores are known by the version: another drawing needs another one.
        let n = texture.pixels.len() / 6;
        let sixths = texture.pixels.chunks(n);
        let sums = sixths.map(|part| part.iter().map(|&v| u64::from(v)).sum::<u64>() / n as u64);
        assert_eq!(sums.collect::<Vec<_>>(), [155, 154, 148, 147, 151, 150]);
    }
}
