//! What holds for every entry: a new key is tried by being there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::reference::toml;
use super::*;
use crate::experiment::identity::effective;
use crate::experiment::tests::{load_with, refused_with};
use crate::experiment::text::table;
use crate::experiment::{
    Facts, Machine, RunSpec, SetFacts, WeightsFile, input_px, run_id, schedule, score_requests,
};
use crate::id::RunId;
use crate::model::WeightsConfig;
use crate::train::Recipe;

fn run_keys() -> impl Iterator<Item = &'static Key> {
    all().filter(|key| key.owner() == Owner::Run)
}

/// The lines that give a key a meaning, without one that sets it or what it excludes.
fn surroundings(key: &Key) -> String {
    let is_own = |line: &str| {
        let set = line.split(" =").next().unwrap_or_default();
        set == key.name || excluded_by(key.name) == Some(set)
    };
    let lines: Vec<_> = key.examples.with.lines().filter(|line| !is_own(line)).collect();
    if lines.is_empty() { "name = 'x'\n".to_owned() } else { lines.join("\n") + "\n" }
}

/// An example as a file has it: the name, which is the table's where all of that is given, and the
/// value.
fn written(key: &Key, text: &str) -> (String, String) {
    match key.name.strip_suffix(".kind") {
        Some(table) if text.starts_with('{') => (table.to_owned(), text.to_owned()),
        _ => (key.name.to_owned(), toml(&key.literal(text).unwrap())),
    }
}

fn specs(toml: &str, set: &[&str]) -> Vec<RunSpec> {
    let loaded = load_with(toml, &[], set).unwrap_or_else(|problems| {
        panic!("{toml} {set:?}: {problems:?}");
    });
    loaded.0.cells.into_iter().map(|cell| cell.spec).collect()
}

fn spec(toml: &str, set: &[&str]) -> RunSpec {
    let mut specs = specs(toml, set);
    assert_eq!(specs.len(), 1, "{toml}");
    specs.remove(0)
}

/// A key's examples, alone in its surroundings.
fn example_specs(key: &Key) -> [RunSpec; 2] {
    key.examples.values.map(|text| {
        let (name, value) = written(key, text);
        spec(&format!("{}{name} = {value}", surroundings(key)), &[])
    })
}

fn value_of(key: &Key, spec: &RunSpec) -> Option<Value> {
    table::field(&serde_json::to_value(spec).unwrap(), key.field()).cloned()
}

/// Whether the spec holds the value; defaults of keys that came later are not written.
fn holds(key: &Key, spec: &RunSpec, value: &Value) -> bool {
    match value_of(key, spec) {
        Some(held) => held == *value,
        None => key.default_value().as_ref() == Some(value),
    }
}

fn facts_of(spec: &RunSpec) -> Facts {
    let weights = !matches!(spec.weights, WeightsConfig::Random {});
    Facts {
        data_root: "/data".into(),
        n_classes: 3,
        classes: vec![],
        train_fingerprint: "train-1".to_owned(),
        sets: vec![SetFacts {
            set: "val".into(),
            name: "voc/val".to_owned(),
            root: "/data".into(),
            fingerprint: "val-1".to_owned(),
        }],
        weights: weights.then(|| WeightsFile { path: "/w".into(), sha256: "ab".repeat(32) }),
        input_px: input_px(spec),
        frost: None,
        init: None,
    }
}

#[test]
fn every_name_means_one_thing_and_every_entry_is_whole() {
    let mut names = BTreeSet::new();
    let tables =
        groups().into_iter().flat_map(|group| group.tables.iter().map(|(alias, _)| *alias));
    let short = all().flat_map(|key| key.aliases.iter().copied()).chain(tables);
    let compound = compounds().map(|compound| compound.name);
    for name in all().map(|key| key.name).chain(short).chain(compound) {
        assert!(names.insert(name), "{name} stands twice");
        assert!(!is_table(name), "{name} is a table");
    }
    for (alias, name) in aliases() {
        assert!(find(name).is_some() || is_table(name), "{alias}");
    }
    for group in groups() {
        assert!(group.keys.iter().all(|key| key.name.split('.').next() == Some(group.name)));
        assert!(group.doc.ends_with('.'), "{}", group.doc);
    }
    for key in all() {
        assert!(key.doc.ends_with('.'), "{}: {}", key.name, key.doc);
        assert_ne!(key.examples.values[0], key.examples.values[1], "{}", key.name);
        assert!(key.default_value().is_none() || key.recipes.is_empty(), "{}", key.name);
        assert!(key.excludes.is_none_or(|other| find(other).is_some()), "{}", key.name);
        if let Some(of) = key.of {
            let Type::Choice(kinds) = find(of.key).unwrap().ty else { panic!("{}", of.key) };
            let known: Vec<_> = of.fields().map(|(kind, _)| kind).collect();
            assert_eq!((kinds.names)(), known, "{}", of.key);
            assert!(!key.kinds().is_empty(), "no kind has a field for `{}`", key.name);
        } else {
            assert!(!key.required, "{}", key.name);
        }
    }
}

#[test]
fn every_key_of_a_run_is_read_by_each_of_its_names_from_set_and_as_an_axis() {
    for key in run_keys() {
        let around = surroundings(key);
        let examples = example_specs(key);
        for (text, expect) in key.examples.values.iter().zip(&examples) {
            let (name, value) = written(key, text);
            if name == key.name {
                assert!(holds(key, expect, &key.literal(text).unwrap()), "{name} = {text}");
            }
            let json = serde_json::to_value(expect).unwrap();
            assert_eq!(serde_json::from_value::<RunSpec>(json).unwrap(), *expect, "{name}");
            let tables = groups().into_iter().flat_map(|group| group.tables);
            let table_aliases = tables.filter(|(_, full)| *full == name).map(|(alias, _)| *alias);
            let aliases = key.aliases.iter().copied().filter(|_| name == key.name);
            for alias in aliases.chain(table_aliases) {
                assert_eq!(spec(&format!("{around}{alias} = {value}"), &[]), *expect, "{alias}");
            }
            assert_eq!(spec(&around, &[&format!("{name}={text}")]), *expect, "--set {name}={text}");
        }
        let [a, b] = key.examples.values.map(|text| match key.name.strip_suffix(".kind") {
            Some(_) if text.starts_with('{') => text.to_owned(),
            _ => toml(&key.literal(text).unwrap()),
        });
        let axis = key.name.strip_suffix(".kind").unwrap_or(key.name);
        let cells = specs(&format!("{around}[grid]\n'{axis}' = [{a}, {b}]"), &[]);
        let n_cells = if effective(&examples[0]) == effective(&examples[1]) { 1 } else { 2 };
        assert_eq!(cells, examples[..n_cells], "{axis} = [{a}, {b}]");
    }
}

#[test]
fn every_key_changes_the_ids_that_its_entry_says_and_no_others() {
    for key in run_keys() {
        let examples = example_specs(key);
        let run = examples.each_ref().map(|spec| run_id(spec, &facts_of(spec)));
        let score = examples.each_ref().map(|spec| {
            let any = RunId::of(&json!("the same run"));
            score_requests(spec, &facts_of(spec), &any, None)[0].score.clone()
        });
        let (in_run, in_score) = match key.effect {
            Effect::Ids { run, score } => (run.is_some(), score.is_some()),
            Effect::None | Effect::Content(_) | Effect::Asks => (false, false),
        };
        assert!(effective(&examples[0]) != effective(&examples[1]), "{}: no choice", key.name);
        if key.name != "train.recipe" {
            assert_eq!(run[0] != run[1], in_run, "{}: the run's id", key.name);
            assert_eq!(score[0] != score[1], in_score, "{}: the score's id", key.name);
        }
    }
}

#[test]
fn nothing_said_is_the_default_or_what_the_recipe_says() {
    for key in run_keys() {
        let around = surroundings(key);
        for (text, recipe) in [("modern", Recipe::Modern), ("reference", Recipe::Reference)] {
            let Ok((experiment, _)) = load_with(&around, &[], &[&format!("recipe={text}")]) else {
                // Something must be said.
                assert!(key.default_value().is_none(), "{}", key.name);
                continue;
            };
            let spec = experiment.cells[0].spec.clone();
            let held = value_of(key, &spec);
            match key.default_value().or_else(|| key.recipe_value(recipe)) {
                _ if key.name == "train.recipe" => assert_eq!(held, Some(json!(text))),
                Some(value) => assert!(holds(key, &spec, &value), "{text} {}: {held:?}", key.name),
                None => assert_eq!(held, None, "{text} {}", key.name),
            }
        }
    }
}

/// Files of before a key existed are read as if it had what it then was, or its default.
#[test]
fn a_spec_without_a_key_is_refused_or_means_the_default() {
    for key in run_keys() {
        let [expect, _] = example_specs(key);
        let mut json = serde_json::to_value(&expect).unwrap();
        let (parent, name) = key.field().rsplit_once('.').unwrap_or(("", key.field()));
        let parent = json.pointer_mut(&format!("/{}", parent.replace('.', "/")));
        let Some(Value::Object(fields)) = parent else { continue };
        fields.remove(name);
        let Ok(spec) = serde_json::from_value::<RunSpec>(json) else { continue };
        let held = value_of(key, &spec);
        let before = match key.effect {
            Effect::Ids { run, score } => run.or(score).and_then(|part| part.before(key)),
            Effect::None | Effect::Content(_) | Effect::Asks => None,
        };
        let allowed = [None, before, key.default_value(), key.recipe_value(Recipe::Modern)];
        assert!(allowed.contains(&held), "{}: {held:?}", key.name);
    }
}

/// Dotted names of the fields of `value`; what a key takes is not looked into.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if all().all(|key| key.field() != path) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{name}"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_entries_are_the_fields_of_a_run_a_schedule_and_a_machine() {
    let mut fields = BTreeSet::new();
    for key in run_keys() {
        for spec in example_specs(key) {
            let json = serde_json::to_value(spec).unwrap();
            let mut of_spec = BTreeSet::new();
            leaves(&json, "", &mut of_spec);
            for field in &of_spec {
                let key = all().find(|key| key.field() == field);
                let key = key.unwrap_or_else(|| panic!("no key for `{field}`"));
                let kind = key.of.and_then(|of| table::field(&json, of.key));
                assert!(key.applies(kind.and_then(Value::as_str)), "`{field}` under {kind:?}");
            }
            fields.extend(of_spec);
        }
    }
    leaves(&serde_json::to_value(Machine::default()).unwrap(), "machine", &mut fields);
    leaves(&serde_json::to_value(schedule::Config::default()).unwrap(), "schedule", &mut fields);
    let names: BTreeSet<_> = all().map(|key| key.field().to_owned()).collect();
    assert_eq!(fields, names);
}

#[test]
fn every_field_of_every_kind_has_an_entry() {
    for of in all().filter_map(|key| key.of) {
        let table = of.key.strip_suffix("kind").unwrap();
        for (kind, fields) in of.fields() {
            for name in fields.iter().map(|field| format!("{table}{field}")) {
                let key = all().find(|key| key.field() == name);
                let key = key.unwrap_or_else(|| panic!("no key for `{name}` of `{kind}`"));
                assert!(key.applies(Some(kind)), "`{name}` of `{kind}`");
            }
        }
    }
}

#[test]
fn keys_of_schedule_and_machine_come_from_their_places_and_are_no_axes() {
    for key in all().filter(|key| key.owner() != Owner::Run) {
        let held = |toml: &str, env: &[(&str, &str)], set: &[&str]| {
            let (experiment, machine) = load_with(toml, env, set).unwrap();
            let all = json!({ "schedule": experiment.schedule, "machine": machine });
            table::field(&all, key.field()).cloned()
        };
        assert_eq!(held("", &[], &[]), key.default_value(), "{}", key.name);
        for text in key.examples.values {
            let expect = Some(key.literal(text).unwrap());
            assert_eq!(held("", &[], &[&format!("{}={text}", key.name)]), expect, "{}", key.name);
            let value = toml(&key.literal(text).unwrap());
            let names = key.aliases.iter().chain([&key.name]);
            for line in names.map(|name| format!("{name} = {value}")) {
                if key.owner() == Owner::Schedule {
                    assert_eq!(held(&line, &[], &[]), expect, "{line}");
                } else {
                    assert!(refused_with(&line, &[], &[]).contains("is about this machine"));
                }
            }
            let name = key.name.strip_prefix("machine.").unwrap_or(key.name);
            let name = format!("SWEEP_{}", name.replace('.', "_").to_uppercase());
            let text = text.trim_matches(['[', ']']).replace("', '", ":").replace('\'', "");
            assert_eq!(held("", &[(&name, &text)], &[]), expect, "{name}={text}");
            let axis = format!("[grid]\n'{}' = [{value}]", key.name);
            assert!(!refused_with(&axis, &[], &[]).is_empty());
        }
    }
}

#[test]
fn short_names_for_several_keys_set_them_and_are_read_back() {
    for compound in compounds() {
        assert!(compound.sets.iter().all(|name| find(name).is_some()), "{}", compound.name);
        for text in compound.examples {
            let at = crate::experiment::text::tree::Origin::default_value();
            let value = crate::experiment::text::tree::parse_value(text, &at).to_json().unwrap();
            let set = (compound.expand)(&value).unwrap();
            assert!(set.iter().all(|(name, _)| compound.sets.contains(name)), "{text}");
            let of = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, v)| v.clone());
            assert_eq!((compound.shown)(&of).as_deref(), Some(text));
            let spec = spec(&format!("{} = {}", compound.name, toml(&value)), &[]);
            for (name, value) in &set {
                assert!(holds(find(name).unwrap(), &spec, value), "{text}: {name}");
            }
        }
    }
}

#[test]
fn the_reference_names_every_key_once_in_a_table() {
    let text = reference();
    for name in all().map(|key| key.name).chain(compounds().map(|compound| compound.name)) {
        let rows = text.lines().filter(|line| {
            line.strip_prefix(&format!("| `{name}`")).is_some_and(|rest| rest.starts_with(' '))
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), 1, "{name}");
        assert_eq!(rows[0].replace("\\|", "").matches('|').count(), 5, "{}", rows[0]);
    }
    assert!(text.ends_with("|\n"));
}
