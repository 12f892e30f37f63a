//! Nothing that can be written makes the loader panic.

use proptest::prelude::*;

use super::*;

/// Any TOML value, small.
fn any_value() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "small", "lora", "frozen", "voc", "kind", "val", "best", "", "x y", "é", "dinov3", "file",
    ]);
    let number = prop::sample::select(vec![
        "0",
        "1",
        "-1",
        "5",
        "14",
        "490",
        "1e-3",
        "0.5",
        "nan",
        "-inf",
        "true",
        "1979-05-27",
        "9223372036854775807",
        "99999999999999999999999999999999999999999999",
    ]);
    let leaf = prop_oneof![word.prop_map(|w| format!("'{w}'")), number.prop_map(str::to_owned)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop::sample::select(vec![
            "kind", "rank", "px", "tokens", "fraction", "size", "lr", "when", "set", "suite",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(", "))),
            prop::collection::btree_map(key, inner, 0..3).prop_map(|map| {
                let fields: Vec<_> = map.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                format!("{{ {} }}", fields.join(", "))
            }),
        ]
    })
}

/// Any name that may stand at the top or in the grid.
fn any_name() -> impl Strategy<Value = String> {
    let others = ["name", "grid", "exclude", "include", "override", "zip", "train.input"];
    let names: Vec<String> = keys::all()
        .map(|key| key.name)
        .chain(keys::aliases().map(|(alias, _)| alias))
        .chain(keys::groups().map(|group| group.name))
        .chain(keys::compounds().map(|compound| compound.name))
        .chain(others)
        .map(|name| format!("'{name}'"))
        .collect();
    prop::sample::select(names)
}

fn any_table() -> impl Strategy<Value = String> {
    prop::collection::btree_map(any_name(), any_value(), 0..5).prop_map(|map| {
        map.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join("\n")
            + "\n"
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_written_makes_the_loader_panic(
        base in any_table(),
        grid in any_table(),
        cell in any_table(),
        rule in any_table(),
    ) {
        let toml = format!(
            "{base}[grid]\n{grid}[[exclude]]\n{rule}[[include]]\n{cell}[[override]]\n\
             [override.when]\n{rule}[override.set]\n{cell}"
        );
        if let Err(problems) = load_with(&toml, &[], &[]) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn a_grid_of_anything_that_is_accepted_makes_sound_cells(
        name in any_name(),
        values in prop::collection::vec(any_value(), 1..3),
    ) {
        let toml = format!("weights = 'random'\n[grid]\n{name} = [{}]", values.join(", "));
        if let Ok((experiment, _)) = load_with(&toml, &[], &[]) {
            for cell in &experiment.cells {
                prop_assert_eq!(faults(&cell.spec), "");
            }
        }
    }

    #[test]
    fn what_is_set_and_accepted_makes_sound_cells(name in any_name(), value in any_value()) {
        let set = format!("{}={value}", name.trim_matches('\''));
        if let Ok((experiment, _)) = load_with("[grid]\nsize = ['small', 'base']", &[], &[&set]) {
            for cell in &experiment.cells {
                prop_assert_eq!(faults(&cell.spec), "");
            }
        }
    }
}
