//! `sweep upsample`: upsamples features of images that a file holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;

use super::fault::{Exit, fault};
use super::features::parse_px;
use super::upsampler::{open, with_exit};
use super::{Context, printer, words};
use crate::fs::hash::sha256_file;
use crate::upsample::{self, Error, Job, METHODS, Method, Pairs};
use crate::weights;

/// Format of the file that is written.
const VERSION: u32 = 1;

/// Upsample features from patches to pixels, guided by the images
#[derive(Debug, clap::Args)]
#[command(after_long_help = CONTENT)]
pub struct Args {
    /// A safetensors file with `image` [batch, 3, height, width], normalised by ImageNet's mean and
    /// standard deviation, and `features` [batch, channels, rows, columns]
    #[arg(value_name = "IN.safetensors")]
    input: PathBuf,
    /// How to upsample
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(METHODS.iter().map(|method| method.name)))]
    method: String,
    /// Weights of the method: its published file, or safetensors with the same names
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Height and width of the result [default: those of the image; for jbu 16 times the features',
    /// from which other sizes are made bilinearly]
    #[arg(long, value_name = "H,W", value_parser = parse_px)]
    size: Option<[u32; 2]>,
    /// Side of the window of naf, odd [default: 9, as published]
    #[arg(long, value_name = "K", value_parser = parse_kernel)]
    kernel: Option<usize>,
    /// The file to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
}

const CONTENT: &str = "\
The file has `features` [batch, channels, height, width], f32. Its metadata: method, size,
weights_sha256, kernel (where --kernel is given), program, version.
All is computed on the CPU; the result is written band by band, and never in memory as a whole.";

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    let method = Method::find(&args.method).expect("clap lets no other pass");
    check(args)?;
    let failed = |error| failed(error, args);
    let pairs = Pairs::open(&args.input).map_err(failed)?;
    let model = open(method, "--weights", args.weights.as_deref(), args.kernel)?;
    let size = match args.size {
        Some(size) => size.map(|side| side as usize),
        None => model.size(pairs.image_size(), pairs.grid()),
    };
    let metadata = metadata(args, size)?;
    let mut shown = 0;
    let mut progress = |done: usize, all: usize| {
        let percent = 100 * done / all;
        // Small files are done at once.
        if percent >= shown + 10 && percent < 100 {
            shown = percent;
            printer::aside(&format_args!("{percent}%"));
        }
    };
    let job = Job { model: &model, pairs: &pairs, size };
    upsample::write(&args.output, &job, &metadata, &mut progress).map_err(failed)?;
    let ([rows, columns], [height, width]) = (pairs.grid(), size);
    printer::aside(&format_args!(
        "features of {}, {rows}x{columns} to {height}x{width} by {} -> {}",
        words::count(pairs.len(), "image"),
        method.title,
        args.output.display()
    ));
    Ok(Exit::Done)
}

/// The error, with the file that it is about where it does not name one.
fn failed(error: Error, args: &Args) -> anyhow::Error {
    let file = match error {
        Error::Task(_) => Some(&args.input),
        Error::Write(_) => Some(&args.output),
        _ => None,
    };
    let error = with_exit(error);
    match file {
        Some(file) => error.context(format!("`{}`", file.display())),
        None => error,
    }
}

/// Refuses an output that would replace an input, or whose folder is not there, before anything is
/// computed.
fn check(args: &Args) -> anyhow::Result<()> {
    let output = args.output.display();
    let same = |path: &Path| match (fs_err::canonicalize(path), fs_err::canonicalize(&args.output))
    {
        (Ok(a), Ok(b)) => a == b,
        // One that does not exist is not the other.
        _ => false,
    };
    let inputs = [("input", Some(&args.input)), ("weight file", args.weights.as_ref())];
    if let Some((what, _)) = inputs.iter().find(|(_, path)| path.is_some_and(|path| same(path))) {
        let words = format!("the output `{output}` is the {what}: name another file");
        return Err(fault(Exit::Usage, words));
    }
    if args.output.is_dir() {
        return Err(fault(Exit::Usage, format!("the output `{output}` is a folder: name a file")));
    }
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        let words = format!("the output's folder `{folder}` does not exist: create it");
        return Err(fault(Exit::Environment, words));
    }
    Ok(())
}

fn metadata(args: &Args, [height, width]: [usize; 2]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut metadata = vec![
        ("version", VERSION.to_string()),
        ("program", format!("sweep {}", env!("CARGO_PKG_VERSION"))),
        ("method", args.method.clone()),
        ("size", format!("{height}x{width}")),
    ];
    if let Some(path) = &args.weights {
        metadata.push(("weights_sha256", weights::digest(path, &mut |file| sha256_file(file))?));
    }
    metadata.extend(args.kernel.map(|kernel| ("kernel", kernel.to_string())));
    Ok(metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The side of a window, which has a middle.
fn parse_kernel(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(side) if side % 2 == 1 => Ok(side),
        _ => Err("write an odd number, such as 9".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_odd() {
        assert_eq!(parse_kernel("9"), Ok(9));
        for nonsense in ["", "0", "4", "-3", "x"] {
            assert!(parse_kernel(nonsense).is_err(), "{nonsense}");
        }
    }
}
