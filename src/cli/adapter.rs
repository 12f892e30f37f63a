//! `sweep adapter`: shows what adapter files contain, and converts them between formats.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::fault::{Exit, OrExit, fault};
use super::{Context, printer, words};
use crate::adapter::{self, AdapterFile, Kind, Normalise};
use crate::model::backbone;

/// Version of the output of `--json`.
const JSON_VERSION: u32 = 1;

/// Inspect adapter files, and convert them between formats.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show which encoder an adapter fits and what it contains
    Inspect {
        /// Our safetensors, the reference project's `.pt`, or a PEFT folder
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write an adapter in another format
    Convert {
        /// Our safetensors, the reference project's `.pt`, or a PEFT folder
        file: PathBuf,
        /// Format to write
        #[arg(long, value_enum)]
        to: Format,
        /// File to write; a folder for `peft`
        #[arg(long, value_name = "OUT")]
        output: PathBuf,
        /// Encoder of the adapter, if the file does not name it, e.g. `dinov2_vitl14_reg`
        #[arg(long, value_name = "NAME")]
        backbone: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Sweep,
    Reference,
    Peft,
}

impl Format {
    fn kind(self) -> Kind {
        match self {
            Self::Sweep => Kind::Sweep,
            Self::Reference => Kind::Reference,
            Self::Peft => Kind::Peft,
        }
    }
}

pub fn run(args: &Args, _: &Context) -> anyhow::Result<Exit> {
    match &args.task {
        Task::Inspect { file, json } => {
            let adapter = open(file)?;
            printer::data(&if *json { as_json(&adapter) } else { as_text(&adapter) });
        }
        Task::Convert { file, to, output, backbone } => {
            let mut adapter = open(file)?;
            if let Some(name) = backbone {
                let known = backbone::variants().find(|variant| variant.name == name);
                let variant = known.ok_or_else(|| unknown_backbone(name))?;
                adapter.set_variant(variant).or_exit(Exit::Usage)?;
            }
            for note in adapter.write(to.kind(), output).map_err(with_exit)? {
                printer::aside(&format_args!("note: {note}"));
            }
            printer::data(&format!("{}\n", output.display()));
        }
    }
    Ok(Exit::Done)
}

fn open(file: &Path) -> anyhow::Result<AdapterFile> {
    AdapterFile::open(file).map_err(with_exit)
}

/// Gives the error its exit: the environment's where a file cannot be read or written, else a usage
/// error, as the user named a file that does not fit.
pub(super) fn with_exit(error: adapter::Error) -> anyhow::Error {
    let exit = match error {
        adapter::Error::Read { .. }
        | adapter::Error::Absent { .. }
        | adapter::Error::Write { .. } => Exit::Environment,
        adapter::Error::Format { .. }
        | adapter::Error::NotFinite { .. }
        | adapter::Error::Misfit { .. }
        | adapter::Error::Inexpressible { .. } => Exit::Usage,
    };
    match Err::<(), _>(error).or_exit(exit) {
        Err(error) => error,
        Ok(()) => unreachable!("an error stays one"),
    }
}

fn unknown_backbone(name: &str) -> anyhow::Error {
    let names: Vec<_> = backbone::variants().map(|variant| variant.name).collect();
    fault(Exit::Usage, format_args!("no encoder is called `{name}`; known: {}", names.join(", ")))
}

fn as_text(adapter: &AdapterFile) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<11} {value}").expect("a string takes everything");
    };
    let about = &adapter.about;
    line("file", adapter.path.display().to_string());
    line(
        "format",
        match adapter.kind {
            Kind::Sweep => "sweep".to_owned(),
            Kind::Reference => "reference project (.pt)".to_owned(),
            Kind::Peft => "PEFT".to_owned(),
        },
    );
    let name = about.encoder.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    line("encoder", format!("{name}{}", adapter.meant()));
    if let Some(sha256) = &about.encoder.weights_sha256 {
        line("weights", format!("sha256 {sha256}"));
    }
    line("tune", plain(&about.tune));
    line("decoder", about.decoder.as_ref().map_or_else(|| "none".to_owned(), plain));
    if let Some(n) = about.n_classes {
        let names = about
            .class_names
            .as_ref()
            .map_or_else(String::new, |names| format!(": {}", names.join(", ")));
        line("classes", format!("{n}{names}"));
    }
    if let Some([height, width]) = about.input_px {
        line("input", format!("{height}x{width}"));
    }
    line(
        "normalise",
        match about.normalise {
            Normalise::Unknown {} => "unknown".to_owned(),
            Normalise::None {} => "none: values in 0 to 1".to_owned(),
            Normalise::MeanStd { mean, std } => format!("mean {mean:?}, std {std:?}"),
        },
    );
    if let Some(run) = &adapter.run {
        line("run", run.to_string());
    }
    if let Some(step) = adapter.step {
        line("step", step.to_string());
    }
    let n = adapter.tensors().count();
    line(
        "tensors",
        format!("{}, {} parameters", words::count(n, "tensor"), adapter.n_parameters()),
    );
    text
}

fn plain(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

fn as_json(adapter: &AdapterFile) -> String {
    let tensors: Vec<_> =
        adapter.tensors().map(|(name, shape)| json!({ "name": name, "shape": shape })).collect();
    let value = json!({
        "version": JSON_VERSION,
        "path": adapter.path,
        "format": adapter.kind,
        "fits": adapter.meant(),
        "about": adapter.about,
        "run": adapter.run,
        "step": adapter.step,
        "parameters": adapter.n_parameters(),
        "tensors": tensors,
    });
    let text = serde_json::to_string_pretty(&value).expect("plain data");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::experiment::Machine;

    fn golden() -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
        fixtures.join("v2_reg/adapter_linear.pt")
    }

    fn convert(file: PathBuf, to: Format, output: PathBuf, backbone: Option<&str>) -> Exit {
        let backbone = backbone.map(str::to_owned);
        let args = Args { task: Task::Convert { file, to, output, backbone } };
        run(&args, &Context::of(Machine::default())).unwrap_or_else(|error| Exit::of(&error))
    }

    #[test]
    fn an_adapter_is_described_in_words_and_for_machines() {
        let mut adapter = open(&golden()).unwrap();
        adapter.path = PathBuf::from("adapter.pt");
        insta::assert_snapshot!(as_text(&adapter), @r#"
        file        adapter.pt
        format      reference project (.pt)
        encoder     an encoder of DINO (dim 30, 4 blocks)
        tune        {"kind":"lora","rank":3,"alpha":null,"targets":["q","v"]}
        decoder     {"kind":"linear"}
        classes     6
        normalise   none: values in 0 to 1
        tensors     18 tensors, 1626 parameters
        "#);
        let json: Value = serde_json::from_str(&as_json(&adapter)).unwrap();
        assert_eq!((&json["version"], &json["format"]), (&1.into(), &"reference".into()));
        assert_eq!(json["about"]["n_classes"], 6);
        assert_eq!(json["tensors"].as_array().unwrap().len(), 18);
    }

    #[test]
    fn converting_ends_as_the_manual_says() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.safetensors");
        assert_eq!(convert(golden(), Format::Sweep, out.clone(), None), Exit::Done);
        assert_eq!(open(&out).unwrap().kind, Kind::Sweep);
        let peft = folder.path().join("peft");
        // Which DINO it is for is not known, and it is for no ViT-S.
        assert_eq!(convert(out.clone(), Format::Peft, peft.clone(), None), Exit::Usage);
        assert_eq!(
            convert(out.clone(), Format::Peft, peft.clone(), Some("dinov2_vits14")),
            Exit::Usage
        );
        assert_eq!(convert(out, Format::Peft, peft, Some("vit")), Exit::Usage);
        let absent = folder.path().join("absent.pt");
        assert_eq!(convert(absent, Format::Sweep, golden(), None), Exit::Environment);
    }
}
