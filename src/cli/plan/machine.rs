//! The lines of a plan that say where runs would compute, in which numbers, and what they take there.

use std::collections::BTreeSet;

use crate::cli::words;
use crate::device::{self, Device};
use crate::experiment::Experiment;
use crate::host;
use crate::model::backbone;
use crate::resolve::Resolved;
use crate::schedule::devices::{self, Host};
use crate::train::memory::Shape;

/// Says the number formats, the devices of this machine that a run would start on now, and, unless
/// that is the CPU, the memory of a training step.
pub(super) fn lines(experiment: &Experiment, cells: &[Resolved]) -> String {
    let mut lines = vec![precisions(experiment)];
    let places = places(experiment);
    let is_on_cpu = places.as_ref().is_ok_and(|slots| slots.iter().all(|(d, _)| *d == Device::Cpu));
    lines.push(match places {
        Ok(slots) => {
            let named: Vec<_> = slots.into_iter().map(place).collect();
            format!("devices: {}", named.join("; "))
        }
        Err(error) => format!("devices: none here: {error}"),
    });
    if !is_on_cpu {
        lines.extend(memory(experiment, cells));
    }
    lines.join("\n")
}

/// `numbers: f32`, what the encoder's blocks compute in.
fn precisions(experiment: &Experiment) -> String {
    let all = experiment.cells.iter().map(|cell| cell.spec.train.precision.resolved().to_string());
    let all: BTreeSet<_> = all.collect();
    format!("numbers: {}", all.into_iter().collect::<Vec<_>>().join(", "))
}

/// The devices, each with the number of its runs at once.
fn places(experiment: &Experiment) -> Result<Vec<(Device, usize)>, device::Error> {
    let schedule = &experiment.schedule;
    let hardware = crate::cli::device::hardware(&schedule.devices);
    let host = Host { cores: host::cores(), hardware: &hardware };
    let places = devices::slots(&schedule.devices, schedule.jobs, schedule.threads, host)?;
    let mut counted: Vec<(Device, usize)> = vec![];
    for slot in places.slots {
        match counted.last_mut() {
            Some((device, n)) if *device == slot.device => *n += 1,
            _ => counted.push((slot.device, 1)),
        }
    }
    Ok(counted)
}

/// `cuda:0 (NVIDIA H100 80GB HBM3)`.
fn place((device, n): (Device, usize)) -> String {
    let runs = if n > 1 { format!(", {n} runs at once") } else { String::new() };
    match device::name(device) {
        name if name.is_empty() || name == device.to_string() => format!("{device}{runs}"),
        name => format!("{device} ({name}){runs}"),
    }
}

/// `GPU memory of a training step, estimated: 5.1 GiB to 8.0 GiB`; `None` where no cell's encoder is
/// known.
fn memory(experiment: &Experiment, cells: &[Resolved]) -> Option<String> {
    let estimates: BTreeSet<u64> = cells
        .iter()
        .filter_map(|cell| {
            let spec = &cell.cell.spec;
            let shape = Shape {
                arch: &backbone::find(&spec.model)?.arch,
                tune: &spec.tune,
                decoder: &spec.decoder,
                batch_size: spec.train.batch_size,
                input_px: cell.facts.input_px,
                precision: spec.train.precision,
                activations: experiment.schedule.terms.activations,
            };
            Some(shape.estimate_bytes())
        })
        .collect();
    let (least, most) = (words::size(*estimates.first()?), words::size(*estimates.last()?));
    let range = if least == most { most } else { format!("{least} to {most}") };
    Some(format!("GPU memory of a training step, estimated: {range}"))
}
