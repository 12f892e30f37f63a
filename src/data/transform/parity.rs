//! Tests that compare transforms with mmsegmentation's and DINOv3's own code
//! (`tests/reference/transforms.py`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::photometric::Distortion;
use super::window::Window;
use super::{Normal, crop, normalise, pack, pad_mask};
use crate::data::{Mask, Rgb};

const FILE: &str = include_str!("../../../tests/data/transforms/transforms.json");

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn read<T: for<'a> Deserialize<'a>>(value: &Value) -> T {
    T::deserialize(value).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.iter().map(byte).collect()
}

fn rgb(value: &Value) -> Rgb {
    let pixels = bytes(&value["pixels"]);
    Rgb { width: read(&value["width"]), height: read(&value["height"]), pixels }
}

fn mask(value: &Value) -> Mask {
    let classes = bytes(&value["classes"]);
    Mask { width: read(&value["width"]), height: read(&value["height"]), classes }
}

#[test]
fn colours_are_distorted_as_by_mmseg() {
    let file = file();
    let image = rgb(&file["photometric"]);
    for case in file["photometric"]["cases"].as_array().unwrap() {
        let float = |name: &str| case.get(name).map(|v| v.as_f64().unwrap() as f32);
        let distortion = Distortion {
            brightness: float("brightness"),
            contrast: float("contrast"),
            contrast_first: case["contrast_first"].as_bool().unwrap_or_default(),
            saturation: float("saturation"),
            hue: case.get("hue").map(read),
        };
        let mut ours = image.clone();
        distortion.apply(&mut ours);
        // Byte for byte, as `cv2` in vectors with FMA. It rounds the way back from HSV otherwise in
        // the last pixels of a row that fills no vector, and on machines without.
        assert_eq!(ours.pixels, bytes(&case["pixels"]), "{distortion:?}");
    }
}

#[test]
fn crops_are_those_of_mmseg() {
    let file = file();
    let sources: BTreeMap<String, Value> = read(&file["crops"]["masks"]);
    for case in file["crops"]["cases"].as_array().unwrap() {
        let mask = mask(&sources[case["mask"].as_str().unwrap()]);
        let crop_px: [u32; 2] = read(&case["crop"]);
        let parts: Vec<f64> = read(&case["draws"]);
        let mut n_drawn = 0;
        let draw = |n: u64| {
            n_drawn += 1;
            (parts[n_drawn - 1] * n as f64) as u64
        };
        let whole = [mask.height, mask.width].map(u64::from);
        let window = crop::choose(&mask, (whole, crop_px), read(&case["max_class"]), draw);
        assert_eq!(n_drawn, read::<usize>(&case["n_drawn"]), "{case}");
        let cut = window.of_mask(&mask);
        let [height, width] = [&case["height"], &case["width"]].map(read::<u32>);
        assert_eq!([cut.height, cut.width], [height, width]);

        // The picture that mmseg was given has the classes as its three colours.
        let pixels = mask.classes.iter().flat_map(|&class| [class; 3]).collect();
        let image = window.of_rgb(&Rgb { width: mask.width, height: mask.height, pixels });
        let mut values = vec![9.0; 3 * (crop_px[0] * crop_px[1]) as usize];
        let normal = Normal { mean: [0.5; 3], std: [0.25; 3] };
        normalise(&pack(&image, crop_px), normal, &mut values);
        let n_zero = values.iter().filter(|value| **value == 0.0).count();
        assert_eq!(n_zero, read::<usize>(&case["n_zero"]));
        let sum: f64 = values.iter().copied().map(f64::from).sum();
        assert!((sum - read::<f64>(&case["sum"])).abs() < 1e-3, "{sum} {case}");
        assert_eq!(pad_mask(cut, crop_px).classes, bytes(&case["padded"]), "{case}");
    }
}

#[test]
fn sizes_are_those_of_dinov3() {
    for row in file()["resizes"]["sizes"].as_array().unwrap() {
        let (height, width, short_side, part, rows, columns): (u32, u32, u32, f64, u64, u64) =
            read(row);
        let ours = crop::resized_px(short_side, part * 1.5 + 0.5, [height, width]);
        assert_eq!(ours, [rows, columns], "{row}");
    }
}

#[test]
fn a_window_is_that_part_of_pillows_resized_image() {
    let file = file();
    let source = &file["resizes"];
    let (image, mask) = (rgb(source), mask(source));
    for part in source["parts"].as_array().unwrap() {
        let window = Window {
            resized: read(&part["whole"]),
            top: read(&part["top"]),
            left: read(&part["left"]),
            height: read(&part["height"]),
            width: read(&part["width"]),
        };
        let (ours, pillows) = (window.of_rgb(&image).pixels, bytes(&part["pixels"]));
        assert_eq!(ours.len(), pillows.len());
        // Both resize in fixed-point numbers, each with its own.
        let is_near = |(ours, pillows): (&u8, &u8)| ours.abs_diff(*pillows) <= 1;
        assert!(ours.iter().zip(&pillows).all(is_near), "{window:?}");
        assert_eq!(window.of_mask(&mask).classes, bytes(&part["classes"]), "{window:?}");
    }
}
