//! What a run and a score *are*: the JSON behind their ids, made for [`crate::resolve`].
//!
//! Each key puts its own part there ([`super::keys::Effect`]); what the keys name is there by its
//! content, as [`Facts`] has it. Two rules keep ids stable. A value is resolved before it is
//! written down (`auto` is `f32`, sizes are pixels, alpha is a number), and what has no effect is
//! left out (the encoder's rate of a frozen encoder). And a key that did not exist when ids were
//! first given is left out while it has the value that it had before it existed. The golden ids in
//! the tests hold this.

use serde_json::{Map, Value, json};

use super::check::{input_px, name_of};
use super::keys::{self, NO_SUITE, Resolved};
use super::text::table;
use super::{Facts, RunSpec, ScoreRequest, SetFacts, SuiteRef};
use crate::corrupt::Effect;
use crate::eval::{EVAL_NUMERICS, Mode, Tta};
use crate::id::{RunId, ScoreId};
use crate::model::WeightsConfig;
use crate::train::TRAIN_NUMERICS;

/// The field of an id's JSON that a change of all numbers raises.
const NUMERICS: &str = "numerics";

/// Everything that changes the trained weights, as the JSON whose hash is the run's id.
///
/// Not in it: paths, devices, threads, `schedule`, `eval`, the recipe's name.
pub fn run_identity(spec: &RunSpec, facts: &Facts) -> Value {
    let mut found = vec![("data.train", json!(facts.train_fingerprint))];
    match (&spec.weights, &facts.weights) {
        (WeightsConfig::Random {}, _) => {}
        (_, Some(file)) => found.push(("weights", json!(file.sha256))),
        // No run can have this id: the file is found and hashed before anything is planned.
        (_, None) => found.push(("weights", json!("missing"))),
    }
    identity(spec, facts.input_px, found)
}

pub fn run_id(spec: &RunSpec, facts: &Facts) -> RunId {
    RunId::of(&run_identity(spec, facts))
}

/// The identity that a run had while `TRAIN_NUMERICS` was `numerics`.
pub fn with_numerics(identity: &Value, numerics: u32) -> Value {
    let mut identity = identity.clone();
    identity[NUMERICS] = json!(numerics);
    identity
}

/// What a spec alone says of a run's results: cells with equal values come out the same.
pub(super) fn effective(spec: &RunSpec) -> Value {
    let found = vec![("weights", plain_json(&spec.weights)), ("data", plain_json(&spec.data))];
    let mut value = identity(spec, input_px(spec), found);
    let mut eval = plain_json(&spec.eval);
    eval["corruption"]["severities"] = json!(severities(spec));
    value["eval"] = eval;
    value
}

/// The parts of the keys, and what was found in the places that they name.
fn identity(spec: &RunSpec, input_px: [u32; 2], found: Vec<(&str, Value)>) -> Value {
    let resolved = Resolved::of(spec, input_px);
    let mut fields = Map::new();
    for key in keys::all() {
        key.put_into_run(&resolved, &mut fields);
    }
    for (name, value) in found {
        table::insert(&mut fields, name, value);
    }
    fields.insert(NUMERICS.to_owned(), json!(TRAIN_NUMERICS));
    fields.into()
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
    let resolved = Resolved::of(spec, facts.input_px);
    let mut requests = Vec::new();
    for SetFacts { set, name, fingerprint, .. } in &facts.sets {
        let request = |corruption: Option<(&str, u8)>| ScoreRequest {
            select: spec.eval.select,
            mode: spec.eval.mode,
            tta: spec.eval.tta.clone(),
            score: ScoreId::of(&score_identity(&resolved, run, fingerprint, corruption)),
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

/// Everything that changes one score, as the JSON whose hash is its id. A suite's name is not in
/// it: suites share scores.
fn score_identity(
    resolved: &Resolved<'_>,
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
    for key in keys::all() {
        key.put_into_score(resolved, &mut fields);
    }
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("run", json!(run));
    put("set", json!(set_fingerprint));
    put("corruption", corruption);
    put(NUMERICS, json!(EVAL_NUMERICS));
    fields.into()
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
