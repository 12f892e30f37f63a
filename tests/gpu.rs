//! Operations on a GPU against those on the CPU, values and gradients; and a run there, from its
//! first step to its table.
//!
//! `SWEEP_TEST_DEVICE=wgpu:0 cargo test --release --features wgpu --test gpu`, with any adapter: Mesa's
//! lavapipe is one that needs no GPU. Without the variable nothing is tested.

#![cfg(any(feature = "cuda", feature = "wgpu"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;
#[path = "gpu/networks.rs"]
mod networks;
#[path = "gpu/sums.rs"]
mod sums;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use dino_sweep::data::transform::{INSIDE, Normal, Pixel};
use dino_sweep::kernel::attention::{self, Rotation};
use dino_sweep::kernel::dropout::{self, Draw};
use dino_sweep::kernel::resize::{bilinear, nearest};
use dino_sweep::kernel::{
    adamw, arg_max, classes, confusion, finite, gelu, loss, norm, pixels, residual, swiglu,
};
use dino_sweep::rng;
use rand_core::Rng;
use rustix::process::{Pid, Signal, kill_process_group};

/// Difference from the CPU, of the largest value.
const LIMIT: f32 = 1e-5;

/// The name of the device that is tested, if one is.
fn name() -> Option<String> {
    std::env::var("SWEEP_TEST_DEVICE").ok()
}

/// The device that is tested, if one is.
fn gpu() -> Option<Device> {
    Some(dino_sweep::device::open(name()?.parse().unwrap()).unwrap())
}

fn normal(n: usize, which: u64) -> Vec<f32> {
    let mut rng = rng::keyed(11, "gpu", &[which]);
    (0..n).map(|_| rng::normal(&mut rng) as f32).collect()
}

fn random<const D: usize>(shape: [usize; D], which: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(normal(shape.iter().product(), which), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Values without gradients, values with them, and the gradients of all inputs.
fn all<const N: usize, const D: usize, const E: usize>(
    f: impl Fn([Tensor<D>; N]) -> Tensor<E>,
    shapes: [[usize; D]; N],
    device: &Device,
) -> Vec<Vec<f32>> {
    let inputs: [Tensor<D>; N] = std::array::from_fn(|i| random(shapes[i], i as u64, device));
    let plain = f(inputs.clone());
    assert!(!plain.is_tracked());
    let inputs = inputs.map(|input| input.autodiff().require_grad());
    let output = f(inputs.clone());
    let weights = random(output.dims(), 99, device);
    let mut found = vec![values(plain), values(output.clone().inner())];
    let gradients = (output * weights).sum().backward();
    found.extend(inputs.map(|input| values(input.grad(&gradients).unwrap())));
    found
}

fn close(what: &str, gpu: &[f32], cpu: &[f32]) {
    assert_eq!(gpu.len(), cpu.len(), "{what}");
    // Where all are 0, what is left is rounding of sums of numbers near 1.
    let largest = cpu.iter().fold(0.1f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in gpu.iter().zip(cpu).enumerate() {
        let is_close = (a - b).abs() <= LIMIT * largest;
        assert!(is_close, "{what}, value {i}: {a}, on the CPU {b}, the largest {largest}");
    }
}

/// Holds `f` on the device that is tested against `f` on the CPU.
fn check<const N: usize, const D: usize, const E: usize>(
    what: &str,
    shapes: [[usize; D]; N],
    f: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) {
    let Some(gpu) = gpu() else { return };
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| all(&f, shapes, &device));
    for (i, (gpu, cpu)) in gpu.iter().zip(&cpu).enumerate() {
        close(&format!("{what}, part {i}"), gpu, cpu);
    }
}

#[test]
fn attention_equals_the_cpus() {
    check("attention", [[2, 70, 192]; 3], |qkv| attention::attention(qkv, 3, None));
    check("attention of one token", [[1, 1, 32]; 3], |qkv| attention::attention(qkv, 2, None));
    check("attention with rotation", [[2, 33, 64]; 3], |qkv| {
        let angles = |f: fn(f32) -> f32| (0..33 * 32).map(|i| f(i as f32 * 0.01)).collect();
        let device = qkv[0].device().inner();
        let rotation = Rotation::new(angles(f32::cos), angles(f32::sin), 32, &device);
        attention::attention(qkv, 2, Some(&rotation))
    });
}

/// More scores than are computed at once.
#[test]
fn attention_in_parts_equals_the_cpus() {
    check("attention in parts", [[1, 1500, 64]; 3], |qkv| attention::attention(qkv, 16, None));
}

#[test]
fn element_wise_operations_equal_the_cpus() {
    check("gelu", [[2, 65, 96]], |[x]| gelu::gelu(x * 3.0));
    check("swiglu", [[2, 65, 96]; 2], |[gate, x]| swiglu::swiglu(gate, x));
    check("add_scaled", [[2, 65, 96]; 2], |[x, y]| {
        let scale = random([96], 7, &x.device().inner());
        residual::add_scaled(x, y, scale)
    });
    check("parameters of add_scaled", [[1, 1, 96]], |[scale]| {
        let [x, y] = [8, 9].map(|i| random([2, 65, 96], i, &scale.device().inner()));
        residual::add_scaled(x, y, scale.reshape([96]))
    });
    check("parameters of layer_norm", [[1, 1, 96]; 2], |[weight, bias]| {
        let x = random([2, 65, 96], 9, &weight.device().inner());
        norm::layer_norm(x, [weight.reshape([96]), bias.reshape([96])], 1e-6)
    });
    check("layer_norm", [[2, 65, 96]], |[x]| {
        let [weight, bias] = [7, 8].map(|i| random([96], i, &x.device().inner()));
        norm::layer_norm(x, [weight, bias], 1e-6)
    });
}

#[test]
fn resizing_equals_the_cpus() {
    check("up", [[2, 5, 8, 8]], |[x]| bilinear::resize(x, [16, 20]));
    check("down", [[1, 3, 16, 12]], |[x]| bilinear::resize(x, [7, 5]));
    check("nearest, up", [[2, 5, 7, 9]], |[x]| nearest::resize(x, [15, 24]));
    check("nearest, down", [[1, 3, 9, 7]], |[x]| nearest::resize(x, [4, 6]));
}

#[test]
fn the_loss_equals_the_cpus() {
    check("loss on a smaller map", [[3, 2, 9, 4]], |[logits]| {
        let labels = (0..3 * 5 * 3).map(|i| if i % 4 == 0 { 255 } else { (i % 2) as u8 });
        let device = logits.device().inner();
        let labels = classes::tensor(labels.collect(), [3, 5, 3], &device);
        loss::cross_entropy(logits, labels).cast(FloatDType::F32)
    });
    check("loss", [[2, 7, 8, 9]], |[logits]| {
        let labels = (0..2 * 32 * 36).map(|i| if i % 11 == 0 { 255 } else { (i / 30 % 7) as u8 });
        let device = logits.device().inner();
        let labels = classes::tensor(labels.collect(), [2, 32, 36], &device);
        // Of double precision on the CPU alone.
        loss::cross_entropy(logits, labels).cast(FloatDType::F32)
    });
}

/// Philox4x32-10's four words for a counter whose first three words are `place` and `step`.
fn philox(place: u32, step: u64, key: u64) -> [u32; 4] {
    let mut words = [place, step as u32, (step >> 32) as u32, 0];
    let mut keys = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let products = [(words[0], 0xD251_1F53), (words[2], 0xCD9E_8D57)]
            .map(|(word, factor): (u32, u64)| u64::from(word) * factor);
        let [high_0, high_1] = products.map(|product| (product >> 32) as u32);
        words = [
            high_1 ^ words[1] ^ keys[0],
            products[1] as u32,
            high_0 ^ words[3] ^ keys[1],
            products[0] as u32,
        ];
        keys = [keys[0].wrapping_add(0x9E37_79B9), keys[1].wrapping_add(0xBB67_AE85)];
    }
    words
}

/// Known answers of Random123 1.14, `tests/kat_vectors`.
#[test]
fn philox_is_the_published_one() {
    assert_eq!(philox(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
}

#[test]
fn dropout_is_philox_and_its_gradient_has_the_same_factors() {
    let Some(gpu) = gpu() else { return };
    let draw = Draw { seed: 7, step: (1 << 32) + 5 };
    let key = rng::keyed(7, "dropout/a", &[]).next_u64();
    let n = 3 * 11 * 7;
    let expect: Vec<f32> = (0..n)
        .map(|i| philox(i / 4, draw.step, key)[i as usize % 4])
        .map(|word| if word >> 16 < (0.3 * 65536.0) as u32 + 1 { 0.0 } else { 1.0 / 0.7 })
        .collect();
    assert!(expect.iter().filter(|factor| **factor == 0.0).count() > n as usize / 5);
    let x = Tensor::<3>::ones([3, 11, 7], &gpu).autodiff().require_grad();
    let output = dropout::apply(x.clone(), 0.3, draw, "a");
    close("factors", &values(output.clone().inner()), &expect);
    let gradients = output.sum().backward();
    close("gradient", &values(x.grad(&gradients).unwrap()), &expect);
    let twice = dropout::apply(Tensor::<3>::ones([3, 11, 7], &gpu), 0.3, draw, "a");
    close("again", &values(twice), &expect);
    let other = dropout::apply(Tensor::<3>::ones([3, 11, 7], &gpu), 0.3, draw, "b");
    assert!(values(other) != expect, "another place draws others");
}

#[test]
fn updates_of_adamw_are_the_cpus() {
    let Some(gpu) = gpu() else { return };
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| {
        let (mut x, mut state) = (random([300], 1, &device), None);
        for step in 0..3 {
            let gradient = random([300], 10 + step, &device);
            let (updated, next) = adamw::update(x, gradient, state, (1e-2, 0.1));
            (x, state) = (updated, Some(next));
        }
        let state = state.unwrap();
        assert_eq!(state.time(), 3);
        let [first, second] = state.moments().map(|moment| values(moment.clone()));
        [values(x), first, second]
    });
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        close("AdamW", gpu, cpu);
    }
}

#[test]
fn images_are_normalised_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let pixels: Vec<Pixel> = (0..2 * 5 * 7u32)
        .map(|i| if i % 6 == 0 { 0 } else { i.wrapping_mul(2_654_435_761) >> 8 | INSIDE })
        .collect();
    let normal = Normal { mean: [0.1, 0.5, 0.9], std: [0.2, 0.3, 1.0] };
    let [gpu, cpu] = [gpu, Device::flex()]
        .map(|device| values(pixels::images(&pixels, [2, 5, 7], normal, &device)));
    close("images", &gpu, &cpu);
    assert!(cpu.contains(&0.0));
}

#[test]
fn values_that_are_not_finite_are_counted() {
    let Some(gpu) = gpu() else { return };
    let mut data = vec![1.0f32; 1000];
    data[3] = f32::NAN;
    data[500] = f32::INFINITY;
    data[999] = f32::NEG_INFINITY;
    let counts = finite::counts(Tensor::<1>::from_data(TensorData::new(data, [1000]), &gpu));
    let counts: Vec<u64> = counts.into_data().convert::<u64>().try_into_vec().unwrap();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn a_loss_of_void_alone_is_0() {
    let Some(gpu) = gpu() else { return };
    let logits = random([1, 3, 2, 2], 1, &gpu).autodiff().require_grad();
    let loss = loss::cross_entropy(logits.clone(), classes::tensor(vec![255; 64], [1, 8, 8], &gpu));
    assert_eq!(values(loss.clone().inner()), [0.0]);
    assert_eq!(values(logits.grad(&loss.backward()).unwrap()), [0.0; 12]);
}

#[test]
fn predictions_and_counts_are_the_cpus() {
    let Some(gpu) = gpu() else { return };
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| {
        let predicted = arg_max::arg_max(random([2, 7, 8, 9], 1, &device), [32, 36]);
        let truth = arg_max::arg_max(random([2, 7, 8, 9], 2, &device), [32, 36]);
        let counts = confusion::to_vec(confusion::counts(truth, predicted.clone(), 7));
        (classes::to_vec(predicted), counts)
    });
    assert!(gpu == cpu);
    assert_eq!(gpu.1.iter().sum::<u64>(), 2 * 32 * 36);
}

const EXPERIMENT: &str = "name = 'gpu'\nsize = 'tiny'\nweights = 'random'\ndecoder = 'linear'\n\
    lora_rank = 2\nepochs = 2\nbatch_size = 4\ntokens = 3\n\
    data = { kind = 'shapes', n_train = 8, n_val = 4, side_px = 48 }\n\
    [eval]\ncorruption = { suite = 'none' }\n";

/// The program's output for these arguments, in a folder with the experiment.
fn sweep(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    fs_err::write(folder.join("e.toml"), EXPERIMENT).unwrap();
    let output = program::sweep(folder).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    output.stdout
}

fn miou(folder: &Path) -> f64 {
    let table = sweep(folder, &["table", "e.toml", "--format", "json"]);
    let table: serde_json::Value = serde_json::from_slice(&table).unwrap();
    table.pointer("/rows/0/miou_clean/mean").and_then(serde_json::Value::as_f64).unwrap()
}

/// A run is trained, scored and shown, and its scores are near the CPU's.
#[test]
fn a_run_reaches_its_table() {
    let Some(name) = name() else { return };
    let [gpu, cpu] = [&name, "cpu"].map(|device| {
        let folder = tempfile::tempdir().unwrap();
        sweep(folder.path(), &["run", "e.toml", "--device", device]);
        miou(folder.path())
    });
    assert!((gpu - cpu).abs() < 0.01, "mIoU {gpu}, on the CPU {cpu}");
}

/// The files below a folder whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return vec![] };
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, end) } else { vec![path] };
    paths.flat_map(below).filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Killed when its first checkpoint is written, a run goes on from there.
#[test]
fn a_killed_run_is_resumed() {
    let Some(name) = name() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = ["run", "e.toml", "--device", &name, "--set", "epochs=30"];
    fs_err::write(folder.join("e.toml"), EXPERIMENT).unwrap();
    let mut child = program::sweep(folder).args(arguments).process_group(0).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(5);
    while files(&folder.join("results"), ".safetensors").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        assert!(Instant::now() < deadline, "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    child.wait().unwrap();
    sweep(folder, &arguments);
    let journals = files(&folder.join("results"), ".jsonl");
    let journal: String =
        journals.iter().map(|path| fs_err::read_to_string(path).unwrap()).collect();
    assert!(journal.contains("resumed"), "{journal}");
    assert!(miou(folder) > 0.0);
}
