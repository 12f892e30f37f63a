//! Identities as they were made by hand, and a comparison with those that the keys make.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::tests::{facts_of, spec_of};
use crate::corrupt::Effect;
use crate::data::transform::{self, crop};
use crate::eval::{EVAL_NUMERICS, Mode, Tta};
use crate::experiment::check::{input_px, name_of};
use crate::experiment::keys::{self, Key, NO_SUITE, Owner, Type};
use crate::experiment::{Facts, RunSpec};
use crate::id::RunId;
use crate::model::{self, DinoType, LoraConfig, TuneConfig, WeightsConfig};
use crate::train::{self, Precision, TRAIN_NUMERICS};

fn is_frozen(spec: &RunSpec) -> bool {
    matches!(spec.tune, TuneConfig::Frozen {})
}

/// Everything that changes the trained weights, as the JSON whose hash is the run's id.
///
/// Not in it: paths, devices, threads, `schedule`, `eval`, the recipe's name. `validate_every` is
/// in it only where a `dev` part is held out, because there it decides what the best checkpoint
/// is.
pub(super) fn run_identity(spec: &RunSpec, facts: &Facts) -> Value {
    let weights = match (&spec.weights, &facts.weights) {
        (WeightsConfig::Random {}, _) => json!("random"),
        (_, Some(file)) => json!(file.sha256),
        // No run can have this id: the file is found and hashed before anything is planned.
        (_, None) => json!("missing"),
    };
    let data = json!({ "kind": spec.data.kind(), "train": facts.train_fingerprint });
    identity(spec, &weights, &data, facts.input_px)
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
        "tune": tune_identity(spec),
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
    } else {
        since(&mut fields, "pretraining", plain_json(&model.pretraining), &json!("lvd1689m"));
    }
    fields.into()
}

fn tune_identity(spec: &RunSpec) -> Value {
    match &spec.tune {
        TuneConfig::Frozen {} => json!({ "kind": "frozen" }),
        TuneConfig::Full {} => json!({ "kind": "full" }),
        TuneConfig::Lora(lora) => lora_identity(lora, spec.model),
    }
}

fn lora_identity(lora: &LoraConfig, model: model::Config) -> Value {
    // Taken apart in full, so that a new key does not compile until its place here is decided.
    let LoraConfig { rank, alpha, targets, scaling, dropout, blocks } = lora;
    let arch = model::backbone::find(&model).map(|variant| variant.arch);
    // A cell of a size that does not exist is refused; until then its targets stay as written.
    let targets = arch.map_or_else(|| targets.clone(), |arch| lora.targets_in(&arch));
    let mut targets: Vec<_> = targets.into_iter().map(name_of).collect();
    targets.sort();
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), json!("lora"));
    fields.insert("rank".to_owned(), json!(rank));
    fields.insert("alpha".to_owned(), json!(alpha.unwrap_or_else(|| f64::from(rank.get()))));
    fields.insert("targets".to_owned(), json!(targets));
    since(&mut fields, "scaling", json!(scaling), &json!("standard"));
    since(&mut fields, "dropout", json!(dropout), &json!(0.0));
    let all = arch.and_then(|arch| u32::try_from(arch.depth).ok()).map(|depth| [0, depth - 1]);
    since(&mut fields, "blocks", json!(blocks.or(all)), &json!(all));
    fields.into()
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
        transform,
        flip,
        photometric,
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
    let squash = plain_json(&transform::Config::Squash {});
    since(&mut fields, "transform", transform_identity(transform, input_px), &squash);
    since(&mut fields, "photometric", json!(photometric), &json!(false));
    fields.into()
}

/// With the short side said.
fn transform_identity(config: transform::Config, input_px: [u32; 2]) -> Value {
    plain_json(&match config {
        transform::Config::Squash {} => config,
        transform::Config::Crop(crop) => {
            let short_side = Some(crop.short_side_px(input_px));
            transform::Config::Crop(crop::Config { short_side, ..crop })
        }
    })
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Auto | Precision::F32 => "f32",
    }
}

/// Writes a field that came after the first ids, unless it has the value that was the only one
/// before: old runs keep their ids.
fn since(fields: &mut Map<String, Value>, name: &str, value: Value, before: &Value) {
    if value != *before {
        fields.insert(name.to_owned(), value);
    }
}

/// The id of one score. A suite's name is not in it: suites share scores.
pub(super) fn score_json(
    spec: &RunSpec,
    facts: &Facts,
    run: &RunId,
    set_fingerprint: &str,
    corruption: Option<(&str, u8)>,
) -> Value {
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
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("run", json!(run));
    put("select", json!(spec.eval.select));
    put("mode", mode_identity(spec.eval.mode));
    put("input_px", json!(facts.input_px));
    put("set", json!(set_fingerprint));
    put("corruption", corruption);
    put("reference_metric_batch", json!(spec.train.batch_size));
    put("numerics", json!(EVAL_NUMERICS));
    since(&mut fields, "tta", plain_json(&spec.eval.tta), &plain_json(&Tta::default()));
    fields.into()
}

/// The mode with all that it stands for said.
fn mode_identity(mode: Mode) -> Value {
    match mode {
        Mode::Whole {} => plain_json(&mode),
        Mode::Slide { crop, stride, short_side } => {
            plain_json(&Mode::Slide { crop, stride, short_side: short_side.or(Some(crop)) })
        }
    }
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

fn plain_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("a spec is plain data")
}

/// Values that a type takes, and now and then one that it does not.
fn any_of(key: &'static Key) -> BoxedStrategy<String> {
    let examples =
        || prop::sample::select(key.examples.values.map(|text| quote(key, text)).to_vec());
    match key.ty {
        Type::Bool => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        Type::Int { min, max } => (min..=max.min(min + 600)).prop_map(|n| n.to_string()).boxed(),
        Type::Float { min, max } => (min..=max).prop_map(|x| format!("{x:?}")).boxed(),
        Type::Positive { max } => (1e-6..=max).prop_map(|x| format!("{x:?}")).boxed(),
        Type::Choice(choice) => {
            prop::sample::select((choice.names)()).prop_map(|n| format!("{n:?}")).boxed()
        }
        Type::Range { .. } => (0..12u32, 0..12u32).prop_map(|(a, b)| format!("[{a}, {b}]")).boxed(),
        Type::Px { .. } => {
            (14..900u32, 14..900u32).prop_map(|(a, b)| format!("[{a}, {b}]")).boxed()
        }
        Type::List(Type::Choice(choice)) => {
            prop::collection::btree_set(prop::sample::select((choice.names)()), 1..4)
                .prop_map(|names| format!("{names:?}").replace('{', "[").replace('}', "]"))
                .boxed()
        }
        _ => examples().boxed(),
    }
}

fn quote(key: &Key, text: &str) -> String {
    let value = key.literal(text).unwrap();
    toml::Value::try_from(value).unwrap().to_string()
}

fn any_spec() -> impl Strategy<Value = String> {
    let keys: Vec<_> = keys::all().filter(|key| key.owner() == Owner::Run).collect();
    let kinds: Vec<_> = keys.iter().filter(|key| key.is_kind()).copied().collect();
    let kinds: Vec<_> =
        kinds.into_iter().map(|key| any_of(key).prop_map(move |v| (key, v))).collect();
    let rest: Vec<_> = keys.into_iter().filter(|key| !key.is_kind()).collect();
    let rest: Vec<_> = rest
        .into_iter()
        .map(|key| (any_of(key), 0..10u32).prop_map(move |(v, dice)| (key, v, dice)))
        .collect();
    (kinds, rest).prop_map(|(kinds, rest)| {
        let kind_of = |name: &str| kinds.iter().find(|(key, _)| key.name == name).map(|(_, v)| v);
        let mut lines: Vec<_> =
            kinds.iter().map(|(key, value)| format!("{} = {value}", key.name)).collect();
        let mut taken = Vec::new();
        for (key, value, dice) in &rest {
            let kind = key.of.and_then(|of| kind_of(of.key)).map(|kind| kind.trim_matches('"'));
            let excluded = keys::excluded_by(key.name).is_some_and(|other| taken.contains(&other));
            if key.applies(kind) && !excluded && (key.required || *dice < 3) {
                taken.push(key.name);
                lines.push(format!("{} = {value}", key.name));
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 2_000_000, ..ProptestConfig::default() })]

    #[test]
    fn ids_are_made_of_the_same_json_as_before(toml in any_spec()) {
        let Some(spec) = spec_of(&toml) else { return Err(TestCaseError::reject("refused")) };
        let mut facts = facts_of(&spec);
        let (before, now) = (run_identity(&spec, &facts), super::run_identity(&spec, &facts));
        prop_assert_eq!(before.to_string(), now.to_string());
        prop_assert_eq!(before, now);
        prop_assert_eq!(effective(&spec).to_string(), super::effective(&spec).to_string());
        let run = RunId::of(&json!("run"));
        facts.input_px = [28, 42];
        let resolved = keys::Resolved::of(&spec, facts.input_px);
        for corruption in [None, Some(("fog", 3)), Some(("frost", 5))] {
            let before = score_json(&spec, &facts, &run, "val-1", corruption);
            let now = super::score_identity(&resolved, &run, "val-1", corruption);
            prop_assert_eq!(before.to_string(), now.to_string());
            prop_assert_eq!(before, now);
        }
    }
}
