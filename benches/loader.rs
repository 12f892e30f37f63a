//! Milliseconds of a training sample: JPEG or PNG decoded, resized to the input, with its mask.
//!
//! `cargo bench --bench loader -- FOLDER`, a dataset in VOC layout, prints what its steps take on
//! one thread, the medians over the train split, and then samples as the training loop gets them.
//! With `--serve` each line of the input asks for an epoch: `scripts/compare_loader.py` alternates
//! it with the loader of dinov2-finetune.

#![expect(clippy::print_stdout, reason = "a benchmark's result")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use dino_sweep::data::dataset::{self, Config, VocConfig};
use dino_sweep::data::image_io::{decode_mask, decode_rgb};
use dino_sweep::data::loader::{Budget, TrainLoader, TrainLoaderConfig};
use dino_sweep::data::split::Split;
use dino_sweep::data::transform::{self, Normal, resize_nearest, squash, to_chw};
use mimalloc::MiMalloc;

/// As in the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const NORMAL: Normal = Normal { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/// Epochs whose best is printed.
const EPOCHS: u32 = 3;

#[derive(Debug, Parser)]
struct Args {
    folder: PathBuf,
    /// Side of the square input, pixels.
    #[arg(long, default_value_t = 308)]
    px: u32,
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Loading threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Jittered and distorted crops instead of the whole image.
    #[arg(long)]
    crop: bool,
    /// Of decoded samples.
    #[arg(long, default_value_t = 0)]
    cache_mb: u64,
    /// An epoch for each line of the input; its seconds on a line of their own.
    #[arg(long)]
    serve: bool,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let config = VocConfig { root: Some(args.folder.clone()), train: "train".to_owned() };
    let dataset = dataset::open_at(&Config::Voc(config), &args.folder).unwrap();
    let split = Arc::new(dataset.train_split().unwrap());
    let loader = loader(&args, &split);
    if args.serve {
        for (epoch, line) in std::io::stdin().lock().lines().enumerate() {
            line.unwrap();
            println!("{}", epoch_s(&loader, epoch as u32));
        }
        return;
    }
    steps(&split, args.px);
    let best_s = (0..EPOCHS).map(|epoch| epoch_s(&loader, epoch)).fold(f64::INFINITY, f64::min);
    let (n, threads) = (split.len(), args.threads);
    println!("{:<10} {:6.2} ms a sample, {threads} threads", "loader", best_s * 1e3 / n as f64);
}

fn loader(args: &Args, split: &Arc<Split>) -> TrainLoader {
    TrainLoader::new(TrainLoaderConfig {
        split: Arc::clone(split),
        input_px: [args.px; 2],
        transform: if args.crop {
            transform::Config::Crop(transform::crop::Config::default())
        } else {
            transform::Config::default()
        },
        photometric: args.crop,
        batch_size: args.batch,
        seed: 0,
        flip: 0.5,
        void_as_background: false,
        threads: args.threads,
        depth: 4,
        cache: Budget { memory_bytes: args.cache_mb << 20, ..Budget::default() },
    })
}

fn epoch_s(loader: &TrainLoader, epoch: u32) -> f64 {
    let start = Instant::now();
    for batch in loader.epoch(epoch, 0) {
        black_box(batch.unwrap());
    }
    start.elapsed().as_secs_f64()
}

/// Median milliseconds of each step on its own.
fn steps(split: &Split, px: u32) {
    let mut times_ms: [Vec<f64>; 6] = Default::default();
    let mut values = vec![0.0; 3 * (px * px) as usize];
    for item in &split.items {
        let mut clock = Instant::now();
        let mut lap = |step: usize| {
            times_ms[step].push(clock.elapsed().as_secs_f64() * 1e3);
            clock = Instant::now();
        };
        let files = (fs_err::read(&item.image).unwrap(), fs_err::read(&item.mask).unwrap());
        lap(0);
        let image = decode_rgb(&files.0, &item.image).unwrap();
        lap(1);
        let mask = decode_mask(&files.1, &item.mask).unwrap();
        lap(2);
        let image = squash(&image, px, px);
        lap(3);
        black_box(resize_nearest(&mask, px, px));
        lap(4);
        to_chw(&image, NORMAL, &mut values);
        lap(5);
    }
    for (name, mut times) in
        ["read", "image", "mask", "resize", "nearest", "normalise"].into_iter().zip(times_ms)
    {
        times.sort_by(f64::total_cmp);
        println!("{name:<10} {:6.2} ms", times[times.len() / 2]);
    }
}
