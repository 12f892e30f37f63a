//! What comes out of specs that make sense.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::model::{Pretraining, TuneConfig};
use crate::train::{Input, Recipe, Schedule};

#[test]
fn nothing_given_is_a_frozen_small_dinov2_on_voc() {
    let spec = only("");
    let json = serde_json::to_value(&spec).unwrap();
    let check = |group: &str, expect: Value| assert_eq!(json[group], expect, "{group}");
    check("seed", json!(0));
    check("model", json!({ "dino_type": "dinov2", "size": "small", "registers": true }));
    check("weights", json!({ "kind": "pretrained" }));
    check("tune", json!({ "kind": "frozen" }));
    check("decoder", json!({ "kind": "linear" }));
    check("data", json!({ "kind": "voc", "root": null, "train": "train" }));
    assert_eq!(spec.train.recipe, Recipe::Modern);
    assert_eq!(spec.eval, eval::Config::default());
    assert_eq!(faults(&spec), "");
}

#[test]
fn machine_keys_come_from_file_then_environment_then_set() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sweep/config.toml");
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    let toml = "results = 'from_file'\nweight_dirs = ['w']\ndata_dirs = ['~/d']\n\
                [schedule]\njobs = 7\nretries = 7\nthreads = 7";
    fs_err::write(&file, toml).unwrap();
    let mut env = vec![
        ("SWEEP_RESULTS".to_owned(), "from_env".to_owned()),
        ("SWEEP_DATA_DIRS".to_owned(), "a:~/b:".to_owned()),
        ("SWEEP_SCHEDULE_JOBS".to_owned(), "2".to_owned()),
        ("SWEEP_LOG".to_owned(), "debug".to_owned()),
        ("SWEEP_WEIGHT_DIRS".to_owned(), String::new()),
        ("HOME".to_owned(), "/home/me".to_owned()),
    ];
    let machine = load_machine(Some(&file), &env, &[]).unwrap();
    assert_eq!(machine.results, PathBuf::from("from_env"));
    assert_eq!(machine.data_dirs, [PathBuf::from("a"), PathBuf::from("/home/me/b")]);
    assert_eq!(machine.weight_dirs, [PathBuf::from("w")]);
    let experiment = dir.path().join("x.toml");
    fs_err::write(&experiment, "[schedule]\njobs = 3\nretries = 3").unwrap();
    let set = ["machine.results=from set".to_owned(), "devices=cuda:1,2,cpu".to_owned()];
    let layers =
        Layers { experiment: &experiment, machine_file: Some(&file), env: &env, set: &set };
    let (experiment, machine) = load_experiment(&layers).unwrap();
    assert_eq!(machine.results, PathBuf::from("from set"));
    let schedule = experiment.schedule;
    assert_eq!((schedule.jobs, schedule.retries, schedule.threads), (2, 3, 7));
    assert_eq!(schedule.devices.to_string(), "cuda:1,cuda:2,cpu");

    env.push(("XDG_CONFIG_HOME".to_owned(), dir.path().display().to_string()));
    assert_eq!(machine_file(&env).as_deref(), Some(file.as_path()));
    env.pop();
    assert_eq!(machine_file(&env), None);
}

#[test]
fn a_tilde_is_the_home_folder_wherever_a_path_is_given() {
    let toml = "weights = { kind = 'file', path = '~/w' }\n[grid]\n'data.root' = ['~/a', '/b']\n\
                [data]\nkind = 'folder'\nimages = '~/i/{split}/{stem}.*'\n\
                masks = 'm/{split}/{stem}.png'\nclasses = '~/c.txt'\n\
                splits = { train = '~/t.txt', val = '~v.txt' }\n\
                [eval]\nsets = ['val', { kind = 'voc', root = '~' },\n\
                { kind = 'folder', root = '/x', images = 'i/{stem}.png', masks = '~/m/{stem}.png',\n\
                classes = ['~/a'], splits = { val = '~/v.txt' } }]";
    let home = [("HOME", "/home/me/")];
    let (experiment, _) = load_with(toml, &home, &[]).unwrap();
    insta::assert_snapshot!(table(&experiment), @r"
    data.root=~/a
    data.root=/b
    ");
    let spec = serde_json::to_value(&experiment.cells[0].spec).unwrap();
    assert_eq!(spec["weights"]["path"], "/home/me/w");
    let data = &spec["data"];
    assert_eq!(data["root"], "/home/me/a");
    assert_eq!(data["images"], "/home/me/i/{split}/{stem}.*");
    assert_eq!(data["masks"], "m/{split}/{stem}.png");
    assert_eq!(data["classes"], json!({ "file": "/home/me/c.txt" }));
    assert_eq!(data["splits"], json!({ "train": "/home/me/t.txt", "val": "~v.txt" }));
    let sets = &spec["eval"]["sets"];
    assert_eq!((&sets[0], &sets[1]["root"]), (&json!("val"), &json!("/home/me")));
    assert_eq!(
        (&sets[2]["root"], &sets[2]["masks"]),
        (&json!("/x"), &json!("/home/me/m/{stem}.png"))
    );
    assert_eq!(sets[2]["classes"], json!({ "names": ["~/a"] }));
    assert_eq!(sets[2]["splits"], json!({ "val": "/home/me/v.txt" }));

    let voc = ["data.kind=voc".to_owned(), "data.root=~/voc".to_owned()];
    let env = [("HOME".to_owned(), "/home/me".to_owned())];
    assert_eq!(load_data(&voc, &env).unwrap().root(), Some(Path::new("/home/me/voc")));
    insta::assert_snapshot!(lines(&load_data(&voc, &[]).unwrap_err()), @"data.root: `~/voc` needs HOME to be set");
    let data_dirs = ["machine.data_dirs=['~']".to_owned()];
    insta::assert_snapshot!(lines(&load_machine(None, &[], &data_dirs).unwrap_err()), @"machine.data_dirs: `~` needs HOME to be set");
}

#[test]
fn axes_multiply_in_the_order_written_the_last_one_fastest() {
    let toml = "[grid]\nsize = ['base', 'small']\ndecoder = ['fpn', 'linear']\nseed = [1, 0]";
    insta::assert_snapshot!(table(&load(toml)), @"
    size=base decoder=fpn seed=1
    size=base decoder=fpn seed=0
    size=base decoder=linear seed=1
    size=base decoder=linear seed=0
    size=small decoder=fpn seed=1
    size=small decoder=fpn seed=0
    size=small decoder=linear seed=1
    size=small decoder=linear seed=0
    ");
    assert_eq!(load(toml).axes, ["size", "decoder", "seed"]);
    assert_eq!(load(toml).name, "x");
}

#[test]
fn every_way_to_write_an_axis_means_the_same() {
    let rates = |toml: &str| -> Vec<f64> {
        load(toml).cells.iter().map(|cell| cell.spec.train.lr).collect()
    };
    let expect = [1e-4, 3e-4];
    assert_eq!(rates("[grid]\nlr = [1e-4, 3e-4]"), expect);
    assert_eq!(rates("[grid]\n'train.lr' = [1e-4, 3e-4]"), expect);
    assert_eq!(rates("[grid]\ntrain.lr = [1e-4, 3e-4]"), expect);
    assert_eq!(rates("[grid.train]\nlr = [1e-4, 3e-4]"), expect);
    assert_eq!(rates("[grid]\nany = [{ lr = 1e-4 }, { train = { lr = 3e-4 } }]"), expect);
    assert_eq!(rates("[grid]\nlr = 1e-4"), [1e-4]);
}

#[test]
fn axes_may_hold_tables_kinds_and_lists() {
    let toml = "[grid]\ntune = ['frozen', { kind = 'lora', rank = 9, targets = ['v'] }]\n\
                'eval.sets' = [['val'], ['val', 'train']]\npx = [448, [308, 616]]";
    insta::assert_snapshot!(table(&load(toml)), @"
    tune=frozen eval.sets=val px=448
    tune=frozen eval.sets=val px=308x616
    tune=frozen eval.sets=val,train px=448
    tune=frozen eval.sets=val,train px=308x616
    tune=lora rank=9 targets=v eval.sets=val px=448
    tune=lora rank=9 targets=v eval.sets=val px=308x616
    tune=lora rank=9 targets=v eval.sets=val,train px=448
    tune=lora rank=9 targets=v eval.sets=val,train px=308x616
    ");
    let backbones =
        load("[grid]\nbackbone = ['dinov2_vitl14', 'dinov3_vith16plus', 'dinov3_vitl16_sat493m']");
    insta::assert_snapshot!(table(&backbones), @"
    backbone=dinov2_vitl14
    backbone=dinov3_vith16plus
    backbone=dinov3_vitl16_sat493m
    ");
    assert_eq!(backbones.cells[0].spec.model.size.name(), "large");
    let pretraining = |i: usize| backbones.cells[i].spec.model.pretraining;
    assert_eq!([pretraining(1), pretraining(2)], [Pretraining::Lvd1689m, Pretraining::Sat493m]);
    assert!(!backbones.cells[0].spec.model.registers && backbones.cells[1].spec.model.registers);
}

#[test]
fn lora_can_be_an_axis_in_all_its_keys() {
    let toml = "lora_rank = 4\n[grid]\nlora_targets = [['q', 'v'], ['all']]\n\
                lora_blocks = [[0, 11], [6, 11]]\nlora_scaling = ['standard', 'rslora']\n\
                lora_dropout = [0.1]";
    let experiment = load(toml);
    insta::assert_snapshot!(table(&experiment).lines().take(3).collect::<Vec<_>>().join("\n"), @"
    lora_targets=q,v lora_blocks=0-11 lora_scaling=standard lora_dropout=0.1
    lora_targets=q,v lora_blocks=0-11 lora_scaling=rslora lora_dropout=0.1
    lora_targets=q,v lora_blocks=6-11 lora_scaling=standard lora_dropout=0.1
    ");
    assert_eq!(experiment.cells.len(), 8);
    let TuneConfig::Lora(lora) = &experiment.cells[7].spec.tune else { panic!("not LoRA") };
    assert_eq!((lora.blocks, lora.dropout, lora.scale()), (Some([6, 11]), 0.1, 2.0));
}

#[test]
fn transforms_are_choices_of_an_axis() {
    let toml = "[grid]\ntransform = ['squash', 'crop', { kind = 'crop', scale = [1, 1.5] }]\n\
                photometric = [false, true]";
    let (experiment, _) = load_with(toml, &[], &[]).unwrap();
    insta::assert_snapshot!(table(&experiment), @"
    transform=squash photometric=false
    transform=squash photometric=true
    transform=crop photometric=false
    transform=crop photometric=true
    transform=crop scale=1,1.5 photometric=false
    transform=crop scale=1,1.5 photometric=true
    ");
    let toml = "[grid]\ntrain.transform.kind = ['crop']\ntransform.scale = [[1, 1], [0.5, 2]]";
    let (experiment, _) = load_with(toml, &[], &[]).unwrap();
    insta::assert_snapshot!(table(&experiment), @"
    train.transform.kind=crop transform.scale=1-1
    train.transform.kind=crop transform.scale=0.5-2
    ");
}

#[test]
fn zipped_axes_show_a_column_for_each_key() {
    let toml = "lr = 0.5\n[grid]\nrow = [{ size = 'small', lora_rank = 0 }, { size = 'base', lr = 0.1 }]\nseed = [0, 1]";
    insta::assert_snapshot!(table(&load(toml)), @"
    size=small lora_rank=0 lr=0.5 seed=0
    size=small lora_rank=0 lr=0.5 seed=1
    size=base lora_rank=0 lr=0.1 seed=0
    size=base lora_rank=0 lr=0.1 seed=1
    ");
}

#[test]
fn rules_drop_add_and_change_cells() {
    let toml = "[grid]\nsize = ['small', 'base']\nlora_rank = [0, 3, 9]\n\
                [[exclude]]\nlora_rank = [3, 9]\nmodel = { size = 'small' }\n\
                [[exclude]]\nlora_rank = 3\n\
                [[include]]\nsize = 'large'\nlora_rank = 4\nlr = 0.5\n\
                [[override]]\nwhen = { lora_rank = [4, 9] }\nset = { steps = 77, lora_alpha = 2.0 }";
    let experiment = load(toml);
    insta::assert_snapshot!(table(&experiment), @"
    size=small lora_rank=0 lr=0.001
    size=base lora_rank=0 lr=0.001
    size=base lora_rank=9 lr=0.001
    size=large lora_rank=4 lr=0.5
    ");
    let steps: Vec<_> = experiment.cells.iter().map(|cell| cell.spec.train.steps).collect();
    assert_eq!(steps, [None, None, Some(77), Some(77)]);
    let alpha = |i: usize| match &experiment.cells[i].spec.tune {
        TuneConfig::Lora(lora) => lora.alpha,
        _ => None,
    };
    assert_eq!((alpha(0), alpha(2)), (None, Some(2.0)));
}

#[test]
fn include_alone_makes_only_its_cells() {
    let toml = "[[include]]\nsize = 'base'\n[[include]]\nlr = 0.5";
    insta::assert_snapshot!(table(&load(toml)), @"
    size=base lr=0.001
    size=small lr=0.5
    ");
}

#[test]
fn another_kind_takes_the_old_kinds_keys_away_and_keeps_its_own() {
    let channels = |toml: &str| -> Vec<Option<u64>> {
        let of =
            |cell: &Cell| serde_json::to_value(&cell.spec.decoder).unwrap()["channels"].as_u64();
        load(toml).cells.iter().map(of).collect()
    };
    let grid = "[grid]\ndecoder = ['linear', 'fpn']";
    assert_eq!(channels(&format!("decoder.channels = 64\n{grid}")), [None, Some(64)]);
    assert_eq!(channels(grid), [None, Some(128)]);
    let root = |toml: &str| serde_json::to_value(&only(toml).data).unwrap()["root"].clone();
    assert_eq!(root("data = { kind = 'voc', root = '/v' }\n[grid]\ndataset = ['voc']"), "/v");
    assert!(root("data = { kind = 'voc', root = '/v' }\n[grid]\ndataset = ['ade20k']").is_null());
    let constant = only("train.schedule = 'constant'").train.schedule;
    assert_eq!(constant, Schedule::Constant {});
}

#[test]
fn one_of_two_exclusive_keys_replaces_the_recipes() {
    let train = only("steps = 40\npx = 448").train;
    assert_eq!((train.epochs, train.steps, train.input), (None, Some(40), Input::Px([448, 448])));
    let train = only("recipe = 'reference'\ntokens = 7").train;
    assert_eq!((train.epochs, train.batch_size, train.input), (Some(100), 12, Input::Tokens(7)));
}

#[test]
fn set_goes_over_everything_and_an_axis_it_covers_is_one_choice() {
    let toml = "lr = 0.5\n[grid]\nsize = ['small', 'base']\nlora_rank = [0, 3]\n\
                [[override]]\nwhen = { lora_rank = 3 }\nset = { epochs = 9 }";
    let set = ["train.epochs=1", "size=large", "lr = 0.25", "data.root=/tmp/x y"];
    let (experiment, _) = load_with(toml, &[], &set).unwrap();
    insta::assert_snapshot!(table(&experiment), @"
    size=large lora_rank=0
    size=large lora_rank=3
    ");
    for cell in &experiment.cells {
        assert_eq!((cell.spec.train.epochs, cell.spec.train.lr), (Some(1), 0.25));
    }
    let (experiment, _) = load_with(toml, &[], &["tune={ kind = 'lora', rank = 5 }"]).unwrap();
    insta::assert_snapshot!(table(&experiment), @"
    size=small lora_rank=5
    size=base lora_rank=5
    ");
}

#[test]
fn equal_cells_are_merged_and_reported() {
    let toml = "[grid]\ndino_type = ['dinov2', 'dinov3']\nregisters = [true, false]";
    let experiment = load(toml);
    insta::assert_snapshot!(table(&experiment), @"
    dino_type=dinov2 registers=true
    dino_type=dinov2 registers=false
    dino_type=dinov3 registers=true
    ");
    insta::assert_snapshot!(experiment.warnings.join("\n"), @"1 cell comes out the same as an earlier one and is left out: (dino_type=dinov3 registers=false) as (dino_type=dinov3 registers=true)");
    let toml = "[grid]\nlora_rank = [0, 3]\n'train.lr_encoder' = [1e-4, 2e-4]\nlora_alpha = [1, 3]";
    let experiment = load(toml);
    insta::assert_snapshot!(table(&experiment), @"
    lora_rank=0 train.lr_encoder=0.0001 lora_alpha=1
    lora_rank=3 train.lr_encoder=0.0001 lora_alpha=1
    lora_rank=3 train.lr_encoder=0.0001 lora_alpha=3
    lora_rank=3 train.lr_encoder=0.0002 lora_alpha=1
    lora_rank=3 train.lr_encoder=0.0002 lora_alpha=3
    ");
    insta::assert_snapshot!(experiment.warnings.join("\n"), @"3 cells come out the same as an earlier one and are left out: (lora_rank=0 train.lr_encoder=0.0001 lora_alpha=3) as (lora_rank=0 train.lr_encoder=0.0001 lora_alpha=1), (lora_rank=0 train.lr_encoder=0.0002 lora_alpha=1) as (lora_rank=0 train.lr_encoder=0.0001 lora_alpha=1), (lora_rank=0 train.lr_encoder=0.0002 lora_alpha=3) as (lora_rank=0 train.lr_encoder=0.0001 lora_alpha=1)");
    let merged = |toml: &str| load(toml).cells.len();
    assert_eq!(merged("[grid]\n'train.validate_every' = [1, 2]"), 1);
    assert_eq!(merged("train.dev.fraction = 0.1\n[grid]\n'train.validate_every' = [1, 2]"), 2);
    assert_eq!(merged("[grid]\nprecision = ['auto', 'f32']"), 1);
    assert_eq!(merged("[grid]\nprecision = ['auto', 'bf16']"), 2);
    assert_eq!(merged("[grid]\npx = [448, 450]"), 1);
    assert_eq!(merged("[grid]\nrecipe = ['modern', 'reference']"), 2);
    assert_eq!(merged("[grid]\nselect = ['last', 'best']\n[train]\ndev.fraction = 0.1"), 2);
}

#[test]
fn sizes_that_are_no_whole_patches_are_lowered_with_a_warning() {
    let experiment = load("px = 490\n[grid]\ndino_type = ['dinov2', 'dinov3']");
    insta::assert_snapshot!(experiment.warnings.join("\n"), @"train.input.px: 490x490 is lowered to 480x480 for dinov3, whose patches are 16 pixels");
    let px: Vec<_> = experiment.cells.iter().map(|cell| input_px(&cell.spec)).collect();
    assert_eq!(px, [[490, 490], [480, 480]]);
    assert_eq!(input_px(&only("tokens = 32")), [448, 448]);
}

#[test]
fn a_label_shows_the_value_that_set_gives() {
    let toml = "[grid]\nweights = ['random', { kind = 'file', path = '/a' }]\nseed = [0, 1]";
    let (experiment, _) = load_with(toml, &[], &["weights.path=/b", "seed=7"]).unwrap();
    insta::assert_snapshot!(table(&experiment), @"
    weights=random seed=7
    weights=file path=/b seed=7
    ");
}

#[test]
fn what_never_has_an_effect_is_said() {
    let warnings =
        |toml: &str, set: &[&str]| load_with(toml, &[], set).unwrap().0.warnings.join("\n");
    let toml = "data = { kind = 'voc', root = '/v' }\n[grid]\ndataset = ['ade20k']";
    insta::assert_snapshot!(warnings(toml, &[]), @"data.root in line 1 has no effect: no cell with it has data.kind = `voc` or `ade20k` or `cityscapes` or `acdc` or `folder`");
    let toml = "decoder = { kind = 'fpn', channels = 64 }";
    insta::assert_snapshot!(warnings(toml, &["decoder=linear"]), @"decoder.channels in line 1 has no effect: no cell with it has decoder.kind = `fpn` or `fpn_reference`");
    let toml = "[grid]\nsize = ['small']\nseed = [0, 1]\n[[exclude]]\nseed = 2";
    insta::assert_snapshot!(warnings(toml, &[]), @"[[exclude]] in line 4 matches no cell");
    let toml = "[grid]\nseed = [0, 1]\n[[override]]\nwhen = { seed = 2 }\nset = { lr = 1 }";
    insta::assert_snapshot!(warnings(toml, &[]), @"[[override]] in line 4 matches no cell");
    assert_eq!(warnings("[tune]\nkind = 'lora'\nrank = 4\n[grid]\nlora_rank = [3, 9]", &[]), "");
}

#[test]
fn the_experiments_load_and_have_as_many_cells_as_they_say() {
    let check = |name: &str, n_cells: usize| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("experiments/{name}.toml"));
        let layers = Layers { experiment: &path, machine_file: None, env: &[], set: &[] };
        let (experiment, machine) =
            load_experiment(&layers).unwrap_or_else(|p| panic!("{}", lines(&p)));
        assert_eq!((experiment.name.as_str(), experiment.cells.len()), (name, n_cells));
        assert_eq!(machine, Machine::default());
        for cell in &experiment.cells {
            assert_eq!(faults(&cell.spec), "", "{name} {:?}", cell.labels);
        }
        experiment
    };
    check("quickstart", 12);
    check("voc_grid", 90);
    check("ade20k_grid", 24);
    check("ccp8", 8);
    check("linear_probe", 10);
    let reference = check("reference_table", 8);
    insta::assert_snapshot!(table(&reference), @"
    dino_type=dinov2 lora_rank=0 decoder=linear dataset=voc
    dino_type=dinov2 lora_rank=0 decoder=linear dataset=ade20k
    dino_type=dinov3 lora_rank=3 decoder=linear dataset=voc
    dino_type=dinov3 lora_rank=3 decoder=linear dataset=ade20k
    dino_type=dinov2 lora_rank=3 decoder=linear dataset=voc
    dino_type=dinov2 lora_rank=3 decoder=linear dataset=ade20k
    dino_type=dinov2 lora_rank=3 decoder=fpn_reference dataset=voc
    dino_type=dinov2 lora_rank=3 decoder=fpn_reference dataset=ade20k
    ");
    insta::assert_snapshot!(reference.warnings.join("\n"), @"train.input.px: 490x490 is lowered to 480x480 for dinov3, whose patches are 16 pixels");
}

#[test]
fn recipes_are_listed_key_by_key() {
    let recipes = keys::recipes();
    assert_eq!(recipes.names, ["modern", "reference"]);
    let row = |row: &keys::RecipeRow| {
        let values = row.values.iter().map(|value| value.as_deref().unwrap_or("-"));
        format!("{}: {}", row.key, values.collect::<Vec<_>>().join(" | "))
    };
    let rows: Vec<_> = recipes.rows.iter().map(row).collect();
    let expect = [
        "train.epochs: 50 | 100",
        "train.batch_size: 16 | 12",
        "train.lr: 0.001 | 0.0003",
        "train.lr_encoder: 0.0002 | 0.0003",
        "train.weight_decay: 0.05 | 0.01",
        "train.schedule.kind: cosine | constant",
        "train.schedule.warmup_percent: 4 | -",
        "train.transform.kind: squash | squash",
        "train.flip: 0.5 | 0",
        "train.photometric: false | false",
        "train.input.tokens: 32 | -",
        "train.input.px: - | 490",
        "train.normalise: backbone | none",
        "train.void_label: ignore | background",
        "train.dev.fraction: 0 | 0",
        "train.dev.seed: 0 | 0",
        "train.precision: auto | auto",
        "train.validate_every: 1 | 5",
    ];
    for line in expect {
        assert!(rows.iter().any(|row| row == line), "{line}");
    }
}
