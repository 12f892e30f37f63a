//! What a run and a score *are*: the JSON behind their ids.
//!
//! Two rules keep ids stable. A value is resolved before it is written down (`auto` is `f32`, sizes
//! are pixels, alpha is a number), and what has no effect is left out (the encoder's rate of a
//! frozen encoder). And a field that did not exist when ids were first given is left out while it
//! has the value that it had before it existed: write such fields with `since`. The golden ids
//! in the tests hold this.

use serde_json::{Map, Value, json};

use super::check::{input_px, is_frozen, name_of};
use super::{Facts, RunSpec, ScoreRequest, SuiteRef};
use crate::data::corrupt::Effect;
use crate::data::dataset;
use crate::eval::{EVAL_NUMERICS, Mode};
use crate::id::{RunId, ScoreId};
use crate::model::{self, DinoType, TuneConfig, WeightsConfig};
use crate::train::{self, Precision, TRAIN_NUMERICS};

/// The suite that asks for clean scores only.
const NO_SUITE: &str = "none";

/// Everything that changes the trained weights, as the JSON whose hash is the run's id.
///
/// Not in it: paths, devices, threads, `schedule`, `eval`, the recipe's name. `validate_every` is
/// in it only where a `dev` part is held out, because there it decides what the best checkpoint
/// is.
pub fn run_identity(spec: &RunSpec, facts: &Facts) -> Value {
    let weights = match (&spec.weights, &facts.weights) {
        (WeightsConfig::Random {}, _) => json!("random"),
        (_, Some(file)) => json!(file.sha256),
        // No run can have this id: the file is found and hashed before anything is planned.
        (_, None) => json!("missing"),
    };
    let data = json!({ "kind": kind_name(&spec.data), "train": facts.train_fingerprint });
    identity(spec, &weights, &data, facts.input_px)
}

pub fn run_id(spec: &RunSpec, facts: &Facts) -> RunId {
    RunId::of(&run_identity(spec, facts))
}

/// What a spec alone says of a run's results: cells with equal values come out the same.
pub(super) fn effective(spec: &RunSpec) -> Value {
    let plain = |value: serde_json::Result<Value>| value.expect("a spec is plain data");
    let weights = plain(serde_json::to_value(&spec.weights));
    let data = plain(serde_json::to_value(&spec.data));
    let mut value = identity(spec, &weights, &data, input_px(spec));
    let mut eval = plain(serde_json::to_value(&spec.eval));
    eval["corruption"]["severities"] = json!(severities(spec));
    value["eval"] = eval;
    value
}

fn identity(spec: &RunSpec, weights: &Value, data: &Value, input_px: [u32; 2]) -> Value {
    json!({
        "seed": spec.seed,
        "model": model_identity(spec.model),
        "weights": weights,
        "tune": tune_identity(&spec.tune),
        "decoder": plain_json(&spec.decoder),
        "data": data,
        "train": train_identity(spec, input_px),
        "numerics": TRAIN_NUMERICS,
    })
}

fn model_identity(model: model::Config) -> Value {
    let mut fields = Map::new();
    fields.insert("dino_type".to_owned(), plain_json(&model.dino_type));
    fields.insert("size".to_owned(), plain_json(&model.size));
    if model.dino_type == DinoType::Dinov2 {
        fields.insert("registers".to_owned(), json!(model.registers));
    }
    fields.into()
}

fn tune_identity(tune: &TuneConfig) -> Value {
    match tune {
        TuneConfig::Frozen {} => json!({ "kind": "frozen" }),
        TuneConfig::Full {} => json!({ "kind": "full" }),
        TuneConfig::Lora(lora) => {
            let alpha = lora.alpha.unwrap_or_else(|| f64::from(lora.rank.get()));
            let mut targets: Vec<_> = lora.targets.iter().map(|target| name_of(*target)).collect();
            targets.sort();
            json!({ "kind": "lora", "rank": lora.rank, "alpha": alpha, "targets": targets })
        }
    }
}

fn train_identity(spec: &RunSpec, input_px: [u32; 2]) -> Value {
    // Taken apart in full, so that a new key does not compile until its place here is decided.
    let train::Config {
        recipe: _,
        epochs,
        steps,
        batch_size,
        lr,
        lr_encoder,
        weight_decay,
        schedule,
        flip,
        input: _,
        normalise,
        void_label,
        dev,
        precision,
        validate_every,
    } = spec.train;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(epochs) = epochs {
        put("epochs", json!(epochs));
    }
    if let Some(steps) = steps {
        put("steps", json!(steps));
    }
    put("batch_size", json!(batch_size));
    put("lr", json!(lr));
    if !is_frozen(spec) {
        put("lr_encoder", json!(lr_encoder));
    }
    put("weight_decay", json!(weight_decay));
    put("schedule", plain_json(&schedule));
    put("flip", json!(flip));
    put("input_px", json!(input_px));
    put("normalise", plain_json(&normalise));
    put("void_label", plain_json(&void_label));
    if dev.fraction > 0.0 {
        let (fraction, seed) = (dev.fraction, dev.seed);
        put("dev", json!({ "fraction": fraction, "seed": seed, "validate_every": validate_every }));
    }
    put("precision", json!(precision_name(precision)));
    fields.into()
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Auto | Precision::F32 => "f32",
    }
}

/// Writes a field that came after the first ids, unless it has the value that was the only one
/// before: old runs keep their ids.
#[cfg_attr(not(test), expect(dead_code, reason = "the first ids are not given yet"))]
fn since(fields: &mut Map<String, Value>, name: &str, value: Value, before: &Value) {
    if value != *before {
        fields.insert(name.to_owned(), value);
    }
}

/// How a score is made, in one line for tables.
pub fn protocol_line(spec: &RunSpec, facts: &Facts) -> String {
    let Mode::Whole {} = spec.eval.mode;
    let [height, width] = facts.input_px;
    format!(
        "whole {height}x{width}, label size, {}, ref-metric batch {}",
        name_of(spec.eval.select),
        spec.train.batch_size
    )
}

/// The scores that a run is asked for: for each set clean first, then each corruption of `suite`
/// at each severity, in the suite's order.
///
/// `facts.set_fingerprints` says which sets there are.
pub fn score_requests(
    spec: &RunSpec,
    facts: &Facts,
    run: &RunId,
    suite: Option<&SuiteRef>,
) -> Vec<ScoreRequest> {
    let suite = suite.filter(|_| spec.eval.corruption.suite != NO_SUITE);
    let protocol = protocol_line(spec, facts);
    let mut requests = Vec::new();
    for (split, fingerprint) in &facts.set_fingerprints {
        let request = |corruption: Option<(&str, u8)>| ScoreRequest {
            select: spec.eval.select,
            score: score_id(spec, facts, run, fingerprint, corruption),
            split: split.clone(),
            set: format!("{}/{split}", dataset::name(&spec.data, &facts.data_root)),
            set_fingerprint: fingerprint.clone(),
            protocol: protocol.clone(),
            suite: corruption.and(suite).map(|suite| suite.label.clone()),
            corruption: corruption.map(|(name, _)| name.to_owned()),
            severity: corruption.map(|(_, severity)| severity),
        };
        requests.push(request(None));
        for name in suite.iter().flat_map(|suite| &suite.corruptions) {
            requests.extend(severities(spec).into_iter().map(|level| request(Some((name, level)))));
        }
    }
    requests
}

/// The id of one score. A suite's name is not in it: suites share scores.
fn score_id(
    spec: &RunSpec,
    facts: &Facts,
    run: &RunId,
    set_fingerprint: &str,
    corruption: Option<(&str, u8)>,
) -> ScoreId {
    let corruption = corruption.map_or(Value::Null, |(name, severity)| {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), json!(name));
        fields.insert("severity".to_owned(), json!(severity));
        // Frost's pictures are as its textures are.
        if let Some(texture) = Effect::parse(name).and_then(Effect::texture) {
            fields.insert("texture".to_owned(), json!(texture));
        }
        fields.into()
    });
    ScoreId::of(&json!({
        "run": run,
        "select": spec.eval.select,
        "mode": spec.eval.mode,
        "input_px": facts.input_px,
        "set": set_fingerprint,
        "corruption": corruption,
        "reference_metric_batch": spec.train.batch_size,
        "numerics": EVAL_NUMERICS,
    }))
}

/// Severities that are asked for, each once; none without a suite.
fn severities(spec: &RunSpec) -> Vec<u8> {
    if spec.eval.corruption.suite == NO_SUITE {
        return Vec::new();
    }
    let mut severities = spec.eval.corruption.severities.clone();
    severities.sort_unstable();
    severities.dedup();
    severities
}

/// The kind of dataset, which says how its files are read.
fn kind_name(data: &dataset::Config) -> &'static str {
    match data {
        dataset::Config::Voc(_) => "voc",
        dataset::Config::Ade20k(_) => "ade20k",
        dataset::Config::Shapes(_) => "shapes",
    }
}

fn plain_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("a spec is plain data")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::super::tests::load_with;
    use super::super::{WeightsFile, keys};
    use super::*;

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
            train_fingerprint: "train-1".to_owned(),
            set_fingerprints: vec![("val".to_owned(), "val-1".to_owned())],
            weights: weights.then(|| WeightsFile {
                path: PathBuf::from("/weights/a.pth"),
                sha256: "ab".repeat(32),
            }),
            input_px: input_px(spec),
            frost: None,
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

    /// (`--set` on [`FULL`], whether the run's id changes); every key of a run is here.
    const CHANGES: &[(&str, bool)] = &[
        ("seed=8", true),
        ("model.dino_type=dinov3", true),
        ("model.size=large", true),
        ("model.registers=false", true),
        ("weights.kind=random", true),
        ("weights.kind=pretrained", false),
        ("weights.path=b.pth", false),
        ("tune.kind=full", true),
        ("tune.rank=5", true),
        ("tune.alpha=2", true),
        ("tune.alpha=4", false),
        ("tune.targets=['q']", true),
        ("tune.targets=['v', 'q']", false),
        ("decoder.kind=linear", true),
        ("decoder.channels=64", true),
        ("decoder.channels=128", false),
        ("data.kind=ade20k", true),
        ("data.root=/elsewhere", false),
        // By their fingerprints.
        ("data.train=trainval", false),
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
        ("train.flip=0", true),
        ("train.input.tokens=16", true),
        ("train.input.px=448", false),
        ("train.input.px=450", false),
        ("train.input.px=462", true),
        ("train.normalise=none", true),
        ("train.void_label=background", true),
        ("train.dev.fraction=0.5", true),
        ("train.dev.seed=1", true),
        ("train.precision=f32", false),
        // What is best on `dev` is only looked for where it is validated.
        ("train.validate_every=2", true),
        ("eval.sets=['val', 'train']", false),
        ("eval.mode.kind=whole", false),
        ("eval.corruption.suite=none", false),
        ("eval.corruption.severities=[1]", false),
        ("eval.select=best", false),
        ("schedule.jobs=4", false),
        ("schedule.threads=4", false),
        ("schedule.devices=cpu", false),
    ];

    #[test]
    fn every_key_with_an_effect_changes_the_run_and_no_other_does() {
        let id = id_of(&spec_with(FULL, &[]));
        for (set, changes) in CHANGES {
            let spec = spec_with(FULL, &[set]);
            assert_eq!(id_of(&spec) != id, *changes, "{set}");
        }
        let named: BTreeSet<_> =
            CHANGES.iter().filter_map(|(set, _)| set.split('=').next()).collect();
        let run_keys = keys::KEYS.iter().filter(|key| key.owner() == keys::Owner::Run);
        for key in run_keys.filter(|key| {
            !["data.n_train", "data.n_val", "data.side_px", "data.seed"].contains(&key.name)
        }) {
            assert!(named.contains(key.name), "`{}` is not in CHANGES", key.name);
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
    }

    #[test]
    fn a_recipe_is_the_same_as_its_keys_written_out_in_any_order() {
        let mut lines: Vec<_> = crate::train::recipe::rows()
            .into_iter()
            .filter_map(|row| Some(format!("train.{} = {}", row.key, row.reference?)))
            .collect();
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
        check(|facts| facts.set_fingerprints.clear(), false);
        check(|facts| facts.data_root = PathBuf::from("/elsewhere"), false);
        check(|facts| facts.weights.as_mut().unwrap().path = PathBuf::from("/b"), false);
    }

    #[test]
    fn scores_are_clean_first_then_corruption_by_severity_for_each_set() {
        let toml = "severities = [5, 1]\nsets = ['val', 'test']";
        let spec = spec_with(toml, &[]);
        let mut facts = facts_of(&spec);
        facts.set_fingerprints.push(("test".to_owned(), "test-1".to_owned()));
        let run = run_id(&spec, &facts);
        let requests = score_requests(&spec, &facts, &run, Some(&suite()));
        let line = |request: &ScoreRequest| match (&request.corruption, request.severity) {
            (Some(name), Some(severity)) => format!("{} {name} {severity}", request.set),
            _ => format!("{} clean", request.set),
        };
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
        facts.data_root = PathBuf::from("/data/CCP8");
        assert_eq!(score_requests(&spec, &facts, &run, None)[1].set, "CCP8/test");
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
        for other in ["train.dev.fraction = 0.1\nselect = 'best'", "batch_size = 3", "px = 308"] {
            assert!(base.is_disjoint(&scores(other, "a v1")), "{other}");
        }
    }

    #[test]
    fn a_later_field_is_left_out_while_it_has_its_old_value() {
        let mut fields = Map::new();
        since(&mut fields, "crop", json!("none"), &json!("none"));
        assert!(fields.is_empty());
        since(&mut fields, "crop", json!("random"), &json!("none"));
        assert_eq!(fields["crop"], "random");
    }
}
