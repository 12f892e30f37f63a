#!/usr/bin/env python3
"""Counts the files that each kind of addition touches: a decoder, a backbone, a corruption, and so on.

Run from the repository root: `python3 scripts/additions.py`. Each addition is made to a copy of the
working tree, below the target folder, where `cargo check` must take it; git counts the files. All of
them together must pass `cargo check --all-targets`. Ends with 1, and the table, where one touches
more files than it may or does not compile, or where the tree no longer has the line that it stands
beside: then the addition is to be updated here.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Addition:
    """What somebody who adds one thing writes."""

    name: str
    # Files that it may touch, and which.
    limit: int
    where: str
    # New files: path -> text.
    new: dict = field(default_factory=dict)
    # Lines that are put behind one that is there: (path, that line, new lines).
    behind: list = field(default_factory=list)


DECODER = Addition(
    "decoder",
    2,
    "its file and a line of src/model/decoder/mod.rs",
    {
        "src/model/decoder/dummy.rs": '''\
//! Class logits of the last layer's normed patch tokens, without a bias.

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::head::{Head, Sizes, to_map};
use crate::kernel::loss::cross_entropy;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Nothing can be chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// A product.
#[derive(Debug, Clone)]
pub struct Dummy {
    classifier: linear::Linear,
}

impl Head for Dummy {
    type Config = Config;
    type Output = Tensor<4>;

    fn label(_: &Config) -> String {
        "dummy decoder".to_owned()
    }

    fn layers(_: &Config) -> usize {
        1
    }

    fn new(_: &Config, Sizes { dim, n_classes }: Sizes, _: u64, device: &Device) -> Self {
        Self { classifier: linear::Linear::zeros(dim, n_classes, linear::Bias::No, device) }
    }

    fn forward(&mut self, features: &Features, _: Mode) -> Tensor<4> {
        let tokens = features.patches.last().expect("the last layer was asked for").clone();
        to_map(self.classifier.forward(tokens), features.grid)
    }

    fn loss(&self, logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
        cross_entropy(logits, labels)
    }

    fn predict(&self, logits: Tensor<4>) -> Tensor<4> {
        logits
    }
}

impl Params for Dummy {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        let [dim, n_classes] = self.classifier.weight.dims();
        let shape = [n_classes, dim, 1, 1];
        f(&format!("{path}classifier.weight"), Slot::Kernel(&mut self.classifier.weight, shape));
    }
}
''',
    },
    [
        ("src/model/decoder/mod.rs", "pub mod linear;", "pub mod dummy;"),
        ("src/model/decoder/mod.rs", "    Linear = linear,", "    /// A product.\n    Dummy = dummy,"),
    ],
)

BACKBONE = Addition(
    "backbone row",
    1,
    "a row of src/model/backbone/dinov2.rs",
    behind=[
        (
            "src/model/backbone/dinov2.rs",
            "pub const VARIANTS: &[Variant] = &[",
            '''\
    variant(
        &Row {
            names: ["dinov2_dummy14", "dinov2_dummy14_reg"],
            size: "dummy",
            letter: "D",
            dims: [128, 6, 4],
            ffn: Ffn::Mlp { hidden: 512 },
            files: [&[], &[]],
            folders: [&[], &[]],
            timm: [&[], &[]],
            sha256: "",
            bytes: None,
            params: [1, 1],
        },
        0,
    ),''',
        )
    ],
)

CORRUPTION = Addition(
    "corruption",
    2,
    "its file, and in src/corrupt/mod.rs a row, a variant and what it calls",
    {
        "src/corrupt/dummy.rs": '''\
//! The negative of an image.

use crate::data::Rgb;

pub(super) fn dummy(image: &Rgb) -> Rgb {
    Rgb { pixels: image.pixels.iter().map(|level| 255 - level).collect(), ..*image }
}
''',
    },
    [
        ("src/corrupt/mod.rs", "mod draw;", "mod dummy;"),
        ("src/corrupt/mod.rs", "    Saturate,", "    Dummy,"),
        (
            "src/corrupt/mod.rs",
            '    row(Corruption::Saturate, "saturate", Family::Digital),',
            '    row(Corruption::Dummy, "dummy", Family::Digital),',
        ),
        (
            "src/corrupt/mod.rs",
            "        Corruption::Saturate => digital::saturate(image, severity),",
            "        Corruption::Dummy => dummy::dummy(image),",
        ),
    ],
)

FORMAT = Addition(
    "report format",
    2,
    "its file and a line of src/report/render/mod.rs",
    {
        "src/report/render/dummy.rs": '''\
//! The number of a table's rows.

use super::Written;
use crate::report::model::table::{Columns, Table};

pub(super) const WRITTEN: Written = Written::As("dummy");

pub(super) fn render(table: &Table, _: Columns) -> String {
    format!("{}\\n", table.rows.len())
}
''',
    },
    [
        ("src/report/render/mod.rs", "mod json;", "mod dummy;"),
        ("src/report/render/mod.rs", "    Json = json,", "    /// A number.\n    Dummy = dummy,"),
    ],
)

KEY = Addition(
    "spec key",
    2,
    "an entry in src/experiment/keys/train.rs; and the code that uses it, here one file",
    behind=[
        (
            "src/experiment/keys/train.rs",
            "    keys: &[",
            '''\
        Key::new("train.dummy", Type::Int { min: 0, max: 9 }, "A number.")
            .alias(&["dummy"])
            .default("0")
            .run(PLAIN.since("0"))
            .examples(["0", "1"]),''',
        ),
        (
            "src/train/config.rs",
            "pub struct Config {",
            "    /// A number; 0 in runs of before it existed.\n    #[serde(default)]\n    pub dummy: u32,",
        ),
    ],
)

DATASET = Addition(
    "dataset kind",
    2,
    "its file and a line of src/data/dataset/mod.rs",
    {
        "src/data/dataset/dummy.rs": '''\
//! A folder without images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{Kind, Layout, Listing, Opened, Place};
use super::place::Usual;
use crate::data::Error;
use crate::data::split::Labels;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DummyConfig {
    #[serde(default)]
    pub root: Option<PathBuf>,
}

const USUAL: Usual = Usual { title: "Dummy", folder: "dummy", parts: &[], advice: "make one" };

#[derive(Debug)]
struct DummyLayout;

impl Kind for DummyConfig {
    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
        USUAL.find(self.root.as_deref(), data_dirs)
    }

    fn open(&self, root: &Path) -> Result<Opened, Error> {
        USUAL.check(root)?;
        Ok(Opened { classes: vec!["all".to_owned()], layout: Arc::new(DummyLayout) })
    }
}

impl Layout for DummyLayout {
    fn list(&self, _: &Path, _: &str) -> Result<Listing, Error> {
        Ok(Listing::new(Vec::new(), Labels::FromOne))
    }

    fn splits(&self, _: &Path) -> Result<Vec<String>, Error> {
        Ok(vec!["train".to_owned()])
    }

    fn places(&self, _: &Path, _: &str) -> Result<Vec<Place>, Error> {
        Ok(Vec::new())
    }
}
''',
    },
    [
        ("src/data/dataset/mod.rs", "pub mod voc;", "pub mod dummy;"),
        ("src/data/dataset/mod.rs", "kinds! {", '    "dummy" => Dummy(dummy::DummyConfig),'),
    ],
)

UPSAMPLER = Addition(
    "upsampling method",
    2,
    "its file and a line of src/upsample/mod.rs",
    {
        "src/upsample/dummy.rs": '''\
//! Zeros.

use std::ops::Range;

use super::{Error, Map, Method, Prepared, Task, Upsampler};

pub(super) const METHOD: Method = Method {
    name: "dummy",
    title: "zeros",
    mark: None,
    is_beside: |_| false,
    takes_kernel: false,
    build: |_, _| Box::new(Dummy),
};

struct Dummy;

struct Zeros(usize, [usize; 2]);

impl Upsampler for Dummy {
    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        Ok(Box::new(Zeros(task.features.channels(), task.size)))
    }
}

impl Prepared for Zeros {
    fn channels(&self) -> usize {
        self.0
    }

    fn size(&self) -> [usize; 2] {
        self.1
    }

    fn rows(&self, range: Range<usize>) -> Map {
        Map::zeros(self.0, [range.len(), self.1[1]])
    }
}
''',
    },
    [
        ("src/upsample/mod.rs", "mod naf;", "mod dummy;"),
        ("src/upsample/mod.rs", "    &naf::METHOD,", "    &dummy::METHOD,"),
    ],
)

ADDITIONS = [DECODER, BACKBONE, CORRUPTION, FORMAT, KEY, DATASET, UPSAMPLER]


class Moved(Exception):
    """The error of an addition that no longer fits the code."""


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
    # Always the same place: cargo finds again what it knows of the copy.
    tree = target / "additions"
    copy(tree)
    try:
        rows = [tried(addition, tree, target) for addition in ADDITIONS]
        together = [row.addition for row in rows if row.compiles]
        for addition in together:
            make(addition, tree)
        error = check(tree, target, ["--all-targets"])
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    show(rows)
    print(f"\n{len(together)} together, with tests and benches: {'do not compile' if error else 'ok'}")
    if error:
        print(error, file=sys.stderr)
    return 1 if error or any(row.verdict != "ok" for row in rows) else 0


@dataclass
class Row:
    """The result of one addition."""

    addition: Addition
    verdict: str
    n_files: int = 0
    seconds: float = 0
    compiles: bool = False


def tried(addition, tree, target):
    """Makes the addition, checks which files it touches and that it compiles, and undoes it."""
    start = time.monotonic()
    try:
        make(addition, tree)
        touched = files_touched(tree)
        error = check(tree, target, ["--lib", "--bins"])
    except Moved as moved:
        return Row(addition, f"no longer fits the code: {moved}; update scripts/additions.py")
    finally:
        git(tree, "reset", "--quiet")
        git(tree, "checkout", "--quiet", "--", ".")
        git(tree, "clean", "--quiet", "-d", "--force")
    verdict = "ok"
    if len(touched) > addition.limit:
        verdict = f"touches more than {addition.where}: {', '.join(touched)}"
    if error:
        verdict = "does not compile"
        print(f"{addition.name}:\n{error}", file=sys.stderr)
    return Row(addition, verdict, len(touched), time.monotonic() - start, not error)


def copy(tree):
    """Copies the working tree's files into `tree`, as one commit of a repository of its own."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            to = tree / name
            to.parent.mkdir(parents=True, exist_ok=True)
            # With its time: cargo need not compile anew what is as it was.
            shutil.copy2(ROOT / name, to)
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    who = ["-c", "user.name=additions", "-c", "user.email=additions@localhost"]
    git(tree, *who, "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "before")


def make(addition, tree):
    for name, text in addition.new.items():
        if (tree / name).exists():
            raise Moved(f"`{name}` already exists")
        if not (tree / name).parent.is_dir():
            raise Moved(f"the folder of `{name}` does not exist")
        (tree / name).write_text(text)
    for name, line, lines in addition.behind:
        text = (tree / name).read_text() if (tree / name).is_file() else ""
        if text.split("\n").count(line) != 1:
            raise Moved(f"`{name}` must have the line `{line.strip()}` exactly once")
        (tree / name).write_text(f"\n{text}".replace(f"\n{line}\n", f"\n{line}\n{lines}\n")[1:])


def files_touched(tree):
    git(tree, "add", "--all")
    return git(tree, "diff", "--cached", "--name-only").split()


def check(tree, target, what):
    """Cargo's errors; empty where it compiles."""
    command = ["cargo", "check", "--release", "--locked", "--quiet", "--message-format", "short", *what]
    env = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_TERM_COLOR": "never"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    return done.stderr[-4000:] if done.returncode else ""


def git(folder, *args):
    command = ["git", "-C", str(folder), *args]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def show(rows):
    print("| a new … | files | allowed | check | |\n|---|--:|--:|--:|---|")
    for row in rows:
        name, limit = row.addition.name, row.addition.limit
        print(f"| {name} | {row.n_files} | {limit} | {row.seconds:.0f} s | {row.verdict} |")


if __name__ == "__main__":
    sys.exit(main())
