//! What a run and a score *are*: the JSON behind their ids.
//!
//! Two rules keep ids stable. A value is resolved before it is written down (`auto` is `f32`, sizes
//! are pixels, alpha is a number), and what has no effect is left out (the encoder's rate of a
//! frozen encoder). And a field that did not exist when ids were first given is left out while it
//! has the value that it had before it existed: write such fields with `since`. The golden ids
//! in the tests hold this.

use serde_json::{Map, Value, json};

use super::check::{input_px, is_frozen, name_of};
use super::{Facts, RunSpec, ScoreRequest, SetFacts, SuiteRef};
use crate::corrupt::Effect;
use crate::data::transform::{self, crop};
use crate::eval::{EVAL_NUMERICS, Mode, Tta};
use crate::id::{RunId, ScoreId};
use crate::model::{self, DinoType, LoraConfig, TuneConfig, WeightsConfig};
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
    let data = json!({ "kind": spec.data.kind(), "train": facts.train_fingerprint });
    identity(spec, &weights, &data, facts.input_px)
}

pub fn run_id(spec: &RunSpec, facts: &Facts) -> RunId {
    RunId::of(&run_identity(spec, facts))
}

/// The identity that a run had while `TRAIN_NUMERICS` was `numerics`.
pub fn with_numerics(identity: &Value, numerics: u32) -> Value {
    let mut identity = identity.clone();
    identity["numerics"] = json!(numerics);
    identity
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

/// How a score is made, in one line for tables.
pub fn protocol_line(spec: &RunSpec, facts: &Facts) -> String {
    let [height, width] = facts.input_px;
    let mode = match spec.eval.mode {
        Mode::Whole {} => format!("whole {height}x{width}"),
        Mode::Slide { crop, stride, short_side } => {
            format!("slide {crop}/{stride} at short side {}", short_side.unwrap_or(crop))
        }
    };
    let Tta { flip, scales } = &spec.eval.tta;
    let scales: Vec<_> = scales.iter().map(|scale| format!("x{scale}")).collect();
    let tta = match (&scales[..], flip) {
        ([one], false) if one == "x1" => String::new(),
        (scales, true) => format!(", TTA {} and mirrored", scales.join(" ")),
        (scales, false) => format!(", TTA {}", scales.join(" ")),
    };
    format!(
        "{mode}{tta}, label size, {}, ref-metric batch {}",
        name_of(spec.eval.select),
        spec.train.batch_size
    )
}

/// The scores that a run is asked for: for each set clean first, then each corruption of `suite`
/// at each severity, in the suite's order.
///
/// `facts.sets` says which sets there are.
pub fn score_requests(
    spec: &RunSpec,
    facts: &Facts,
    run: &RunId,
    suite: Option<&SuiteRef>,
) -> Vec<ScoreRequest> {
    let suite = suite.filter(|_| spec.eval.corruption.suite != NO_SUITE);
    let protocol = protocol_line(spec, facts);
    let mut requests = Vec::new();
    for SetFacts { set, name, fingerprint, .. } in &facts.sets {
        let request = |corruption: Option<(&str, u8)>| ScoreRequest {
            select: spec.eval.select,
            mode: spec.eval.mode,
            tta: spec.eval.tta.clone(),
            score: score_id(spec, facts, run, fingerprint, corruption),
            split: set.split().to_owned(),
            set: name.clone(),
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
    ScoreId::of(&fields.into())
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

#[cfg(test)]
mod tests;
