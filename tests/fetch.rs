//! `sweep fetch` through the program, against a server on this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[path = "../src/fetch/download/server.rs"]
#[expect(dead_code, reason = "not every fault is met here")]
mod server;
mod program;

use server::{Fault, Plan, Server};

/// Nothing is published about what is in it.
const FILE: &str = "dinov2_vits14_reg4_pretrain.pth";
const NAME: &str = "dinov2_vits14_reg";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `sweep fetch ARGUMENTS`.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::sweep(self.folder.path());
        command.arg("fetch").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Any other verb.
    fn sweep(&self, arguments: &[&str]) -> Output {
        program::sweep(self.folder.path()).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn fetch(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn check(output: &Output, code: i32, expect: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in expect {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn content(len: u32) -> Vec<u8> {
    (0..len).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// Waits until `file` has grown to `bytes`.
fn grown(file: &std::path::Path, bytes: u64, child: &mut Child) {
    let started = Instant::now();
    while std::fs::metadata(file).map_or(0, |metadata| metadata.len()) < bytes {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        assert!(started.elapsed() < Duration::from_mins(1), "it does not download");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let bytes = content(150_000);
    let slow = Fault::Slow(20_000, Duration::from_millis(30));
    let server = Server::start(Plan::of(FILE, &bytes, vec![slow.clone(), slow.clone(), slow]));
    let bench = Bench::new();
    let arguments = [NAME, "--mirror", &server.base];
    let part = bench.path(&format!("data/weights/{FILE}.part"));
    for kill_at in [1, 200_000, 400_000] {
        let mut child = bench.command(&arguments).spawn().unwrap();
        grown(&part, kill_at, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!bench.path(&format!("data/weights/{FILE}")).exists());
    }
    check(&bench.fetch(&[]), 0, &["partial"]);
    check(&bench.fetch(&arguments), 0, &["resuming after", "no checksum is published"]);
    assert_eq!(fs_err::read(bench.path(&format!("data/weights/{FILE}"))).unwrap(), bytes);
    let asked = server.requests();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[1..].iter().all(|line| line.contains(" from ")), "{asked:?}");
    let from: u64 = asked[3].rsplit(' ').next().unwrap().parse().unwrap();
    assert!(from >= 400_000, "{asked:?}");

    // There now: found, held to what was seen first, and not asked for.
    check(&bench.fetch(&arguments), 0, &["matches the checksum of the first download"]);
    assert_eq!(server.requests().len(), 4);
    let listed = bench.fetch(&[]);
    check(&listed, 0, &["there: data/weights/", "voc", "dinov3_vitl16", "missing (gated)"]);
    fs_err::write(bench.path(&format!("data/weights/{FILE}")), "changed").unwrap();
    check(&bench.fetch(&arguments), 1, &[FILE, "sha256"]);
}

#[test]
fn weights_of_upsamplers_are_fetched_and_held_to_the_first_download() {
    let bytes = content(50_000);
    let server = Server::start(Plan::of("naf_release.pth", &bytes, vec![]));
    let bench = Bench::new();
    check(&bench.fetch(&[]), 0, &["naf_release", "Apache-2.0 (NAF)", "anyup_paper", "CC BY 4.0"]);
    let arguments = ["naf_release", "--mirror", &server.base];
    check(&bench.fetch(&arguments), 0, &["no checksum is published"]);
    let path = bench.path("data/weights/naf_release.pth");
    assert_eq!(fs_err::read(&path).unwrap(), bytes);
    check(&bench.fetch(&arguments), 0, &["matches the checksum of the first download"]);
    check(&bench.fetch(&[]), 0, &["there: data/weights/naf_release.pth"]);
    fs_err::write(&path, "changed").unwrap();
    check(&bench.fetch(&arguments), 1, &["naf_release.pth", "sha256"]);
}

#[test]
fn two_at_once_download_once() {
    let bytes = content(50_000);
    let slow = Fault::Slow(20_000, Duration::from_millis(30));
    let server = Server::start(Plan { then: slow, ..Plan::of(FILE, &bytes, vec![]) });
    let bench = Bench::new();
    let arguments = [NAME, "--mirror", &server.base];
    let start = || bench.command(&arguments).spawn().unwrap();
    for child in [start(), start(), start()] {
        check(&child.wait_with_output().unwrap(), 0, &[FILE]);
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let server = Server::start(Plan {
        files: [
            ("dinov2_vits14_pretrain.pth".to_owned(), vec![1; 88_283_115]),
            ("VOCtrainval_11-May-2012.tar".to_owned(), vec![1; 100]),
        ]
        .into(),
        ..Plan::of(FILE, b"", vec![])
    });
    let bench = Bench::new();
    let mirror = ["--mirror", &server.base];
    let fetch = |name: &str| bench.fetch(&[&[name], &mirror[..]].concat());
    // Wrong names, all at once.
    check(&bench.fetch(&["voç", "dinov2_vits14_regs"]), 2, &["voç", "did you mean", NAME]);
    check(&bench.fetch(&["voc", "--url", "https://a/b"]), 2, &["one weight file"]);
    check(&bench.fetch(&["voc", "--mirror", "nowhere"]), 2, &["https://"]);
    // Other bytes than the published ones.
    check(&fetch("dinov2_vits14"), 1, &["sha256", "b938bf1b", "dinov2_vits14_pretrain.pth"]);
    assert!(!bench.path("data/weights/dinov2_vits14_pretrain.pth").exists());
    check(&fetch("voc"), 1, &["100 bytes", "1999639040"]);
    // Not there, not reached, not writable.
    check(&fetch("ade20k"), 3, &["404", "by hand", "ADEChallengeData2016.zip"]);
    let offline = ["voc", "--mirror", "http://127.0.0.1:1"];
    let expect = ["cannot reach", "by hand: download https://", "put it into `data`"];
    check(&bench.fetch(&offline), 3, &expect);
    let offline = [NAME, "--mirror", "http://127.0.0.1:1"];
    check(&bench.fetch(&offline), 3, &["cannot reach", "by hand: download ", FILE]);
    fs_err::write(bench.path("file"), "").unwrap();
    check(&bench.fetch(&[&[NAME, "--dir", "file/x"], &mirror[..]].concat()), 3, &["file/x"]);
}

#[test]
fn gated_weights_say_how_and_take_a_link() {
    let bench = Bench::new();
    let expect = [
        "DINOv3 License",
        "https://ai.meta.com/",
        "--url",
        "data/weights/dinov3_vits16_pretrain_lvd1689m-08c60483.pth",
        "data/weights/dinov3-vits16-pretrain-lvd1689m/model.safetensors",
    ];
    check(&bench.fetch(&["dinov3_vits16"]), 3, &expect);
    check(&bench.fetch(&["acdc"]), 3, &["https://acdc.vision.ee.ethz.ch", "data/ACDC"]);
    // A link to something else.
    let server = Server::start(Plan::of("signed", &content(1000), vec![]));
    let url = format!("{}/signed?Signature=secret", server.base);
    let output = bench.fetch(&["dinov3_vits16", "--url", &url]);
    check(&output, 1, &["sha256", "08c60483", "/signed"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    let server = Server::start(Plan { then: Fault::Status(403), ..Plan::of("x", b"", vec![]) });
    let url = format!("{}/x?Signature=secret", server.base);
    check(&bench.fetch(&["dinov3_vits16", "--url", &url]), 3, &["403", "expired"]);
}

/// timm's repository of DINOv3-S with the biases.
const COPY: &str = "vit_small_patch16_dinov3_qkvb.lvd1689m";
const ACCEPT: [&str; 2] = ["--accept-licence", "dinov3"];

#[test]
fn an_accepted_licence_gets_timm_s_copy_where_weights_are_looked_for() {
    let bytes = content(50_000);
    let name = format!("timm/{COPY}/resolve/main/model.safetensors");
    let server = Server::start(Plan::of(&name, &bytes, vec![]));
    let bench = Bench::new();
    let mirror = ["dinov3_vits16", "--mirror", &server.base];
    // Not silently: the licence, where to read it, and the flag, and nothing is asked for.
    let refused = bench.fetch(&mirror);
    let page = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/";
    check(
        &refused,
        3,
        &["DINOv3 License", page, "`sweep fetch dinov3_vits16 --accept-licence dinov3`"],
    );
    let text = String::from_utf8(refused.stderr).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("DINOv3 License") && first.contains(page), "{first}");
    assert!(first.contains("--accept-licence dinov3"), "{first}");
    assert_eq!(server.requests(), [""; 0]);
    check(&bench.fetch(&["dinov3_vits16", "--accept-licence", "mine"]), 2, &["`dinov3`"]);
    check(&bench.fetch(&[]), 0, &["missing (timm's copy; --accept-licence dinov3)"]);

    let accepted = [&mirror[..], &ACCEPT].concat();
    let target = format!("data/weights/{COPY}/model.safetensors");
    check(&bench.fetch(&accepted), 0, &[&target, "no checksum is published"]);
    assert_eq!(fs_err::read(bench.path(&target)).unwrap(), bytes);
    let note = fs_err::read_to_string(bench.path(&format!("data/weights/{COPY}/LICENCE.txt")));
    let note = note.unwrap();
    assert!(note.contains(page) && note.contains(COPY), "{note}");
    check(&bench.fetch(&[]), 0, &[&format!("there: {target} (timm's copy)")]);

    // There now: held to what was seen first, with or without the flag, and not asked for again.
    check(&bench.fetch(&mirror), 0, &["matches the checksum of the first download"]);
    assert_eq!(server.requests().len(), 1);
    fs_err::write(bench.path(&target), "changed").unwrap();
    check(&bench.fetch(&accepted), 1, &[&target, "sha256"]);
}

#[test]
fn a_weight_folder_that_is_served_is_a_mirror_too() {
    let bytes = content(1000);
    let name = format!("{COPY}/model.safetensors");
    let server = Server::start(Plan::of(&name, &bytes, vec![]));
    let bench = Bench::new();
    let fetch = [&["dinov3_vits16", "--mirror", &server.base][..], &ACCEPT].concat();
    check(&bench.fetch(&fetch), 0, &[&name]);
    // Far larger than the weights can be.
    let then = Fault::LongLength(500 << 20);
    let server = Server::start(Plan { then, ..Plan::of(&name, &bytes, vec![]) });
    let fetch = [&["dinov3_vits16", "--mirror", &server.base, "--dir", "d"][..], &ACCEPT].concat();
    check(&bench.fetch(&fetch), 1, &["another file"]);
}

/// An experiment without any of what it needs.
fn experiment(bench: &Bench, model: &str) -> PathBuf {
    let path = bench.path("x.toml");
    let text = format!("{model}\n[data]\nkind = 'voc'\n[eval]\ncorruption = {{ suite = 'none' }}");
    fs_err::write(&path, text).unwrap();
    path
}

#[test]
fn what_an_experiment_lacks_is_one_line_to_copy() {
    let bench = Bench::new();
    let experiment = experiment(&bench, "size = 'small'\nregisters = true");
    for verb in ["plan", "run"] {
        let output = bench.sweep(&[verb, experiment.to_str().unwrap()]);
        let expect = "sweep fetch voc dinov2_vits14_reg (";
        check(&output, 3, &[expect, "GiB", "Apache-2.0", "VOC's own terms"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.lines().last().unwrap().contains(expect), "{text}");
    }
    let wrong = bench.sweep(&["run", experiment.to_str().unwrap(), "--accept-licence", "dinov3"]);
    check(&wrong, 2, &["`--fetch`"]);
}

#[test]
fn run_fetches_what_is_missing_but_accepts_no_licence_silently() {
    let server = Server::start(Plan::of(FILE, &content(1000), vec![]));
    let bench = Bench::new();
    let x = experiment(&bench, "dino_type = 'dinov3'\nsize = 'small'");
    let run = ["run", x.to_str().unwrap(), "--fetch", "--mirror", &server.base];
    let expect = ["voc: ", "404", "--accept-licence dinov3", "could be fetched"];
    check(&bench.sweep(&run), 3, &expect);
    assert!(server.requests().iter().all(|line| line.contains("VOC")), "{:?}", server.requests());
    let accepted = [&run[..], &ACCEPT].concat();
    check(&bench.sweep(&accepted), 3, &["404"]);
    assert!(server.requests().iter().any(|line| line.contains(COPY)), "{:?}", server.requests());
}

#[test]
fn proxies_of_the_environment_are_asked() {
    // It does not know `CONNECT`, but it was asked.
    let server = Server::start(Plan { then: Fault::Status(405), ..Plan::of("x", b"", vec![]) });
    let bench = Bench::new();
    let mut command = bench.command(&[NAME, "--mirror", "http://nowhere.invalid"]);
    let output = command.env("HTTP_PROXY", &server.base).output().unwrap();
    check(&output, 3, &["proxy"]);
    assert!(server.requests()[0].contains("nowhere.invalid"), "{:?}", server.requests());
}
