//! The identities of runs and scores: the JSON whose hashes are their ids, for [`crate::resolve`].
//!
//! Each key adds its own part ([`super::keys::Effect`]); files and folders that keys name are in it
//! by their content, as [`Facts`] has it. Two rules keep ids stable. A value is resolved before it
//! is written down (`auto` is `f32`, sizes are pixels, alpha is a number), and what has no effect
//! is left out (the encoder's rate of a frozen encoder). And a key that did not exist when ids were
//! first given is left out while it has the value that it had before it existed. The golden ids in
//! the tests hold this.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::check::input_px;
use super::keys::{self, NO_SUITE, Resolved};
use super::text::table;
use super::{Facts, RunSpec, ScoreRequest, SetFacts, SuiteRef};
use crate::corrupt::Effect;
use crate::eval::EVAL_NUMERICS;
use crate::event::{Condition, Protocol};
use crate::id::{RunId, ScoreId};
use crate::model::WeightsConfig;
use crate::train::TRAIN_NUMERICS;

/// The field of an id's JSON that is raised when all results change.
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
    if let Some(file) = &facts.init {
        found.push(("init", json!(file.sha256)));
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

/// The keys, at the top, in which two identities differ.
pub fn changed<'a>(before: &'a Value, now: &'a Value) -> BTreeSet<&'a str> {
    let keys = |value: &'a Value| value.as_object().into_iter().flat_map(|parts| parts.keys());
    let differs = |key: &&String| before.get(key.as_str()) != now.get(key.as_str());
    keys(before).chain(keys(now)).filter(differs).map(String::as_str).collect()
}

/// The part of the identity that the spec alone decides: cells with equal values are the same run.
pub(super) fn effective(spec: &RunSpec) -> Value {
    let found = vec![
        ("weights", plain_json(&spec.weights)),
        ("init", plain_json(&spec.init)),
        ("data", plain_json(&spec.data)),
    ];
    let mut value = identity(spec, input_px(spec), found);
    let mut eval = plain_json(&spec.eval);
    eval["corruption"]["severities"] = json!(severities(spec));
    value["eval"] = eval;
    value
}

/// The parts of the keys, and the facts found about what they name.
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

/// The protocol by which the scores of a run are made.
pub fn protocol(spec: &RunSpec, facts: &Facts) -> Protocol {
    Protocol {
        mode: spec.eval.mode.resolved(),
        tta: spec.eval.tta.clone(),
        input_px: facts.input_px,
        select: spec.eval.select,
        reference_batch: spec.train.batch_size,
    }
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
    let protocol = protocol(spec, facts).to_string();
    let resolved = Resolved::of(spec, facts.input_px);
    let mut requests = Vec::new();
    for SetFacts { set, name, fingerprint, .. } in &facts.sets {
        let request = |condition: Condition| ScoreRequest {
            select: spec.eval.select,
            mode: spec.eval.mode,
            tta: spec.eval.tta.clone(),
            score: ScoreId::of(&score_identity(&resolved, run, fingerprint, &condition)),
            split: set.split().to_owned(),
            set: name.clone(),
            set_fingerprint: fingerprint.clone(),
            protocol: protocol.clone(),
            suite: suite.filter(|_| !condition.is_clean()).map(|suite| suite.label.clone()),
            condition,
        };
        requests.push(request(Condition::Clean));
        for effect in suite.iter().flat_map(|suite| &suite.corruptions) {
            let corrupted = |severity| Condition::Corrupted { effect: effect.clone(), severity };
            requests.extend(severities(spec).into_iter().map(|level| request(corrupted(level))));
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
    condition: &Condition,
) -> Value {
    let mut fields = Map::new();
    for key in keys::all() {
        key.put_into_score(resolved, &mut fields);
    }
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("run", json!(run));
    put("set", json!(set_fingerprint));
    put("corruption", condition_identity(condition));
    put(NUMERICS, json!(EVAL_NUMERICS));
    fields.into()
}

fn condition_identity(condition: &Condition) -> Value {
    let Condition::Corrupted { effect, severity } = condition else { return Value::Null };
    let mut fields = Map::new();
    fields.insert("name".to_owned(), json!(effect));
    fields.insert("severity".to_owned(), json!(severity));
    // Pictures of frost are as its textures are.
    if let Some(texture) = Effect::parse(effect).and_then(Effect::texture) {
        fields.insert("texture".to_owned(), json!(texture));
    }
    fields.into()
}

/// The severities that are asked for, each once; none without a suite.
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
