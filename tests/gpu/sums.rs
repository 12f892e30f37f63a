//! Sums over windows and views, and predictions made of both, on a GPU against those on the CPU.

use burn::tensor::{Device, Tensor, TensorData};
use dino_sweep::data::Rgb;
use dino_sweep::data::transform::Normal;
use dino_sweep::eval::infer::{self, Item, Request};
use dino_sweep::eval::{Mode, Tta};
use dino_sweep::kernel::canvas::{Canvas, Window};
use dino_sweep::kernel::probabilities::Probabilities;
use dino_sweep::kernel::{classes, finite};
use dino_sweep::model::{Network, TuneConfig};
use serde_json::json;

use super::{close, gpu, networks, random, values};

/// Pixels whose class may differ from the CPU's, of a thousand: those where two classes are equally
/// likely but for rounding.
const TIES: usize = 2;

fn agree(what: &str, gpu: &[u8], cpu: &[u8]) {
    assert_eq!(gpu.len(), cpu.len(), "{what}");
    let differ = gpu.iter().zip(cpu).filter(|(a, b)| a != b).count();
    assert!(differ * 1000 <= TIES * cpu.len(), "{what}: {differ} classes of {}", cpu.len());
}

fn windows(size: [usize; 2], corners: &[[usize; 2]]) -> Vec<Window> {
    corners.iter().map(|&[top, left]| Window { top, left, size }).collect()
}

#[test]
fn windows_are_averaged_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    // In two batches; some pixels lie under one window, some under all of a batch.
    let first = windows([13, 11], &[[0, 0], [0, 6], [4, 3], [4, 3]]);
    let second = windows([9, 17], &[[8, 0], [8, 0], [0, 0]]);
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| {
        let mut canvas = Canvas::new(5, [17, 17], &device);
        canvas.add(random([4, 5, 3, 4], 1, &device), &first);
        // Both may be changed from here on.
        let mut other = canvas.clone();
        canvas.add(random([3, 5, 4, 3], 2, &device), &second);
        other.add(random([3, 5, 4, 3], 3, &device), &second);
        [canvas, other].map(|canvas| values(canvas.mean()))
    });
    close("mean of windows", &gpu[0], &cpu[0]);
    close("mean of others", &gpu[1], &cpu[1]);
    assert!(cpu[0] != cpu[1]);
}

#[test]
#[should_panic(expected = "windows cover the image")]
fn a_pixel_without_window_is_a_bug() {
    let device = gpu().unwrap_or_else(Device::flex);
    let mut canvas = Canvas::new(2, [5, 5], &device);
    canvas.add(random([2, 2, 2, 2], 1, &device), &windows([5, 3], &[[0, 0], [0, 1]]));
    canvas.mean();
}

#[test]
fn views_are_averaged_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| {
        let mut sums = Probabilities::new(7, [33, 29], &device);
        for (view, [rows, columns]) in [[3, 4], [5, 3], [40, 31]].into_iter().enumerate() {
            sums.add(random([1, 7, rows, columns], view as u64, &device) * 3.0);
        }
        // They stay as they are when they are added to later.
        let before = (values(sums.mean()), classes::to_vec(sums.arg_max()));
        let kept = sums.clone();
        sums.add(random([1, 7, 8, 8], 9, &device));
        assert_eq!(values(kept.mean()), before.0);
        let after = (values(sums.mean()), classes::to_vec(sums.arg_max()));
        [before, after]
    });
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        close("mean of views", &gpu.0, &cpu.0);
        agree("views", &gpu.1, &cpu.1);
    }
}

#[test]
fn what_is_not_finite_stays_so_in_the_means() {
    let Some(gpu) = gpu() else { return };
    let mut data = vec![0.0f32; 2 * 3 * 4 * 4];
    data[20] = f32::NAN;
    let logits = Tensor::<4>::from_data(TensorData::new(data, [2, 3, 4, 4]), &gpu);
    let mut canvas = Canvas::new(3, [8, 9], &gpu);
    canvas.add(logits.clone(), &windows([8, 8], &[[0, 0], [0, 1]]));
    let mut views = Probabilities::new(3, [8, 9], &gpu);
    views.add(logits.narrow(0, 0, 1));
    for mean in [canvas.mean(), views.mean()] {
        let counts = finite::counts(mean).into_data().convert::<i64>();
        assert!(counts.try_into_vec::<i64>().unwrap()[0] > 0);
    }
}

/// Blocks of colour, so that neighbouring pixels agree.
fn image(height: u32, width: u32) -> Rgb {
    let block = |y: u32, x: u32| (y / 14 * 8 + x / 14).wrapping_mul(2_654_435_761);
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| block(y, x)));
    Rgb {
        height,
        width,
        pixels: pixels.flat_map(|word| [8, 16, 24].map(|n| (word >> n) as u8)).collect(),
    }
}

fn request(mode: Mode, tta: Tta, [input_px, patch_px]: [u32; 2]) -> Request {
    let normal = Normal { mean: [0.5; 3], std: [0.25; 3] };
    Request { mode, tta, input_px: [input_px; 2], patch_px, normal }
}

/// Predicts two windows of `px` in two views, whatever comes out.
pub(super) fn predict_anything(network: &mut Network, [px, patch_px]: [u32; 2]) {
    let mode = Mode::Slide { crop: px, stride: px, short_side: None };
    let request = request(mode, Tta { flip: true, ..Tta::default() }, [px, patch_px]);
    let input = request.input(image(px, px + 1));
    let item = Item { input: &input, size: [32; 2] };
    let prediction = infer::predict(network, &[item], &request).next().unwrap();
    assert_eq!(classes::to_vec(prediction.classes_at([20, 30])).len(), 20 * 30);
}

/// Windows, scales and mirrored views of a small network, as in scoring.
#[test]
fn predictions_of_windows_and_views_are_the_cpus() {
    let Some(gpu) = gpu() else { return };
    let tune: TuneConfig = serde_json::from_value(json!({ "kind": "frozen" })).unwrap();
    let decoder = serde_json::from_value(json!({ "kind": "linear" })).unwrap();
    let slide = Mode::Slide { crop: 33, stride: 21, short_side: Some(56) };
    let several = Tta { flip: true, scales: vec![0.75, 1.3] };
    let image = image(47, 61);
    for (mode, tta) in
        [(slide, Tta::default()), (slide, several.clone()), (Mode::Whole {}, several)]
    {
        let what = format!("{mode:?}, {tta:?}");
        let request = request(mode, tta, [56, 14]);
        let input = request.input(image.clone());
        let item = Item { input: &input, size: [47, 61] };
        let [gpu, cpu] = [&gpu, &Device::flex()].map(|device| {
            let network = networks::network("dinov2_tiny14_reg", (&tune, &decoder), device);
            let mut network = network.without_gradients();
            let prediction = infer::predict(&mut network, &[item], &request).next().unwrap();
            prediction.check().unwrap();
            let [own, other] =
                [[47, 61], [56, 56]].map(|size| classes::to_vec(prediction.classes_at(size)));
            (own, other, values(prediction.probabilities()))
        });
        close(&what, &gpu.2, &cpu.2);
        agree(&what, &gpu.0, &cpu.0);
        agree(&what, &gpu.1, &cpu.1);
        assert!(cpu.0.iter().any(|class| *class != cpu.0[0]), "{what}: one class alone");
    }
}
