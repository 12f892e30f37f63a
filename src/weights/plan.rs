//! Plans how an encoder is filled: which tensor of a file goes where, and all that does not fit.
//!
//! Made from headers alone, for loading and for inspection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use burn::tensor::Device;

use super::hf_config::HfConfig;
use super::names::Named;
use super::scheme::is_unused;
use super::source::{Implied, Source};
use super::{Error, TensorFile, folder};
use crate::model::params::Params;
use crate::model::vit::{Arch, Encoder};

/// The source of each of an encoder's tensors.
#[derive(Debug, Default)]
pub struct Plan {
    /// Sources by our names; only tensors that can be read.
    pub sources: BTreeMap<String, Source>,
    /// Values that are not stored and follow by definition.
    pub defaults: BTreeSet<Implied>,
    /// Tensors that an encoder in eval mode does not use, under the file's names.
    pub unused: Vec<String>,
    pub problems: Problems,
}

/// All differences between a file and an encoder, under the file's names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub shaped: Vec<String>,
    /// Tensors of a type that cannot be read.
    pub typed: Vec<String>,
    /// Contradictions of `config.json`.
    pub config: Vec<String>,
}

impl Plan {
    /// Compares the file that was opened as `named` with `arch`; `path` is a file, or a folder
    /// whose `config.json` is compared as well.
    pub fn new(named: &Named, path: &Path, arch: &Arch) -> Result<Self, Error> {
        let mut plan = Self::default();
        let mut used = BTreeSet::new();
        for (internal, shape) in expected(arch) {
            plan.place(named, &internal, &shape, &mut used);
        }
        for name in named.names().filter(|name| !used.contains(*name)) {
            let list =
                if is_unused(name) { &mut plan.unused } else { &mut plan.problems.unexpected };
            list.push(named.in_file(name));
        }
        plan.problems.unexpected.extend(named.outside.iter().cloned());
        let config = folder::config(path).map(|path| HfConfig::read(&path)).transpose()?.flatten();
        plan.problems.config = config.map_or_else(Vec::new, |c| c.contradictions(arch));
        Ok(plan)
    }

    fn place(
        &mut self,
        named: &Named,
        internal: &str,
        shape: &[usize],
        used: &mut BTreeSet<String>,
    ) {
        let source = named.source(internal);
        if let Source::Default(default) = source {
            self.defaults.insert(default);
            return;
        }
        let name = source.name().unwrap_or(internal);
        let Some(stored) = named.shape(name) else {
            self.problems.missing.push(name.to_owned());
            return;
        };
        used.insert(name.to_owned());
        let found = source.shape(stored);
        // mask and class tokens come with and without an axis of 1.
        if found.is_none_or(|found| squeezed(&found) != squeezed(shape)) {
            self.problems.shaped.push(format!("{name} is {stored:?}, {internal} is {shape:?}"));
            return;
        }
        let dtype = named.dtype(name).unwrap_or_default();
        if !TensorFile::is_readable(&dtype) {
            self.problems.typed.push(format!("{name} is {dtype}"));
            return;
        }
        self.sources.insert(internal.to_owned(), source);
    }
}

/// Names and shapes of every tensor of an encoder, without making one: all blocks are alike.
pub fn expected(arch: &Arch) -> Vec<(String, Vec<usize>)> {
    const FIRST: &str = "blocks.0.";
    let mut names = Vec::new();
    let mut encoder = Encoder::zeros(Arch { depth: 1, ..*arch }, &Device::flex());
    encoder.each("", &mut |name, slot| {
        let shape = slot.file_shape();
        match name.strip_prefix(FIRST) {
            Some(rest) => {
                let blocks = (0..arch.depth).map(|i| (format!("blocks.{i}.{rest}"), shape.clone()));
                names.extend(blocks);
            }
            None => names.push((name.to_owned(), shape)),
        }
    });
    names
}

fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|n| *n != 1).collect()
}

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|(_, names)| names.is_empty())
    }

    /// The problems in words, one line for each kind.
    pub fn lines(&self) -> Vec<String> {
        const SHOWN: usize = 8;
        let kinds = self.lists().into_iter().filter(|(_, names)| !names.is_empty());
        kinds
            .map(|(what, names)| {
                let more = if names.len() > SHOWN { ", …" } else { "" };
                let shown = names[..names.len().min(SHOWN)].join(", ");
                format!("{} {what} ({shown}{more})", names.len())
            })
            .collect()
    }

    fn lists(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.shaped),
            ("of a type that cannot be read", &self.typed),
            ("otherwise in config.json", &self.config),
        ]
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {}", self.lines().join("; "))
    }
}
