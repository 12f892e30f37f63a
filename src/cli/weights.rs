//! `sweep weights inspect PATH`: shows what a weight file contains, and whether it can be loaded.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use serde_json::json;

use super::fault::Exit;
use super::{Context, printer, words};
use crate::error::with_sources;
use crate::fs::hash::sha256_file;
use crate::model::params::Params;
use crate::weights::inspect::Values;
use crate::weights::{self, Inspection};

/// Number of names shown of a list; the others are counted.
const SHOWN: usize = 6;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Show naming, variant, types, tensors and sha256; exit code 1 if the names, types or shapes
    /// (with --load also the values) cannot be loaded
    Inspect(Inspect),
}

#[derive(Debug, Clone, clap::Args)]
struct Inspect {
    /// A weight file, the index of a sharded one, or a folder
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also load it into an encoder, as a run would: reads every value and checks that it is finite
    #[arg(long)]
    load: bool,
}

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    let Action::Inspect(args) = &args.action;
    Ok(inspect(args))
}

fn inspect(args: &Inspect) -> Exit {
    let mut found = match weights::inspect(&args.path, &mut |file| sha256_file(file)) {
        Ok(found) => found,
        Err(error) => {
            let reason = with_sources(&error);
            if args.json {
                let path = args.path.display().to_string();
                let version = weights::inspect::VERSION;
                let report = json!({ "version": version, "path": path, "problems": [reason] });
                printer::data(&format!("{report}\n"));
            } else {
                printer::note(&format_args!("error: {reason}"));
            }
            return Exit::SomeFailed;
        }
    };
    let mut loaded = None;
    if args.load && found.problems.is_empty() {
        found.values = Values::Read;
        match load(&args.path) {
            Ok(text) => loaded = Some(text),
            Err(error) => found.problems.push(with_sources(&error)),
        }
    }
    if args.json {
        let report = serde_json::to_string(&found).expect("a plain struct always serializes");
        printer::data(&format!("{report}\n"));
    } else {
        printer::data(&text(&found, loaded.as_deref()));
    }
    if found.problems.is_empty() { Exit::Done } else { Exit::SomeFailed }
}

/// Loads the encoder and says how long it took and how large it is.
fn load(path: &Path) -> Result<String, weights::Error> {
    let found = weights::identify(path)?;
    let started = Instant::now();
    let mut encoder = weights::load(path, (&found.name, found.arch), &Device::flex())?;
    let seconds = started.elapsed().as_secs_f64();
    let mut n = 0;
    encoder.each("", &mut |_, slot| n += slot.n_elements() as u64);
    Ok(format!("{} in {seconds:.1} s", words::size(4 * n)))
}

fn text(found: &Inspection, loaded: Option<&str>) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        writeln!(text, "{name:13} {value}").expect("writing to a String cannot fail");
    };
    row("file", &format!("`{}`, {}, {}", found.path, found.container, words::size(found.bytes)));
    let released = match found.released {
        Some(true) => ", as released",
        Some(false) => ", NOT that of the released file",
        None => "",
    };
    row("sha256", &format!("{}{released}", found.sha256));
    let dtypes: Vec<_> = found.dtypes.iter().map(|(dtype, n)| format!("{n} {dtype}")).collect();
    row("tensors", &format!("{} ({})", found.tensors, dtypes.join(", ")));
    row("parameters", &found.parameters.to_string());
    let prefix = found.prefix.as_ref().map_or_else(String::new, |p| format!(", after `{p}`"));
    row("naming", &format!("{}{prefix}", found.naming.unwrap_or("unknown")));
    if let Some(architecture) = &found.architecture {
        let variant = found.variant.as_deref().unwrap_or("none: a custom size");
        row("variant", variant);
        row("architecture", architecture);
    }
    for (name, value) in [("RoPE periods", found.periods), ("q, k, v bias", found.qkv_bias)] {
        if let Some(value) = value {
            row(name, value);
        }
    }
    for default in &found.defaults {
        row("by default", default);
    }
    if !found.unused.is_empty() {
        row("unused", &listed(&found.unused));
    }
    if !found.beside.is_empty() {
        row("beside", &listed(&found.beside));
    }
    if let Some(loaded) = loaded {
        row("loaded", loaded);
    }
    if found.values == Values::NotRead && found.problems.is_empty() {
        row("values", "not read; --load checks that all are finite");
    }
    for problem in &found.problems {
        row("PROBLEM", problem);
    }
    text
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
