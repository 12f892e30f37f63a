//! Time and memory of one network: a forward pass, or whole training steps on random images.
//!
//! `cargo bench --bench model_step -- --model dinov2_vits14_reg --px 308 --mode step`
//!
//! Prints one line of JSON: milliseconds of wall clock and of processor time an iteration, the peak
//! of resident memory (`VmHWM`), and what it was before the first iteration. `--help` lists the
//! arguments. `scripts/compare_speed.py` runs it side by side with PyTorch.

#![expect(clippy::print_stdout, reason = "a benchmark's result")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::time::Instant;

use burn::tensor::{Device, FloatDType};
use clap::{Parser, ValueEnum};
use dino_sweep::data::loader::Batch;
use dino_sweep::data::transform::{INSIDE, Normal};
use dino_sweep::device;
use dino_sweep::kernel::dropout::Draw;
use dino_sweep::model::decoder::{fpn, linear};
use dino_sweep::model::network::Parts;
use dino_sweep::model::{
    Activations, DecoderConfig, LoraConfig, LoraTarget, Mode, Network, Scaling, TuneConfig,
};
use dino_sweep::model::{backbone, init, vit::Encoder};
use dino_sweep::rng;
use dino_sweep::train::optimizer::{AdamW, Rates};
use dino_sweep::train::step::{self, Step};
use mimalloc::MiMalloc;

/// As in the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// ImageNet's.
const NORMAL: Normal = Normal { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// Iterations before the clock starts.
const WARM_UP: usize = 2;

#[derive(Debug, Parser)]
struct Args {
    /// Name of a variant.
    #[arg(long, default_value = "dinov2_vits14_reg")]
    model: String,
    /// Side of the square input, pixels.
    #[arg(long, default_value_t = 308)]
    px: usize,
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Of LoRA on q and v.
    #[arg(long, default_value_t = 3)]
    rank: u32,
    #[arg(long, default_value_t = 21)]
    classes: usize,
    #[arg(long, value_enum, default_value = "step")]
    mode: What,
    #[arg(long, value_enum, default_value = "lora")]
    tune: Tune,
    #[arg(long, value_enum, default_value = "linear")]
    decoder: Decoder,
    /// Blocks to keep; all by default.
    #[arg(long)]
    depth: Option<usize>,
    /// `cpu`, `cuda:N` or `wgpu:N`. On a GPU, steps are started without waiting for the one before,
    /// as in training.
    #[arg(long, default_value = "cpu")]
    device: device::Device,
    #[arg(long, value_enum, default_value = "f32")]
    precision: Type,
    /// What a step keeps of the blocks: `keep` or `recompute`.
    #[arg(long, default_value = "keep", value_parser = activations)]
    activations: Activations,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value_t = 10)]
    iterations: usize,
    /// Given by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Images to logits on the patch grid, without gradients.
    Forward,
    /// Forward, loss at full size, backward, AdamW.
    Step,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tune {
    Frozen,
    Lora,
    Full,
}

/// The value of `schedule.activations`.
fn activations(word: &str) -> Result<Activations, serde_json::Error> {
    serde_json::from_value(word.into())
}

/// The type that the encoder's blocks compute in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decoder {
    Linear,
    Fpn,
}

fn main() {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global().unwrap();
    let mut network = network(&args);
    let batch = batch(&args);
    let mut iterate = iteration(&args, &mut network, &batch);
    for i in 0..WARM_UP {
        iterate(i + 1 == WARM_UP);
    }
    let before = memory_kb("VmRSS:");
    let cpu_start = cpu_ms();
    let all = Instant::now();
    let mut times_ms: Vec<f64> = (0..args.iterations)
        .map(|i| {
            let start = Instant::now();
            iterate(i + 1 == args.iterations);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    if args.device != device::Device::Cpu {
        // Steps are handed over without waiting: only their mean can be told.
        let mean_ms = all.elapsed().as_secs_f64() * 1e3 / args.iterations as f64;
        times_ms.fill(mean_ms);
    }
    let cpu = (cpu_ms() - cpu_start) / args.iterations as f64;
    times_ms.sort_by(f64::total_cmp);
    let (median, min) = (times_ms[args.iterations / 2], times_ms[0]);
    let peak = memory_kb("VmHWM:");
    println!(
        "{{\"program\":\"sweep\",\"wall_ms_median\":{median:.2},\"wall_ms_min\":{min:.2},\
         \"cpu_ms_mean\":{cpu:.2},\"peak_mib\":{:.1},\"resident_mib\":{:.1}}}",
        peak / 1024.0,
        before / 1024.0,
    );
}

fn network(args: &Args) -> Network {
    let device = device::open(args.device).unwrap();
    let variant = backbone::variants().find(|v| v.name == args.model).expect("a variant's name");
    let mut arch = variant.arch;
    arch.depth = args.depth.unwrap_or(arch.depth);
    let mut encoder = Encoder::zeros(arch, &device);
    init::encoder(&mut encoder, 0);
    let tune = match args.tune {
        Tune::Frozen => TuneConfig::Frozen {},
        Tune::Lora => TuneConfig::Lora(LoraConfig {
            rank: args.rank.try_into().unwrap(),
            alpha: None,
            targets: vec![LoraTarget::Q, LoraTarget::V],
            scaling: Scaling::Standard,
            dropout: 0.0,
            blocks: None,
        }),
        Tune::Full => TuneConfig::Full {},
    };
    let decoder = match args.decoder {
        Decoder::Linear => DecoderConfig::Linear(linear::Config {}),
        Decoder::Fpn => DecoderConfig::Fpn(fpn::Config { channels: 128 }),
    };
    let (tune, decoder, n_classes) = (&tune, &decoder, args.classes);
    let mut network = Network::new(encoder, &Parts { tune, decoder, n_classes, seed: 0 });
    network.compute_in(match args.precision {
        Type::F32 => FloatDType::F32,
        Type::F16 => FloatDType::F16,
        Type::Bf16 => FloatDType::BF16,
    });
    network
}

fn batch(args: &Args) -> Batch {
    let mut rng = rng::keyed(1, "bench", &[]);
    let pixels = args.batch * args.px * args.px;
    Batch {
        images: (0..pixels).map(|_| rng::below(&mut rng, 1 << 24) as u32 | INSIDE).collect(),
        targets: (0..pixels).map(|_| rng::below(&mut rng, args.classes as u64) as u8).collect(),
        ids: (0..args.batch).map(|i| i.to_string()).collect(),
        n: args.batch,
    }
}

/// What is timed.
///
/// It waits for the device where it is told to, and always on the CPU.
fn iteration<'a>(
    args: &Args,
    network: &'a mut Network,
    batch: &'a Batch,
) -> Box<dyn FnMut(bool) + 'a> {
    let input_px = [args.px; 2];
    let is_cpu = network.device() == Device::flex();
    if args.mode == What::Forward {
        let mut network = network.without_gradients();
        let images = step::images(batch, input_px, NORMAL, &network.device());
        return Box::new(move |waits| {
            let logits = network.logits(images.clone(), Mode::Eval);
            if waits || is_cpu {
                std::hint::black_box(logits.into_data());
            }
        });
    }
    let mut optimizer = AdamW::new(0.01);
    let rates = Rates { decoder: 3e-4, encoder: 3e-4 };
    let step = Step {
        input_px,
        normal: NORMAL,
        rates,
        dropout: Draw { seed: 0, step: 0 },
        activations: args.activations,
    };
    Box::new(move |waits| {
        let loss = step::start(network, &mut optimizer, batch, step);
        if waits || is_cpu {
            std::hint::black_box(loss.into_scalar::<f64>());
        }
    })
}

/// A line of this process's status, kB.
fn memory_kb(line: &str) -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time of all threads so far; in steps of 10 ms.
fn cpu_ms() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) * 10.0
}
