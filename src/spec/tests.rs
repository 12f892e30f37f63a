//! Specs from text to cells, and what is said about nonsense.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::{DecoderConfig, TuneConfig};
use crate::train::{Input, Schedule};

/// Loads `toml` as `x.toml`, with an environment and `--set`s.
pub(super) fn load_with(
    toml: &str,
    env: &[(&str, &str)],
    set: &[&str],
) -> Result<(Experiment, Machine), Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    fs_err::write(&path, toml).unwrap();
    let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let set: Vec<_> = set.iter().map(|s| (*s).to_owned()).collect();
    let layers = Layers { experiment: &path, machine_file: None, env: &env, set: &set };
    load_experiment(&layers).map_err(|problems| in_place(problems, dir.path()))
}

/// Problems with file names that do not depend on the temporary folder.
fn in_place(problems: Vec<Problem>, dir: &Path) -> Vec<Problem> {
    let strip = |problem: Problem| {
        let file = problem
            .file
            .map(|file| file.strip_prefix(dir).map_or_else(|_| file.clone(), Path::to_path_buf));
        Problem { file, ..problem }
    };
    problems.into_iter().map(strip).collect()
}

fn load(toml: &str) -> Experiment {
    match load_with(toml, &[], &[]) {
        Ok((experiment, _)) => experiment,
        Err(problems) => panic!("{toml}\n{}", lines(&problems)),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is said about a spec that must be refused.
fn refused(toml: &str) -> String {
    refused_with(toml, &[], &[])
}

fn refused_with(toml: &str, env: &[(&str, &str)], set: &[&str]) -> String {
    match load_with(toml, env, set) {
        Ok((experiment, _)) => panic!("accepted {toml}: {} cells", experiment.cells.len()),
        Err(problems) => lines(&problems),
    }
}

/// The cells' labels, one line each.
fn table(experiment: &Experiment) -> String {
    let row = |cell: &Cell| {
        let labels: Vec<_> = cell.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        labels.join(" ")
    };
    experiment.cells.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn only(toml: &str) -> RunSpec {
    let experiment = load(toml);
    assert_eq!(experiment.cells.len(), 1, "{}", table(&experiment));
    experiment.cells[0].spec.clone()
}

#[test]
fn nothing_given_is_a_frozen_small_dinov2_on_voc() {
    let spec = only("");
    let json = serde_json::to_string(&spec).unwrap();
    insta::assert_snapshot!(json, @r#"{"seed":0,"model":{"dino_type":"dinov2","size":"small","registers":true},"weights":{"kind":"pretrained"},"tune":{"kind":"frozen"},"decoder":{"kind":"linear"},"data":{"kind":"voc","root":null,"train":"train"},"train":{"recipe":"modern","epochs":50,"steps":null,"batch_size":16,"lr":0.001,"lr_encoder":0.0002,"weight_decay":0.05,"schedule":{"kind":"cosine","warmup_percent":4},"flip":0.5,"input":{"tokens":32},"normalise":"backbone","void_label":"ignore","dev":{"fraction":0.0,"seed":0},"precision":"auto","validate_every":1},"eval":{"sets":["val"],"mode":{"kind":"whole"},"corruption":{"suite":"imagenet-c-first8","severities":[5]},"select":"last"}}"#);
    assert!(check(&spec).is_empty());
}

#[test]
fn names_and_values_that_do_not_exist_are_answered_with_the_nearest() {
    insta::assert_snapshot!(refused("lr_rate = 1"), @"x.toml:1: lr_rate: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`");
    insta::assert_snapshot!(refused("[train]\nlearning_rate = 1"), @"x.toml:2: train.learning_rate: unknown key; allowed in `train`: `recipe`, `epochs`, `steps`, `batch_size`, `lr`, `lr_encoder`, `weight_decay`, `schedule`, `flip`, `input`, `normalise`, `void_label`, `dev`, `precision`, `validate_every`");
    insta::assert_snapshot!(refused("[train]\nepoch = 1"), @"x.toml:2: train.epoch: unknown key; allowed in `train`: `recipe`, `epochs`, `steps`, `batch_size`, `lr`, `lr_encoder`, `weight_decay`, `schedule`, `flip`, `input`, `normalise`, `void_label`, `dev`, `precision`, `validate_every`; did you mean `train.epochs`?");
    insta::assert_snapshot!(refused("rank = 4"), @"x.toml:1: rank: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `tune.rank`?");
    insta::assert_snapshot!(refused("[gird]\nsize = ['small']"), @"x.toml:1: gird: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `grid`?");
    insta::assert_snapshot!(refused("[grid]\nsise = ['small']"), @"x.toml:2: sise: unknown key; allowed: `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?");
    insta::assert_snapshot!(refused("[grid]\nsize = ['smal']"), @"x.toml:2: size: `smal` is not known; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `huge_plus`, `giant`, `7b`; did you mean `small`?");
    insta::assert_snapshot!(refused("decoder = 'fnp'"), @"x.toml:1: decoder: `fnp` is not known; allowed: `linear`, `fpn`; did you mean `fpn`?");
    insta::assert_snapshot!(refused("[decoder]\nkind = 'mask2former'"), @"x.toml:2: decoder.kind: `mask2former` is not known; allowed: `linear`, `fpn`");
    insta::assert_snapshot!(refused("suite = 'imagenet-c-firts8'"), @"x.toml:1: suite: `imagenet-c-firts8` is not known; allowed: `imagenet-c-first8`, `none`; did you mean `imagenet-c-first8`?");
    insta::assert_snapshot!(refused("backbone = 'dinov2_vitl16'"), @"x.toml:1: backbone: `dinov2_vitl16` is not known; allowed: `dinov2_vits14`, `dinov2_vits14_reg`, `dinov2_vitb14`, `dinov2_vitb14_reg`, `dinov2_vitl14`, `dinov2_vitl14_reg`, `dinov2_vitg14`, `dinov2_vitg14_reg`, `dinov3_vits16`, `dinov3_vits16plus`, `dinov3_vitb16`, `dinov3_vitl16`, `dinov3_vith16plus`, `dinov3_vit7b16`; did you mean `dinov2_vitl14`?");
    insta::assert_snapshot!(refused("[grid]\ntune = ['frozen', { kind = 'lora', rnak = 3 }]"), @"x.toml:2: tune.rnak: unknown key; allowed in `tune`: `kind`, `rank`, `alpha`, `targets`; did you mean `tune.rank`?");
    insta::assert_snapshot!(refused("a.b.c = 1"), @"x.toml:1: a: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`");
}

#[test]
fn wrong_types_and_ranges_say_what_is_allowed() {
    insta::assert_snapshot!(refused("lr = 'fast'"), @"x.toml:1: lr: found the text `fast`; allowed: a number above 0, up to 10");
    insta::assert_snapshot!(refused("lr = -1e-3"), @"x.toml:1: lr: `-0.001` is out of range; allowed: a number above 0, up to 10");
    insta::assert_snapshot!(refused("lr = nan"), @"x.toml:1: lr: `NaN` is not a finite number; allowed: a number above 0, up to 10");
    insta::assert_snapshot!(refused("lr = inf"), @"x.toml:1: lr: `inf` is not a finite number; allowed: a number above 0, up to 10");
    insta::assert_snapshot!(refused("lr = [1e-3, 1e-4]"), @"x.toml:1: lr: found the list `[0.001,0.0001]`; allowed: a number above 0, up to 10; a list of choices belongs under [grid]");
    insta::assert_snapshot!(refused("epochs = 2.5"), @"x.toml:1: epochs: found the number `2.5`; allowed: a whole number from 1 to 100000");
    insta::assert_snapshot!(refused("epochs = 0"), @"x.toml:1: epochs: `0` is out of range; allowed: a whole number from 1 to 100000");
    insta::assert_snapshot!(refused("epochs = 99999999999999999999"), @"x.toml:1: epochs: found the number `1e+20`; allowed: a whole number from 1 to 100000");
    insta::assert_snapshot!(refused("seed = -1"), @"x.toml:1: seed: `-1` is out of range; allowed: a whole number, 0 or more");
    insta::assert_snapshot!(refused("seed = [0, 1]"), @"x.toml:1: seed: found the list `[0,1]`; allowed: a whole number, 0 or more; a list of choices belongs under [grid]");
    insta::assert_snapshot!(refused("train = 3"), @"x.toml:1: train: found a whole number; allowed: a table of `recipe`, `epochs`, `steps`, `batch_size`, `lr`, `lr_encoder`, `weight_decay`, `schedule`, `flip`, `input`, `normalise`, `void_label`, `dev`, `precision`, `validate_every`");
    insta::assert_snapshot!(refused("tune = 4"), @"x.toml:1: tune: found a whole number; allowed: `frozen`, `lora`, `full`, or a table of `kind`, `rank`, `alpha`, `targets`");
    insta::assert_snapshot!(refused("lora_rank = -3"), @"x.toml:1: lora_rank: `-3` is out of range; allowed: a whole number from 0 to 1024 (0: frozen encoder)");
    insta::assert_snapshot!(refused("registers = 'yes'"), @"x.toml:1: registers: found the text `yes`; allowed: true or false");
    insta::assert_snapshot!(refused("registers = 2020-01-01"), @"x.toml:1: registers: `2020-01-01` is a date, which no key takes; allowed: true or false");
    insta::assert_snapshot!(refused("px = [308, 308, 3]"), @"x.toml:1: px: found the list `[308,308,3]`; allowed: a side, or [height, width], in pixels from 14 to 8192; a list of choices belongs under [grid]");
    insta::assert_snapshot!(refused("px = 8"), @"x.toml:1: px: `8` is out of range; allowed: a side, or [height, width], in pixels from 14 to 8192");
    insta::assert_snapshot!(refused("eval.sets = []"), @"x.toml:1: eval.sets: the list is empty; allowed: a list, each item: a file name without folder, ending or white space");
    insta::assert_snapshot!(refused("eval.sets = ['val', 'val']"), @"x.toml:1: eval.sets: `val` is listed twice");
    insta::assert_snapshot!(refused("eval.sets = ['../val']"), @"x.toml:1: eval.sets: `../val` does not fit; allowed: a file name without folder, ending or white space");
    insta::assert_snapshot!(refused("severities = [5, 6]"), @"x.toml:1: severities: `6` is out of range; allowed: a whole number from 1 to 5");
    insta::assert_snapshot!(refused("data.root = ''"), @"x.toml:1: data.root: the text is empty; allowed: a path");
    insta::assert_snapshot!(refused("schedule.devices = 'gpu'"), @"x.toml:1: schedule.devices: `gpu` does not fit; allowed: `auto`, `cpu`, `cuda:N`, or several of them separated by commas");
    insta::assert_snapshot!(refused("name = 3"), @"x.toml:1: name: found a whole number; allowed: text");
    insta::assert_snapshot!(refused("name = 'My Grid'"), @"x.toml:1: name: `My Grid` cannot name an experiment; allowed: 1 to 64 of a-z, 0-9, _ and -");
    insta::assert_snapshot!(refused("grid = 3"), @"x.toml:1: grid: found a whole number; allowed: a table of axes");
    insta::assert_snapshot!(refused("exclude = { size = 'small' }"), @"x.toml:1: exclude: found a table; allowed: tables, each under [[exclude]]");
}

#[test]
fn a_grid_that_makes_no_sense_is_refused() {
    insta::assert_snapshot!(refused("[grid]\nsize = []"), @"x.toml:2: size: the list of choices is empty; give at least one");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small', 'small']"), @"x.toml:2: size: `small` is listed twice");
    insta::assert_snapshot!(refused("[grid]\nlr = [1e-3, 0.001]"), @"x.toml:2: lr: `0.001` is listed twice");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\nmodel.size = ['base']"), @"x.toml:3: model.size: sets `model.size`, which the axis `size` sets too");
    insta::assert_snapshot!(refused("[grid]\nlora_rank = [3]\ntune = ['frozen']"), @"x.toml:3: tune: sets `tune.kind`, which the axis `lora_rank` sets too");
    insta::assert_snapshot!(refused("[grid]\nepochs = [3]\nsteps = [40]"), @"x.toml:3: steps: sets `train.steps`, and the axis `epochs` sets `train.epochs`; give one of them");
    insta::assert_snapshot!(refused("[grid]\n'eval.sets' = ['val', 'train']"), @"x.toml:2: eval.sets: found `[val, train]`; allowed: a list of lists, as in [[…], […]], because each value is a list");
    insta::assert_snapshot!(refused("[grid]\n'eval.sets' = [['a', 'b'], ['a,b']]"), @"x.toml:2: grid: two different cells are called `eval.sets=a,b`: numbers 0 and 1");
    insta::assert_snapshot!(refused("[grid]\n'schedule.jobs' = [1, 2]"), @"x.toml:2: schedule.jobs: is the same for all cells; set it under [schedule]");
    insta::assert_snapshot!(refused("[grid]\nresults = ['a', 'b']"), @"x.toml:2: results: is about this machine; set it in the machine file (~/.config/sweep/config.toml), in the environment or with `--set`");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\nsise = 'small'"), @"x.toml:4: sise: no axis sets it; allowed: `size`; did you mean `size`?");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\ndecoder = 'fpn'"), @"x.toml:4: decoder: no axis sets it; allowed: `size`");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\nsize = 'smal'"), @"x.toml:4: size: `smal` is not known; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `huge_plus`, `giant`, `7b`; did you mean `small`?");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]"), @"x.toml:3: exclude: no condition: it would match every cell");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\nsize = 'small'"), @"x.toml:3: grid: no cell is left: [[exclude]] drops them all");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[override]]\nwhen = { size = 'small' }"), @"x.toml:3: override: both `when` and `set` are needed");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[override]]\nif = {}"), @"x.toml:4: override.if: unknown key; allowed: `when` (which cells) and `set` (which keys)");
    insta::assert_snapshot!(refused("[[override]]\nwhen = { size = 'small' }\nset = { lr = 1 }"), @"x.toml:2: size: no axis sets it; the grid has none");
    insta::assert_snapshot!(refused("[grid]\nseed = [0]\nrow = [{ size = 'small', lr = 1 }, { sise = 'base' }]"), @"x.toml:3: sise: unknown key; allowed: `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?");
}

#[test]
fn combinations_that_do_not_exist_are_refused() {
    insta::assert_snapshot!(refused("[grid]\ndino_type = ['dinov2', 'dinov3']\nsize = ['giant', '7b']"), @"
    x.toml:3: model.size: there is no `7b` of dinov2; allowed: `tiny`, `small`, `base`, `large`, `giant` (in a grid, leave the cell out with [[exclude]])
    x.toml:3: model.size: there is no `giant` of dinov3; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `huge_plus`, `7b` (in a grid, leave the cell out with [[exclude]])
    ");
    insta::assert_snapshot!(refused("size = 'h+'"), @"x.toml:1: model.size: there is no `huge_plus` of dinov2; allowed: `tiny`, `small`, `base`, `large`, `giant` (in a grid, leave the cell out with [[exclude]])");
    insta::assert_snapshot!(refused("size = 'tiny'"), @"x.toml:1: weights.kind: no pretrained weights exist for size `tiny`; allowed: `random`, `file`");
    insta::assert_snapshot!(refused("select = 'best'"), @"x.toml:1: eval.select: `best` is chosen on a held-out part of the train split, and there is none; allowed: `last`, or set `train.dev.fraction` above 0");
    insta::assert_snapshot!(refused("dino_type = 'dinov3'\npx = 15"), @"x.toml:2: train.input.px: `15x15` is less than one patch of dinov3; allowed: 16 and more");
    insta::assert_snapshot!(refused("epochs = 3\nsteps = 40"), @"x.toml:2: train.steps: set together with `train.epochs`, first in line 1; give one of them");
    insta::assert_snapshot!(refused("train.input = { tokens = 3, px = 40 }"), @"x.toml:1: train.input.px: set together with `train.input.tokens`, first in line 1; give one of them");
    insta::assert_snapshot!(refused("lr = 1\n[train]\nlr = 2"), @"x.toml:3: train.lr: set twice, first in line 1");
    insta::assert_snapshot!(refused("tune = 'lora'"), @r#"x.toml:1: tune.rank: missing: `tune.kind = "lora"` needs it; allowed: a whole number from 1 to 1024"#);
    insta::assert_snapshot!(refused("weights = 'file'"), @r#"x.toml:1: weights.path: missing: `weights.kind = "file"` needs it; allowed: a path"#);
    insta::assert_snapshot!(refused("[tune]\nrank = 4"), @"x.toml:2: tune.rank: has no effect: no cell with it has tune.kind = `lora`");
    insta::assert_snapshot!(refused("decoder = { kind = 'linear', channels = 64 }"), @"x.toml:1: decoder.channels: has no effect: no cell with it has decoder.kind = `fpn`");
    insta::assert_snapshot!(refused("[train]\nrecipe = 'reference'\nschedule = 'cosine'"), @r#"x.toml:3: train.schedule.warmup_percent: missing: `train.schedule.kind = "cosine"` needs it; allowed: a whole number from 0 to 100"#);
}

#[test]
fn files_that_are_no_specs_are_refused() {
    insta::assert_snapshot!(refused("[grid\nsize = 3"), @"x.toml:1: not valid TOML: unclosed table, expected `]`");
    insta::assert_snapshot!(refused("seed = 1\nseed = 2"), @"x.toml:2: not valid TOML: duplicate key");
    insta::assert_snapshot!(refused("x"), @"x.toml:1: not valid TOML: key with no value, expected `=`");
    let path = Path::new("no/such.toml");
    let missing =
        load_experiment(&Layers { experiment: path, machine_file: None, env: &[], set: &[] });
    insta::assert_snapshot!(lines(&missing.unwrap_err()), @"no/such.toml: there is no such file");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let toml = "name = 'A b'\nsize = 'tiny'\nlr = 'x'\n[grid]\nsise = ['small']\ndecoder = []\n\
                [eval]\nselect = 'best'\n[[exclude]]\nseed = 3";
    insta::assert_snapshot!(refused(toml), @"
    x.toml:1: name: `A b` cannot name an experiment; allowed: 1 to 64 of a-z, 0-9, _ and -
    x.toml:3: lr: found the text `x`; allowed: a number above 0, up to 10
    x.toml:5: sise: unknown key; allowed: `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?
    x.toml:6: decoder: the list of choices is empty; give at least one
    x.toml:8: eval.select: `best` is chosen on a held-out part of the train split, and there is none; allowed: `last`, or set `train.dev.fraction` above 0
    x.toml:10: seed: no axis sets it; allowed: `decoder`
    ");
}

#[test]
fn what_follows_from_a_reported_slip_is_not_reported_too() {
    insta::assert_snapshot!(refused("size = 'tiny'\nweights = 'randm'"), @"x.toml:2: weights: `randm` is not known; allowed: `pretrained`, `random`, `file`; did you mean `random`?");
    insta::assert_snapshot!(refused("tune = 'lora'\n[grid]\nlora_rank = ['x']"), @"x.toml:3: lora_rank: found the text `x`; allowed: a whole number from 0 to 1024 (0: frozen encoder)");
}

#[test]
fn outside_the_experiment_only_keys_that_change_no_number_are_allowed() {
    insta::assert_snapshot!(refused_with("", &[("SWEEP_TRAIN_LR", "1")], &[]), @"train.lr: would change numbers, so it may not hide in the machine file or the environment; set it in the experiment file or with `--set` (from the variable `SWEEP_TRAIN_LR`)");
    insta::assert_snapshot!(refused_with("", &[("SWEEP_LR", "1")], &[]), @"SWEEP_LR: the variable would change numbers; set the key in the experiment file or with `--set`");
    insta::assert_snapshot!(refused_with("", &[("SWEEP_RESULT", "x")], &[]), @"SWEEP_RESULT: unknown variable; allowed: SWEEP_SCHEDULE_DEVICES, SWEEP_SCHEDULE_JOBS, SWEEP_SCHEDULE_THREADS, SWEEP_SCHEDULE_RETRIES, SWEEP_SCHEDULE_CHECKPOINT_EVERY_S, SWEEP_DATA_DIRS, SWEEP_WEIGHT_DIRS, SWEEP_RESULTS, SWEEP_LOG; did you mean `SWEEP_RESULTS`?");
    insta::assert_snapshot!(refused_with("", &[("SWEEP_SCHEDULE_JOBS", "many")], &[]), @"schedule.jobs: found the text `many`; allowed: a whole number from 1 to 1024 (from the variable `SWEEP_SCHEDULE_JOBS`)");
    insta::assert_snapshot!(refused("results = 'x'\n[machine]\ndata_dirs = ['y']"), @"
    x.toml:1: results: is about this machine; set it in the machine file (~/.config/sweep/config.toml), in the environment or with `--set`
    x.toml:3: machine.data_dirs: is about this machine; set it in the machine file (~/.config/sweep/config.toml), in the environment or with `--set`
    ");
    insta::assert_snapshot!(refused_with("", &[], &["lr"]), @"`--set lr` is not of the form key=value");
    insta::assert_snapshot!(refused_with("", &[], &["lr=fast"]), @"lr: found the text `fast`; allowed: a number above 0, up to 10 (from `--set lr=fast`)");
    insta::assert_snapshot!(refused_with("", &[], &["grid.lr=[1]"]), @"grid.lr: unknown key; allowed: `seed`, `model`, `weights`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, `machine`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type` (from `--set grid.lr=[1]`)");
    insta::assert_snapshot!(refused_with("", &[], &["epochs=1", "steps=2"]), @"train.steps: set together with `train.epochs`; give one of them (from `--set steps=2`)");
    let machine = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs_err::write(&path, text).unwrap();
        let problems = load_machine(Some(&path), &[], &["lr=1".to_owned()]).unwrap_err();
        lines(&in_place(problems, dir.path()))
    };
    insta::assert_snapshot!(machine("results = 3\n[train]\nlr = 1\n[schedul]\njobs = 2"), @"
    lr: is a key of a run, and there is no experiment here (from `--set lr=1`)
    config.toml:1: results: found the number `3`; allowed: a path
    config.toml:3: train.lr: would change numbers, so it may not hide in the machine file or the environment; set it in the experiment file or with `--set`
    config.toml:4: schedul: unknown key; allowed: `schedule`, `machine`, `devices`, `jobs`, `data_dirs`, `weight_dirs`, `results`; did you mean `schedule`?
    ");
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
    let set = ["machine.results=from set".to_owned(), "devices=cuda:1,cpu".to_owned()];
    let layers =
        Layers { experiment: &experiment, machine_file: Some(&file), env: &env, set: &set };
    let (experiment, machine) = load_experiment(&layers).unwrap();
    assert_eq!(machine.results, PathBuf::from("from set"));
    let schedule = experiment.schedule;
    assert_eq!((schedule.jobs, schedule.retries, schedule.threads), (2, 3, 7));
    assert_eq!(schedule.devices, "cuda:1,cpu");

    env.push(("XDG_CONFIG_HOME".to_owned(), dir.path().display().to_string()));
    assert_eq!(machine_file(&env).as_deref(), Some(file.as_path()));
    env.pop();
    assert_eq!(machine_file(&env), None);
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
    let backbones = load("[grid]\nbackbone = ['dinov2_vitl14', 'dinov3_vith16plus']");
    insta::assert_snapshot!(table(&backbones), @"
    backbone=dinov2_vitl14
    backbone=dinov3_vith16plus
    ");
    assert_eq!(backbones.cells[0].spec.model.size, crate::model::Size::Large);
    assert!(!backbones.cells[0].spec.model.registers && backbones.cells[1].spec.model.registers);
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
    let channels = |toml: &str| -> Vec<Option<u32>> {
        let of = |cell: &Cell| match cell.spec.decoder {
            DecoderConfig::Fpn { channels } => Some(channels),
            DecoderConfig::Linear {} => None,
        };
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
fn what_never_has_an_effect_is_said() {
    let warnings =
        |toml: &str, set: &[&str]| load_with(toml, &[], set).unwrap().0.warnings.join("\n");
    let toml = "data = { kind = 'voc', root = '/v' }\n[grid]\ndataset = ['ade20k']";
    insta::assert_snapshot!(warnings(toml, &[]), @"data.root in line 1 has no effect: no cell with it has data.kind = `voc` or `ade20k`");
    let toml = "decoder = { kind = 'fpn', channels = 64 }";
    insta::assert_snapshot!(warnings(toml, &["decoder=linear"]), @"decoder.channels in line 1 has no effect: no cell with it has decoder.kind = `fpn`");
    let toml = "[grid]\nsize = ['small']\nseed = [0, 1]\n[[exclude]]\nseed = 2";
    insta::assert_snapshot!(warnings(toml, &[]), @"[[exclude]] in line 4 matches no cell");
    assert_eq!(warnings("[tune]\nkind = 'lora'\nrank = 4\n[grid]\nlora_rank = [3, 9]", &[]), "");
}

#[test]
fn the_number_of_cells_is_counted_before_they_are_made() {
    let thousand = (0..1000).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let toml = format!(
        "[grid]\nseed = [{thousand}]\nepochs = [{}]\ndata.seed = [{thousand}]",
        &thousand[2..]
    );
    insta::assert_snapshot!(refused(&toml), @"x.toml:2: grid: too many cells: 1000 seed x 999 epochs x 1000 data.seed make 999000000; allowed: 100000");
}

#[test]
fn many_problems_are_cut() {
    let toml: String = (0..70).map(|i| format!("nonsense_{i} = 1\n")).collect();
    let text = refused(&toml);
    assert_eq!(text.lines().count(), 51);
    assert_eq!(text.lines().last(), Some("and 20 more problems"));
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
            assert_eq!(check(&cell.spec), [], "{name} {:?}", cell.labels);
        }
        experiment
    };
    check("quickstart", 8);
    check("voc_grid", 90);
    check("ade20k_grid", 24);
    let reference = check("reference_table", 8);
    insta::assert_snapshot!(table(&reference), @"
    dino_type=dinov2 lora_rank=0 decoder=linear dataset=voc
    dino_type=dinov2 lora_rank=0 decoder=linear dataset=ade20k
    dino_type=dinov3 lora_rank=3 decoder=linear dataset=voc
    dino_type=dinov3 lora_rank=3 decoder=linear dataset=ade20k
    dino_type=dinov2 lora_rank=3 decoder=linear dataset=voc
    dino_type=dinov2 lora_rank=3 decoder=linear dataset=ade20k
    dino_type=dinov2 lora_rank=3 decoder=fpn dataset=voc
    dino_type=dinov2 lora_rank=3 decoder=fpn dataset=ade20k
    ");
    insta::assert_snapshot!(reference.warnings.join("\n"), @"train.input.px: 490x490 is lowered to 480x480 for dinov3, whose patches are 16 pixels");
}

#[test]
fn check_finds_what_did_not_come_through_a_file() {
    let mut spec = only("");
    spec.train.lr = f64::NAN;
    spec.train.epochs = None;
    spec.train.flip = 2.0;
    spec.eval.sets.clear();
    spec.eval.corruption.suite = "imagenet-c".to_owned();
    spec.train.input = Input::Px([1, 1]);
    insta::assert_snapshot!(lines(&check(&spec)), @"
    train.lr: found nothing; allowed: a number above 0, up to 10
    train.flip: `2.0` is out of range; allowed: a number from 0 to 1
    train.input.px: `1` is out of range; allowed: a side, or [height, width], in pixels from 14 to 8192
    eval.sets: the list is empty; allowed: a list, each item: a file name without folder, ending or white space
    eval.corruption.suite: `imagenet-c` is not known; allowed: `imagenet-c-first8`, `none`
    train.epochs: exactly one of `epochs` and `steps` must be set
    train.input.px: `1x1` is less than one patch of dinov2; allowed: 14 and more
    ");
}

#[test]
fn recipes_are_listed_key_by_key() {
    let rows = recipe_rows();
    let rows: Vec<_> = rows.iter().map(|(key, a, b)| format!("{key}: {a} | {b}")).collect();
    insta::assert_snapshot!(rows.join("\n"), @"
    train.epochs: 50 | 100
    train.batch_size: 16 | 12
    train.lr: 0.001 | 0.0003
    train.lr_encoder: 0.0002 | 0.0003
    train.weight_decay: 0.05 | 0.01
    train.schedule.kind: cosine | constant
    train.schedule.warmup_percent: 4 | -
    train.flip: 0.5 | 0
    train.input.tokens: 32 | -
    train.input.px: - | 490
    train.normalise: backbone | none
    train.void_label: ignore | background
    train.dev.fraction: 0 | 0
    train.dev.seed: 0 | 0
    train.precision: auto | auto
    train.validate_every: 1 | 5
    ");
}

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
    let groups = ["model", "tune", "decoder", "data", "train", "train.input", "eval", "schedule"];
    let others = ["name", "grid", "exclude", "include", "override", "backbone", "lora_rank", "zip"];
    let names: Vec<String> = keys::KEYS
        .iter()
        .map(|key| key.name)
        .chain(keys::ALIASES.iter().map(|(alias, _)| *alias))
        .chain(groups)
        .chain(others)
        .map(|name| format!("'{name}'"))
        .collect();
    prop::sample::select(names)
}

fn any_table() -> impl Strategy<Value = String> {
    prop::collection::btree_map(any_name(), any_value(), 0..5)
        .prop_map(|map| map.iter().map(|(name, value)| format!("{name} = {value}\n")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_written_makes_the_loader_panic(base in any_table(), grid in any_table(), rule in any_table()) {
        let toml = format!("{base}[grid]\n{grid}[[exclude]]\n{rule}");
        if let Err(problems) = load_with(&toml, &[], &[]) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn no_set_makes_the_loader_panic(name in any_name(), value in any_value()) {
        let set = format!("{}={value}", name.trim_matches('\''));
        if let Ok((experiment, _)) = load_with("[grid]\nsize = ['small', 'base']", &[], &[&set]) {
            for cell in &experiment.cells {
                prop_assert_eq!(check(&cell.spec), vec![]);
            }
        }
    }
}
