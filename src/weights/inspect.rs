//! Describes a weight file for people: container, naming, variant, types and problems.
//!
//! Called by `sweep weights inspect`, also for files that cannot be loaded.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use serde::Serialize;

use super::digest::{self, Hasher};
use super::identify::identify_named;
use super::load::Reader;
use super::names::Named;
use super::plan::Plan;
use super::source::Source;
use super::{Error, Identified, TensorFile};
use crate::model::vit::{Arch, Ffn, Position, rope};

/// Version of the JSON of an [`Inspection`].
pub const VERSION: u32 = 1;

/// The report of `sweep weights inspect`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    pub version: u32,
    pub path: String,
    pub container: &'static str,
    pub bytes: u64,
    pub sha256: String,
    /// Whether the sha256 is the published one; `None` where none is known for this file.
    pub released: Option<bool>,
    /// Number of tensors in the file, those beside the model included.
    pub tensors: usize,
    pub parameters: u64,
    /// Number of tensors by element type.
    pub dtypes: BTreeMap<String, usize>,
    pub naming: Option<&'static str>,
    /// Prefix of every name.
    pub prefix: Option<String>,
    /// Name of the table row; `None` where no row has this architecture.
    pub variant: Option<String>,
    pub architecture: Option<String>,
    pub periods: Option<&'static str>,
    pub qkv_bias: Option<&'static str>,
    /// Values that are not stored and follow by definition.
    pub defaults: Vec<&'static str>,
    /// Tensors of the model that the encoder does not need.
    pub unused: Vec<String>,
    /// Tensors that do not belong to the model.
    pub beside: Vec<String>,
    pub values: Values,
    /// Reasons why it cannot be loaded; empty if none was found, see [`Self::values`].
    pub problems: Vec<String>,
}

/// The choice whether the numbers in a file are checked as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Headers alone were read: a file of good names and shapes may still hold nonsense.
    NotRead,
    /// Every value that an encoder takes was read.
    Read,
}

/// Inspects a file, an index or a folder by its headers. Errors are of files that cannot be opened
/// as weights at all; what is wrong with the tensors is in [`Inspection::problems`]. Values are
/// left to [`super::load`].
pub fn inspect(path: &Path, hash: &mut Hasher<'_>) -> Result<Inspection, Error> {
    let file = TensorFile::open(path)?;
    let sha256 = digest::digest(file.path(), hash)?;
    let mut dtypes = BTreeMap::new();
    let mut parameters = 0;
    for name in file.names() {
        *dtypes.entry(file.dtype(&name).unwrap_or_default()).or_default() += 1;
        parameters += file.shape(&name).unwrap_or_default().iter().product::<usize>() as u64;
    }
    let mut bytes = 0;
    for part in file.parts() {
        let stat = fs_err::metadata(part);
        bytes += stat.map_err(|source| Error::Read { path: part.clone(), source })?.len();
    }
    let mut found = Inspection {
        version: VERSION,
        path: path.display().to_string(),
        container: file.container(),
        bytes,
        sha256,
        released: None,
        tensors: file.names().len(),
        parameters,
        dtypes,
        naming: None,
        prefix: None,
        variant: None,
        architecture: None,
        periods: None,
        qkv_bias: None,
        defaults: vec![],
        unused: vec![],
        beside: vec![],
        values: Values::NotRead,
        problems: vec![],
    };
    if let Err(error) = found.look_inside(path) {
        match error {
            Error::Format { reason, .. } => found.problems.push(reason),
            error => return Err(error),
        }
    }
    Ok(found)
}

impl Inspection {
    fn look_inside(&mut self, path: &Path) -> Result<(), Error> {
        let named = Named::open(path)?;
        self.naming = Some(named.naming.label());
        self.prefix = Some(named.prefix.clone()).filter(|prefix| !prefix.is_empty());
        self.beside.clone_from(&named.beside);
        let identified = identify_named(&named, path)?;
        let arch = identified.arch;
        self.variant = identified.variant.map(|variant| variant.name.to_owned());
        self.architecture = Some(architecture(&identified));
        self.released = identified.variant.and_then(|variant| {
            let checked = digest::check_release(variant, named.file.path(), &self.sha256);
            digest::is_published(variant, named.file.path()).then_some(checked.is_ok())
        });
        let plan = Plan::new(&named, path, &arch)?;
        self.problems = plan.problems.lines();
        self.defaults = plan.defaults.iter().map(|default| default.words()).collect();
        self.unused = plan.unused;
        self.periods = periods(&named, &arch)?;
        self.qkv_bias = Some(qkv_bias(&named, &arch, &plan.sources)?);
        Ok(())
    }
}

fn architecture(found: &Identified) -> String {
    let arch = &found.arch;
    let ffn = match arch.ffn {
        Ffn::Mlp { hidden } => format!("MLP {hidden}"),
        Ffn::SwiGlu { hidden } => format!("SwiGLU {hidden}"),
    };
    let position = match arch.position {
        Position::Learned { side, .. } => format!("{side}x{side} learned positions"),
        Position::Rotary { base } => format!("RoPE base {base}"),
    };
    format!(
        "{}, patch {}, {} channels, {} blocks, {} heads, {ffn}, {} registers, {position}",
        found.dino_type.label(),
        arch.patch,
        arch.dim,
        arch.depth,
        arch.heads,
        arch.registers
    )
}

/// The source of RoPE's periods; `None` without RoPE.
fn periods(named: &Named, arch: &Arch) -> Result<Option<&'static str>, Error> {
    const NAME: &str = "rope_embed.periods";
    let Position::Rotary { base } = arch.position else { return Ok(None) };
    if !named.has(NAME) {
        return Ok(Some("by the formula, in f32"));
    }
    let stored = named.read(NAME)?;
    let formula = rope::periods(base, arch.head_dim());
    let close = |expected: &[f32]| {
        let within = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
        stored.len() == expected.len() && stored.iter().zip(expected).all(within)
    };
    let rounded: Vec<f32> = formula.iter().map(|p| bf16::from_f32(*p).to_f32()).collect();
    Ok(Some(if close(&formula) {
        "stored, the formula's in f32"
    } else if close(&rounded) {
        "stored, the formula's rounded to bf16"
    } else {
        "stored, not the formula's"
    }))
}

/// Says in words whether the biases of q, k and v are stored, and whether they are zero.
fn qkv_bias(
    named: &Named,
    arch: &Arch,
    sources: &BTreeMap<String, Source>,
) -> Result<&'static str, Error> {
    if !named.stores_bias() {
        return Ok("not stored");
    }
    let mut reader = Reader::new(named);
    for block in 0..arch.depth {
        for part in ["q", "k", "v"] {
            let Some(source) = sources.get(&format!("blocks.{block}.attn.{part}.bias")) else {
                continue;
            };
            if reader.read(source)?.iter().any(|value| *value != 0.0) {
                return Ok("stored, not zero");
            }
        }
    }
    Ok("stored, all zero")
}
