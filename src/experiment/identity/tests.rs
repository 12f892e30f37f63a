//! Ids that must not change, and what may change them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::experiment::tests::load_with;
use crate::experiment::{WeightsFile, keys};
use crate::train::Recipe;

fn spec_with(toml: &str, set: &[&str]) -> RunSpec {
    let (experiment, _) = load_with(toml, &[], set).unwrap();
    assert_eq!(experiment.cells.len(), 1);
    experiment.cells[0].spec.clone()
}

fn facts_of(spec: &RunSpec) -> Facts {
    let weights = !matches!(spec.weights, WeightsConfig::Random {});
    Facts {
        data_root: PathBuf::from("/data/VOC2012"),
        n_classes: 21,
        classes: vec![],
        train_fingerprint: "train-1".to_owned(),
        sets: vec![set("val", "voc/val", "val-1")],
        weights: weights.then(|| WeightsFile {
            path: PathBuf::from("/weights/a.pth"),
            sha256: "ab".repeat(32),
        }),
        input_px: input_px(spec),
        frost: None,
        init: None,
    }
}

fn set(split: &str, name: &str, fingerprint: &str) -> SetFacts {
    SetFacts {
        set: split.into(),
        name: name.to_owned(),
        root: PathBuf::from("/data/VOC2012"),
        fingerprint: fingerprint.to_owned(),
    }
}

fn id_of(spec: &RunSpec) -> RunId {
    run_id(spec, &facts_of(spec))
}

fn suite() -> SuiteRef {
    let corruptions = vec!["fog".to_owned(), "contrast".to_owned()];
    SuiteRef { label: "imagenet-c-first8 v1".to_owned(), corruptions }
}

/// Everything that has an effect is set to something, so that changing it can be seen.
const FULL: &str = "
    seed = 7
    [model]
    dino_type = 'dinov2'
    size = 'base'
    [weights]
    kind = 'file'
    path = 'a.pth'
    [tune]
    kind = 'lora'
    rank = 4
    [decoder]
    kind = 'fpn'
    [data]
    kind = 'voc'
    [train]
    dev.fraction = 0.25
";

/// A change here orphans every result that anyone has: it needs a reason.
#[test]
fn golden_ids_do_not_change() {
    let ids = |toml: &str| {
        let spec = spec_with(toml, &[]);
        let facts = facts_of(&spec);
        let run = run_id(&spec, &facts);
        let scores = score_requests(&spec, &facts, &run, Some(&suite()));
        format!("{run} clean {} fog {}", scores[0].score, scores[1].score)
    };
    insta::assert_snapshot!(ids(""), @"f0f7bcbdb97b90aa clean b2568990d6d0f9e8 fog 1924c6eb505dd087");
    insta::assert_snapshot!(ids(FULL), @"5d8ca86aa2a8ba07 clean 341f19edab6b1261 fog 73f3f786e267efb1");
    insta::assert_snapshot!(ids("recipe = 'reference'"), @"11079335006f183a clean d2b6bb17c363652e fog 1fd8b3ba73645507");
    insta::assert_snapshot!(ids("size = 'tiny'\nweights = 'random'\ndata = 'shapes'"), @"77d8837ea5a2a862 clean 5f2b4834c99e6406 fog 6988fefb398e58e3");
    let huge = "backbone = 'dinov3_vith16plus'\nlora_rank = 9\nsteps = 40_000";
    insta::assert_snapshot!(ids(huge), @"7a136a4ec9e31384 clean 7f31ebc349475e54 fog 6a2ba69ccd8d685b");
    insta::assert_snapshot!(ids("tune = 'full'\ndecoder = 'fpn'\ndata = 'ade20k'"), @"fc78f0240cf83411 clean a096388c0579fd88 fog 9ea17568573d67b4");
    insta::assert_snapshot!(ids("px = 518\nseverities = [3]"), @"78338d503573e1ca clean bd11bf0ea2e11d34 fog b6f38f3376ac1e8b");
}

#[test]
fn the_identity_is_what_it_says() {
    let spec = spec_with(FULL, &[]);
    let identity = crate::id::canonical_json(&run_identity(&spec, &facts_of(&spec)));
    insta::assert_snapshot!(identity.replace(&"ab".repeat(32), "<sha256>"), @r#"{"data":{"kind":"voc","train":"train-1"},"decoder":{"channels":128,"kind":"fpn"},"model":{"dino_type":"dinov2","registers":true,"size":"base"},"numerics":1,"seed":7,"train":{"batch_size":16,"dev":{"fraction":0.25,"seed":0,"validate_every":1},"epochs":50,"flip":0.5,"input_px":[448,448],"lr":0.001,"lr_encoder":0.0002,"normalise":"backbone","precision":"f32","schedule":{"kind":"cosine","warmup_percent":4},"void_label":"ignore","weight_decay":0.05},"tune":{"alpha":4,"kind":"lora","rank":4,"targets":["q","v"]},"weights":"<sha256>"}"#);
}

#[test]
fn other_pretraining_is_another_run() {
    let id = |set: &str| id_of(&spec_with("backbone = 'dinov3_vitl16'", &[set]));
    assert_eq!(id("pretraining=lvd1689m"), id("seed=0"));
    assert_ne!(id("pretraining=sat493m"), id("seed=0"));
}

/// (`--set` on [`FULL`], whether the run's id changes); every key of a run is here.
const CHANGES: &[(&str, bool)] = &[
    ("seed=8", true),
    ("model.dino_type=dinov3", true),
    ("model.size=large", true),
    ("model.registers=false", true),
    // Without effect for DINOv2, which has one only.
    ("model.pretraining=lvd1689m", false),
    ("weights.kind=random", true),
    ("weights.kind=pretrained", false),
    ("weights.path=b.pth", false),
    ("tune.kind=full", true),
    ("tune.rank=5", true),
    ("tune.alpha=2", true),
    ("tune.alpha=4", false),
    ("tune.targets=['q']", true),
    ("tune.targets=['v', 'q']", false),
    ("tune.targets=['all']", true),
    ("tune.scaling=rslora", true),
    ("tune.scaling=standard", false),
    ("tune.dropout=0.1", true),
    ("tune.dropout=0", false),
    ("tune.blocks=[0, 11]", false),
    ("tune.blocks=[6, 11]", true),
    ("decoder.kind=linear", true),
    ("decoder.channels=64", true),
    ("decoder.channels=128", false),
    ("decoder.kind=fpn_reference", true),
    ("decoder.layers=4", false),
    ("decoder.dropout=0.5", false),
    ("data.kind=ade20k", true),
    ("data.root=/elsewhere", false),
    // By their fingerprints.
    ("data.train=trainval", false),
    (
        "data={ kind = 'folder', root = 'r', images = 'i/{stem}.*', masks = 'm/{stem}.png', \
      classes = ['a'], fractions = { train = 0.5 } }",
        true,
    ),
    ("data={ kind = 'shapes', n_train = 3, n_val = 4, side_px = 64, seed = 1 }", true),
    ("train.recipe=reference", true),
    ("train.epochs=51", true),
    ("train.steps=50", true),
    ("train.batch_size=8", true),
    ("train.lr=2e-3", true),
    ("train.lr_encoder=2e-3", true),
    ("train.weight_decay=0", true),
    ("train.schedule.kind=constant", true),
    ("train.schedule.warmup_percent=5", true),
    ("train.transform.kind=squash", false),
    ("train.transform.kind=crop", true),
    // Without effect unless images are cropped.
    ("train.transform.short_side=512", false),
    ("train.transform.scale=[1.0, 1.5]", false),
    ("train.transform.max_class=0.5", false),
    ("train.flip=0", true),
    ("train.photometric=true", true),
    ("train.photometric=false", false),
    ("train.input.tokens=16", true),
    ("train.input.px=448", false),
    ("train.input.px=450", false),
    ("train.input.px=462", true),
    ("train.normalise=none", true),
    ("train.void_label=background", true),
    ("train.dev.fraction=0.5", true),
    ("train.dev.seed=1", true),
    ("train.precision=f32", false),
    ("train.precision=bf16", true),
    // What is best on `dev` is only looked for where it is validated.
    ("train.validate_every=2", true),
    ("eval.sets=['val', 'train']", false),
    ("eval.mode.kind=whole", false),
    ("eval.mode={ kind = 'slide', crop = 512, stride = 341 }", false),
    ("eval.tta.flip=true", false),
    ("eval.tta.scales=[1.0, 2.0]", false),
    ("eval.corruption.suite=none", false),
    ("eval.corruption.severities=[1]", false),
    ("eval.select=best", false),
    ("schedule.jobs=4", false),
    ("schedule.threads=4", false),
    ("schedule.devices=cpu", false),
    ("schedule.activations=recompute", false),
    ("schedule.pictures=4", false),
];

#[test]
fn every_key_with_an_effect_changes_the_run_and_no_other_does() {
    let id = id_of(&spec_with(FULL, &[]));
    for (set, changes) in CHANGES {
        let spec = spec_with(FULL, &[set]);
        assert_eq!(id_of(&spec) != id, *changes, "{set}");
    }
}

#[test]
fn keys_without_effect_do_not_change_a_run() {
    let check = |base: &str, set: &str| {
        let changed = spec_with(base, &[set]);
        assert_eq!(id_of(&spec_with(base, &[])), id_of(&changed), "{base} {set}");
    };
    check("", "train.lr_encoder=2e-3");
    check("", "train.dev.seed=4");
    check("", "train.validate_every=7");
    check("dino_type = 'dinov3'", "registers=false");
    check("train.schedule = 'constant'", "recipe=modern");
    let all = "lora_rank = 2\nlora_targets = ['q', 'k', 'v', 'proj', 'fc1', 'fc2']";
    check(all, "tune.targets=['all']");
    check(all, "tune.targets=['fc1', 'all']");
}

#[test]
fn a_crop_is_its_resolved_keys() {
    let id = |set: &[&str]| id_of(&spec_with("px = [448, 462]\ntransform = 'crop'", set));
    let check = |set: &str, changes: bool| assert_eq!(id(&[set]) != id(&[]), changes, "{set}");
    check("transform.short_side=448", false);
    check("transform.short_side=462", true);
    check("transform.scale=[0.5, 2]", false);
    check("transform.scale=[0.5, 1.5]", true);
    check("transform.max_class=0.75", false);
    check("transform.max_class=1", true);
    check("photometric=true", true);
    let spec = spec_with("transform = 'crop'", &[]);
    let identity = run_identity(&spec, &facts_of(&spec));
    let expect =
        json!({ "kind": "crop", "short_side": 448, "scale": [0.5, 2.0], "max_class": 0.75 });
    assert_eq!(identity["train"]["transform"], expect);
    assert_eq!(identity["train"].get("photometric"), None);
}

#[test]
fn a_recipe_is_the_same_as_its_keys_written_out_in_any_order() {
    let written =
        |key: &keys::Key| Some(format!("{} = {}", key.name, key.recipe_value(Recipe::Reference)?));
    let mut lines: Vec<_> = keys::all().filter_map(written).collect();
    let recipe = id_of(&spec_with("recipe = 'reference'", &[]));
    assert_eq!(id_of(&spec_with(&lines.join("\n"), &[])), recipe);
    lines.reverse();
    assert_eq!(id_of(&spec_with(&lines.join("\n"), &[])), recipe);
}

#[test]
fn fingerprints_change_a_run_and_places_do_not() {
    let spec = spec_with(FULL, &[]);
    let check = |change: fn(&mut Facts), changes: bool| {
        let mut facts = facts_of(&spec);
        change(&mut facts);
        assert_eq!(run_id(&spec, &facts) != id_of(&spec), changes, "{facts:?}");
    };
    check(|facts| facts.train_fingerprint = "train-2".to_owned(), true);
    check(|facts| facts.weights.as_mut().unwrap().sha256 = "cd".repeat(32), true);
    check(|facts| facts.input_px = [448, 462], true);
    check(|facts| facts.sets.clear(), false);
    check(|facts| facts.data_root = PathBuf::from("/elsewhere"), false);
    check(|facts| facts.weights.as_mut().unwrap().path = PathBuf::from("/b"), false);
}

#[test]
fn scores_are_clean_first_then_corruption_by_severity_for_each_set() {
    let toml = "severities = [5, 1]\nsets = ['val', 'test']";
    let spec = spec_with(toml, &[]);
    let mut facts = facts_of(&spec);
    facts.sets.push(set("test", "voc/test", "test-1"));
    let run = run_id(&spec, &facts);
    let requests = score_requests(&spec, &facts, &run, Some(&suite()));
    let line = |request: &ScoreRequest| format!("{} {}", request.set, request.condition);
    let lines: Vec<_> = requests.iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    voc/val clean
    voc/val fog 1
    voc/val fog 5
    voc/val contrast 1
    voc/val contrast 5
    voc/test clean
    voc/test fog 1
    voc/test fog 5
    voc/test contrast 1
    voc/test contrast 5
    ");
    insta::assert_snapshot!(requests[0].protocol, @"whole 448x448, label size, last, ref-metric batch 16");
    assert_eq!(requests[0].suite, None);
    assert_eq!(requests[1].suite.as_deref(), Some("imagenet-c-first8 v1"));
    let ids: BTreeSet<_> = requests.iter().map(|request| &request.score).collect();
    assert_eq!(ids.len(), requests.len());
    let clean = spec_with("suite = 'none'\nsets = ['val', 'test']", &[]);
    let clean = score_requests(&clean, &facts, &run, Some(&suite()));
    assert_eq!(clean.len(), 2);
    assert_eq!(clean[0].score, requests[0].score);
    assert_eq!(score_requests(&spec, &facts, &run, None).len(), 2);
}

#[test]
fn frost_from_other_textures_is_another_score() {
    let spec = spec_with("", &[]);
    let facts = facts_of(&spec);
    let run = run_id(&spec, &facts);
    let id = |name: &str| {
        let suite = SuiteRef { label: "s v1".to_owned(), corruptions: vec![name.to_owned()] };
        score_requests(&spec, &facts, &run, Some(&suite)).remove(1).score.to_string()
    };
    insta::assert_snapshot!(id("frost"), @"6d1ba2ca062b81c2");
    insta::assert_snapshot!(id("frost*"), @"1966fc95dd6c5005");
}

#[test]
fn suites_share_scores_and_protocols_do_not() {
    let scores = |toml: &str, name: &str| -> BTreeSet<ScoreId> {
        let spec = spec_with(toml, &[]);
        let facts = facts_of(&spec);
        let suite = SuiteRef { label: name.to_owned(), ..suite() };
        let run = RunId::of(&json!("the same run"));
        let requests = score_requests(&spec, &facts, &run, Some(&suite));
        requests.into_iter().map(|request| request.score).collect()
    };
    let base = scores("", "a v1");
    assert_eq!(base, scores("", "b v2"));
    let more = scores("severities = [1, 5]", "a v1");
    assert!(base.is_subset(&more) && more.len() == 5);
    let slide = "eval.mode = { kind = 'slide', crop = 512, stride = 341 }";
    let others = ["train.dev.fraction = 0.1\nselect = 'best'", "batch_size = 3", "px = 308", slide];
    for other in others.into_iter().chain(["eval.tta.flip = true", "eval.tta.scales = [2.0]"]) {
        assert!(base.is_disjoint(&scores(other, "a v1")), "{other}");
    }
}

#[test]
fn the_short_side_of_a_slide_is_its_crop_unless_given() {
    let score = |mode: &str| {
        let spec = spec_with(&format!("suite = 'none'\neval.mode = {mode}"), &[]);
        let run = RunId::of(&json!("the same run"));
        score_requests(&spec, &facts_of(&spec), &run, None)[0].clone()
    };
    let base = score("{ kind = 'slide', crop = 512, stride = 341 }");
    let same = score("{ kind = 'slide', crop = 512, stride = 341, short_side = 512 }");
    let other = score("{ kind = 'slide', crop = 512, stride = 341, short_side = 640 }");
    assert_eq!(base.score, same.score);
    assert_ne!(base.score, other.score);
    insta::assert_snapshot!(other.protocol, @"slide 512/341 at short side 640, label size, last, ref-metric batch 16");
}

#[test]
fn what_changed_is_named_by_its_key() {
    let before = json!({ "data": 1, "seed": 2, "tune": 3 });
    let now = json!({ "data": 2, "seed": 2, "weights": 3 });
    assert_eq!(Vec::from_iter(changed(&before, &now)), ["data", "tune", "weights"]);
}
