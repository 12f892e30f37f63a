//! `sweep`: grids of DINOv2/DINOv3 segmentation fine-tuning runs, trained, scored clean and
//! corrupted, resumed and tabulated.
//!
//! # The path of the data
//! ```text
//! spec (TOML) -> resolve -> plan -> schedule -> worker process
//!     -> train, then score -> journal -> store (SQLite) -> report
//! ```
//!
//! # The map
//! Modules are listed in import order: each may use itself and those before it
//! (`tests/layers.rs` holds this).
//!
//! - [`error`]: errors and their causes as text.
//! - [`host`]: facts of this machine: its name, its CPU.
//! - [`rng`]: random numbers keyed by (seed, purpose, indices).
//! - [`fs`]: atomic writes, locks, claims, hashes, the layout of the results folder.
//! - [`id`]: run and score ids from canonical JSON.
//! - [`device`]: names of devices, which of them are there, and opening one.
//! - [`event`]: the lines of the journals; the protocol between worker and coordinator.
//! - [`data`]: images and masks: datasets, labels, splits, transforms, the loader.
//! - [`corrupt`]: the corruption benchmark.
//! - [`kernel`]: operations of our own with hand-written backward passes.
//! - [`model`]: backbones, LoRA, decoders, the network.
//! - [`weights`]: weight files: where they lie, what is in them, how their names map to ours.
//! - [`adapter`]: files of trained weights, in our format, the reference project's and PEFT's.
//! - [`upsample`]: features upsampled from patches to pixels, guided by the image.
//! - [`fetch`]: downloads, archives, and the datasets and weights that are published.
//! - [`eval`]: predictions, the confusion matrix and the scores.
//! - [`train`]: the training loop, the optimiser, checkpoints.
//! - [`viz`]: pictures for people.
//! - [`experiment`]: the experiment file: layers, grid, checks, identity.
//! - [`store`]: the SQLite index over the journals; the only SQL.
//! - [`resolve`]: from an experiment and this machine to ids, score requests and jobs.
//! - [`plan`]: what to start, resume, score or reuse; pure.
//! - [`schedule`]: the event loop that runs workers on devices.
//! - [`worker`]: one process, one run.
//! - [`report`]: tables for the terminal, files and READMEs.
//! - [`cli`]: one file per verb; the only module that prints.
//!
//! # Invariants
//! - A spec is immutable once expanded; the resolved spec is stored with its run.
//! - mIoU is the mean over the classes present in the evaluated split's ground truth, from one
//!   global confusion matrix (u64) at the labels' original size.
//! - A worker writes only inside its run directory. Only `cli` prints. Only `store` holds SQL.
//!   Only `experiment::load` uses figment.
//! - Every write is atomic (temp, fsync, rename) or an append of whole lines.
//! - The coordinator and the workers may be killed at any line: the same command afterwards
//!   reaches the same results, bit for bit on the same CPU, binary and thread count.
//! - All randomness is ChaCha keyed by (seed, purpose, epoch, sample).
//! - Nothing is skipped silently: keys of weight files and checkpoints are all accounted for.

pub mod adapter;
pub mod cli;
pub mod corrupt;
pub mod data;
pub mod device;
pub mod error;
pub mod eval;
pub mod event;
pub mod experiment;
pub mod fetch;
pub mod fs;
pub mod host;
pub mod id;
pub mod kernel;
pub mod model;
pub mod plan;
pub mod report;
pub mod resolve;
pub mod rng;
pub mod schedule;
pub mod store;
pub mod train;
pub mod upsample;
pub mod viz;
pub mod weights;
pub mod worker;
