//! Milliseconds of each corruption at each level on a 500x375 picture, one core: the
//! best of nine, which other work on the machine disturbs least.
//!
//! `cargo bench --bench corruption`; `scripts/compare_corruptions.py` puts imagecorruptions beside
//! it.

#![expect(clippy::print_stdout, reason = "a benchmark's result")]

use std::time::Instant;

use dino_sweep::corrupt::frost::Textures;
use dino_sweep::corrupt::{Corruption, Severity, TABLE, apply, rng_for, suite};
use dino_sweep::data::Rgb;

const REPEATS: usize = 9;

fn main() {
    let image = picture(500, 375);
    println!("ms at level {:>11} {:>6} {:>6} {:>6} {:>6}", 1, 2, 3, 4, 5);
    let fifteen = suite::suite("imagenet-c-15");
    let mut total_ms = 0.0;
    for row in TABLE {
        let times_ms = Severity::ALL.map(|severity| best_ms(&image, row.corruption, severity));
        let cells: Vec<_> = times_ms.iter().map(|ms| format!("{ms:6.2}")).collect();
        println!("{:<17} {}", row.name, cells.join(" "));
        if fifteen.is_some_and(|suite| suite.contains(row.corruption)) {
            total_ms += times_ms[4];
        }
    }
    println!("the 15 at level 5: {total_ms:.1} ms");
}

fn best_ms(image: &Rgb, corruption: Corruption, severity: Severity) -> f64 {
    let textures = Textures::procedural();
    let time_ms = |repeat: usize| {
        let mut rng = rng_for(&repeat.to_string(), corruption, severity);
        let start = Instant::now();
        std::hint::black_box(apply(corruption, severity, image, &textures, &mut rng));
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..REPEATS).map(time_ms).fold(f64::INFINITY, f64::min)
}

/// Waves of several lengths with a little texture, so that no step meets a flat image.
fn picture(width: u32, height: u32) -> Rgb {
    let level = |x: u32, y: u32, c: u32| {
        let (x, y, phase) = (x as f32, y as f32, c as f32);
        let wave = (x / 37.0 + phase).sin() * (y / 23.0).cos() * 80.0;
        (128.0 + wave + (x * 1.7 + y * 2.3 + phase).sin() * 20.0) as u8
    };
    let pixels = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| [0, 1, 2].map(|c| level(x, y, c))))
        .collect();
    Rgb { width, height, pixels }
}
