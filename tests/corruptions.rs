//! Corruptions against the numbers and pictures of `imagecorruptions` 1.1.2.
//!
//! `tests/data/corruptions` holds a 72x104 picture, what the reference makes of it (for brightness
//! and contrast the first 16 rows), and, for the random corruptions, statistics over 10 of its
//! seeds.

use std::collections::BTreeMap;
use std::path::Path;

use dino_sweep::data::Rgb;
use dino_sweep::data::corrupt::{Corruption, Severity, TABLE, apply, rng_for};
use serde_json::Value;

/// Seeds of ours whose mean is compared.
const SEEDS: u32 = 10;
/// Seeds behind the reference's mean.
const SEEDS_REFERENCE: f64 = 10.0;
/// What the reference's JPEG (Pillow, libjpeg-turbo) may differ from ours, in dB.
const JPEG_PSNR_MIN: f64 = 38.0;

/// Statistics of a corrupted image, by the names of `stats.json`.
type Stats = BTreeMap<String, f64>;

#[test]
fn deterministic_corruptions_match_the_reference_within_one_level() {
    let clean = read("clean_chelsea_small.png");
    for corruption in [
        Corruption::DefocusBlur,
        Corruption::Brightness,
        Corruption::Contrast,
        Corruption::Pixelate,
    ] {
        for severity in Severity::ALL {
            let (ours, golden) = pair(&clean, corruption, severity);
            let n_far = ours.iter().zip(&golden).filter(|(a, b)| a.abs_diff(**b) > 1).count();
            let n_off = ours.iter().zip(&golden).filter(|(a, b)| a != b).count();
            let label = format!("{} {}", corruption.name(), severity.get());
            println!("{label}: {n_off} of {} off by one, {n_far} by more", golden.len());
            assert!(n_far * 1000 <= golden.len(), "{label}: {n_far} of {}", golden.len());
            // One level everywhere would be a shift in brightness.
            assert!(n_off * 100 <= golden.len(), "{label}: {n_off} of {}", golden.len());
        }
    }
}

#[test]
fn jpeg_matches_the_reference_within_its_psnr_limit() {
    let clean = read("clean_chelsea_small.png");
    for severity in Severity::ALL {
        let (ours, golden) = pair(&clean, Corruption::JpegCompression, severity);
        let psnr = psnr(&ours, &golden);
        println!("jpeg {}: {psnr:.1} dB", severity.get());
        assert!(psnr > JPEG_PSNR_MIN, "level {}: {psnr:.2} dB", severity.get());
    }
}

#[test]
fn random_corruptions_have_the_statistics_of_the_reference() {
    let clean = read("clean_chelsea_small.png");
    let golden: BTreeMap<String, Value> =
        serde_json::from_str(&fs_err::read_to_string(data("stats.json")).unwrap()).unwrap();
    for corruption in [Corruption::GaussianNoise, Corruption::ShotNoise, Corruption::Fog] {
        for severity in Severity::ALL {
            let key = format!("{}/{}", corruption.name(), severity.get());
            let ours = mean_stats(&clean, corruption, severity);
            for (name, mean, std) in flatten(&golden[&key]) {
                let spread = (1.0 / SEEDS_REFERENCE + 1.0 / f64::from(SEEDS)).sqrt();
                let bound = 5.0 * std * spread + floor(&name);
                let difference = (ours[&name] - mean).abs();
                assert!(
                    difference <= bound,
                    "{key} {name}: {} for {mean}, {difference} is over {bound}",
                    ours[&name]
                );
            }
        }
    }
}

#[test]
fn every_level_is_worse_than_the_one_before() {
    let clean = read("clean_chelsea_small.png");
    for row in TABLE {
        let ssims =
            Severity::ALL.map(|severity| mean_stats(&clean, row.corruption, severity)["ssim"]);
        assert!(ssims.windows(2).all(|pair| pair[0] > pair[1]), "{}: {ssims:?}", row.name);
    }
}

/// Rounding of the stored numbers, and of f32 against f64.
fn floor(name: &str) -> f64 {
    match name {
        "ssim" => 0.0005,
        "psnr" => 0.005,
        _ => 0.02,
    }
}

/// Ours and the reference's, as many rows as the reference's file has.
fn pair(clean: &Rgb, corruption: Corruption, severity: Severity) -> (Vec<u8>, Vec<u8>) {
    let golden =
        read(&format!("chelsea_small_{}_{}.png", corruption.name(), severity.get())).pixels;
    let mut ours =
        apply(corruption, severity, clean, &mut rng_for("", corruption, severity)).pixels;
    ours.truncate(golden.len());
    (ours, golden)
}

fn mean_stats(clean: &Rgb, corruption: Corruption, severity: Severity) -> Stats {
    let mut mean = Stats::new();
    for seed in 0..SEEDS {
        let mut rng = rng_for(&seed.to_string(), corruption, severity);
        let corrupted = apply(corruption, severity, clean, &mut rng);
        for (name, value) in stats(clean, &corrupted) {
            *mean.entry(name).or_default() += value / f64::from(SEEDS);
        }
    }
    mean
}

/// (name, mean, std) of each statistic, channels apart.
fn flatten(entry: &Value) -> Vec<(String, f64, f64)> {
    let mut out = Vec::new();
    for (name, value) in entry.as_object().unwrap() {
        match (&value["mean"], &value["std"]) {
            (Value::Array(means), Value::Array(stds)) => {
                for (c, (mean, std)) in means.iter().zip(stds).enumerate() {
                    out.push((format!("{name}{c}"), mean.as_f64().unwrap(), std.as_f64().unwrap()));
                }
            }
            (mean, std) => out.push((name.clone(), mean.as_f64().unwrap(), std.as_f64().unwrap())),
        }
    }
    assert_eq!(out.len(), 11);
    out
}

fn stats(clean: &Rgb, corrupted: &Rgb) -> Stats {
    let mut stats = Stats::new();
    let n = clean.pixels.len() as f64;
    let differences =
        || clean.pixels.iter().zip(&corrupted.pixels).map(|(a, b)| f64::from(*b) - f64::from(*a));
    stats.insert("mad".to_owned(), differences().map(f64::abs).sum::<f64>() / n);
    stats.insert("bias".to_owned(), differences().sum::<f64>() / n);
    stats.insert("psnr".to_owned(), psnr(&clean.pixels, &corrupted.pixels));
    let mut ssim_sum = 0.0;
    for c in 0..3 {
        let (a, b) = (channel(clean, c), channel(corrupted, c));
        let mean = b.iter().sum::<f64>() / b.len() as f64;
        let variance = b.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / b.len() as f64;
        stats.insert(format!("ch_mean{c}"), mean);
        stats.insert(format!("ch_std{c}"), variance.sqrt());
        ssim_sum += ssim(&a, &b, clean.width as usize);
    }
    stats.insert("ssim".to_owned(), ssim_sum / 3.0);
    let stride = corrupted.width as usize * 3;
    let steps: Vec<_> = corrupted
        .pixels
        .chunks(stride)
        .flat_map(|row| row.iter().zip(&row[3..]).map(|(a, b)| f64::from(a.abs_diff(*b))))
        .collect();
    stats.insert("hf".to_owned(), steps.iter().sum::<f64>() / steps.len() as f64);
    stats
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) / (squares / a.len() as f64)).log10()
}

fn channel(image: &Rgb, c: usize) -> Vec<f64> {
    image.pixels.iter().skip(c).step_by(3).map(|&value| f64::from(value)).collect()
}

/// scikit-image's `structural_similarity` of one channel: 7x7 uniform windows inside the image,
/// sample covariances, range 255.
fn ssim(a: &[f64], b: &[f64], width: usize) -> f64 {
    const SIDE: usize = 7;
    let (n, c1, c2) = ((SIDE * SIDE) as f64, 2.55f64.powi(2), 7.65f64.powi(2));
    let height = a.len() / width;
    let (mut sum, mut count) = (0.0, 0.0);
    for y in 0..=height - SIDE {
        for x in 0..=width - SIDE {
            let [mut sa, mut sb, mut saa, mut sbb, mut sab] = [0.0; 5];
            for row in y..y + SIDE {
                let window = row * width + x..row * width + x + SIDE;
                for (a, b) in a[window.clone()].iter().zip(&b[window]) {
                    sa += a;
                    sb += b;
                    saa += a * a;
                    sbb += b * b;
                    sab += a * b;
                }
            }
            let (ma, mb) = (sa / n, sb / n);
            let cov = |s: f64, m: f64| (s - n * m) / (n - 1.0);
            let (va, vb, vab) = (cov(saa, ma * ma), cov(sbb, mb * mb), cov(sab, ma * mb));
            sum += (2.0 * ma * mb + c1) * (2.0 * vab + c2)
                / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            count += 1.0;
        }
    }
    sum / count
}

fn data(name: &str) -> std::path::PathBuf {
    Path::new("tests/data/corruptions").join(name)
}

fn read(name: &str) -> Rgb {
    let image = image::open(data(name)).unwrap().into_rgb8();
    Rgb { width: image.width(), height: image.height(), pixels: image.into_raw() }
}
