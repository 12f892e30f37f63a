//! Operations on a GPU against those on the CPU, values and gradients; and a run there, from its
//! first step to its table.
//!
//! `SWEEP_TEST_DEVICE=wgpu:0 cargo test --release --features wgpu --test gpu`, with any adapter: Mesa's
//! lavapipe is one that needs no GPU. Without the variable nothing is tested.

#![cfg(any(feature = "cuda", feature = "wgpu"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use dino_sweep::kernel::attention::{self, Rotation};
use dino_sweep::kernel::resize::bilinear;
use dino_sweep::kernel::{arg_max, classes, confusion, gelu, loss, norm, residual, swiglu};
use dino_sweep::rng;

/// Difference from the CPU, of the largest value.
const LIMIT: f32 = 1e-5;

/// The name of the device that is tested, if one is.
fn name() -> Option<String> {
    std::env::var("SWEEP_TEST_DEVICE").ok()
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
    let Some(name) = name() else { return };
    let gpu = dino_sweep::device::open(name.parse().unwrap()).unwrap();
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
    check("layer_norm", [[2, 65, 96]], |[x]| {
        let [weight, bias] = [7, 8].map(|i| random([96], i, &x.device().inner()));
        norm::layer_norm(x, [weight, bias], 1e-6)
    });
}

#[test]
fn resizing_equals_the_cpus() {
    check("up", [[2, 5, 8, 8]], |[x]| bilinear::resize(x, [16, 20]));
    check("down", [[1, 3, 16, 12]], |[x]| bilinear::resize(x, [7, 5]));
}

#[test]
fn the_loss_equals_the_cpus() {
    check("loss", [[2, 7, 8, 9]], |[logits]| {
        let labels = (0..2 * 32 * 36).map(|i| if i % 11 == 0 { 255 } else { (i / 30 % 7) as u8 });
        let device = logits.device().inner();
        let labels = classes::tensor(labels.collect(), [2, 32, 36], &device);
        // Of double precision on the CPU alone.
        loss::cross_entropy(logits, labels).cast(FloatDType::F32)
    });
}

#[test]
fn predictions_and_counts_are_the_cpus() {
    let Some(name) = name() else { return };
    let gpu = dino_sweep::device::open(name.parse().unwrap()).unwrap();
    let [gpu, cpu] = [gpu, Device::flex()].map(|device| {
        let predicted = arg_max::arg_max(random([2, 7, 8, 9], 1, &device), [32, 36]);
        let truth = arg_max::arg_max(random([2, 7, 8, 9], 2, &device), [32, 36]);
        let counts = confusion::to_vec(confusion::counts(truth, predicted.clone(), 7));
        (classes::to_vec(predicted), counts)
    });
    assert!(gpu == cpu);
    assert_eq!(gpu.1.iter().sum::<u64>(), 2 * 32 * 36);
}

/// A run is trained, scored and shown, and its scores are near the CPU's.
#[test]
fn a_run_reaches_its_table() {
    const EXPERIMENT: &str = "name = 'gpu'\nsize = 'tiny'\nweights = 'random'\ndecoder = 'linear'\n\
        lora_rank = 2\nepochs = 2\nbatch_size = 4\ntokens = 3\n\
        data = { kind = 'shapes', n_train = 8, n_val = 4, side_px = 48 }\n\
        [eval]\ncorruption = { suite = 'none' }\n";
    let Some(name) = name() else { return };
    let miou = |device: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("e.toml"), EXPERIMENT).unwrap();
        let run = |arguments: &[&str]| {
            let output = program::sweep(folder.path()).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            output.stdout
        };
        run(&["run", "e.toml", "--device", device]);
        let table: serde_json::Value =
            serde_json::from_slice(&run(&["table", "e.toml", "--format", "json"])).unwrap();
        table.pointer("/rows/0/miou_clean/mean").and_then(serde_json::Value::as_f64)
    };
    let [gpu, cpu] = [&name, "cpu"].map(|device| miou(device).unwrap());
    assert!((gpu - cpu).abs() < 0.01, "mIoU {gpu}, on the CPU {cpu}");
}
