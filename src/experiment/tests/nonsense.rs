//! What is said about specs that make no sense.

use std::path::Path;

use super::*;

/// A message without the rest of a list that grows with every key, from `name` on.
fn cut(text: &str, name: &str) -> String {
    let (before, rest) = text.split_once(name).unwrap();
    let end = rest.find("; did you mean").or_else(|| rest.find('\n')).unwrap_or(rest.len());
    format!("{before}…{}", &rest[end..])
}

#[test]
fn names_and_values_that_do_not_exist_are_answered_with_the_nearest() {
    insta::assert_snapshot!(refused("lr_rate = 1"), @"x.toml:1: lr_rate: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`");
    insta::assert_snapshot!(cut(&refused("[train]\nlearning_rate = 1"), "`steps`"), @"x.toml:2: train.learning_rate: unknown key; allowed in `train`: `recipe`, `epochs`, …");
    insta::assert_snapshot!(cut(&refused("[train]\nepoch = 1"), "`steps`"), @"x.toml:2: train.epoch: unknown key; allowed in `train`: `recipe`, `epochs`, …; did you mean `train.epochs`?");
    insta::assert_snapshot!(refused("rank = 4"), @"x.toml:1: rank: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `tune.rank`?");
    insta::assert_snapshot!(refused("[gird]\nsize = ['small']"), @"x.toml:1: gird: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `grid`?");
    insta::assert_snapshot!(refused("[grid]\nsise = ['small']"), @"x.toml:2: sise: unknown key; allowed: `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?");
    insta::assert_snapshot!(refused("[grid]\nsize = ['smal']"), @"x.toml:2: size: `smal` is not known; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `large_plus`, `huge_plus`, `giant`, `7b`, `custom`; did you mean `small`?");
    insta::assert_snapshot!(refused("decoder = 'fnp'"), @"x.toml:1: decoder: `fnp` is not known; allowed: `linear`, `linear_bn`, `fpn`, `fpn_reference`; did you mean `fpn`?");
    insta::assert_snapshot!(refused("[decoder]\nkind = 'mask2former'"), @"x.toml:2: decoder.kind: `mask2former` is not known; allowed: `linear`, `linear_bn`, `fpn`, `fpn_reference`");
    insta::assert_snapshot!(refused("suite = 'imagenet-c-firts8'"), @"x.toml:1: suite: `imagenet-c-firts8` is not known; allowed: `imagenet-c-15`, `imagenet-c-12`, `imagenet-c-19`, `imagenet-c-first8`, `reference_oneof`, `none`; did you mean `imagenet-c-first8`?");
    insta::assert_snapshot!(refused("backbone = 'dinov2_vitl16'"), @"x.toml:1: backbone: `dinov2_vitl16` is not known; allowed: `dinov2_vits14`, `dinov2_vits14_reg`, `dinov2_vitb14`, `dinov2_vitb14_reg`, `dinov2_vitl14`, `dinov2_vitl14_reg`, `dinov2_vitg14`, `dinov2_vitg14_reg`, `dinov3_vits16`, `dinov3_vits16plus`, `dinov3_vitb16`, `dinov3_vitl16`, `dinov3_vitl16plus`, `dinov3_vith16plus`, `dinov3_vit7b16`, `dinov3_vitl16_sat493m`, `dinov3_vit7b16_sat493m`; did you mean `dinov2_vitl14`?");
    insta::assert_snapshot!(cut(&refused("[grid]\ntune = ['frozen', { kind = 'lora', rnak = 3 }]"), "`alpha`"), @"x.toml:2: tune.rnak: unknown key; allowed in `tune`: `kind`, `rank`, …; did you mean `tune.rank`?");
    insta::assert_snapshot!(refused("a.b.c = 1"), @"x.toml:1: a: unknown key; allowed: `name`, `description`, `grid`, `exclude`, `include`, `override`, `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`");
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
    insta::assert_snapshot!(cut(&refused("train = 3"), "`steps`"), @"x.toml:1: train: found a whole number; allowed: a table of `recipe`, `epochs`, …");
    insta::assert_snapshot!(cut(&refused("tune = 4"), "`alpha`"), @"x.toml:1: tune: found a whole number; allowed: `frozen`, `lora`, `full`, or a table of `kind`, `rank`, …");
    insta::assert_snapshot!(refused("lora_rank = -3"), @"x.toml:1: lora_rank: `-3` is out of range; allowed: a whole number from 0 to 1024 (0: frozen encoder)");
    insta::assert_snapshot!(refused("registers = 'yes'"), @"x.toml:1: registers: found the text `yes`; allowed: true or false");
    insta::assert_snapshot!(refused("registers = 2020-01-01"), @"x.toml:1: registers: `2020-01-01` is a date, which no key takes; allowed: true or false");
    insta::assert_snapshot!(refused("px = [308, 308, 3]"), @"x.toml:1: px: found the list `[308,308,3]`; allowed: a side, or [height, width], in pixels from 14 to 8192; a list of choices belongs under [grid]");
    insta::assert_snapshot!(refused("px = 8"), @"x.toml:1: px: `8` is out of range; allowed: a side, or [height, width], in pixels from 14 to 8192");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_blocks = [6, 3]"), @"x.toml:2: lora_blocks: `[6,3]` is out of range; allowed: [first, last], whole numbers from 0 to 1023, first not above last");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_blocks = 6"), @"x.toml:2: lora_blocks: found the number `6`; allowed: [first, last], whole numbers from 0 to 1023, first not above last");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_dropout = 1.0"), @"x.toml:2: lora_dropout: `1.0` is out of range; allowed: a number from 0 to 0.9");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_scaling = 'rs_lora'"), @"x.toml:2: lora_scaling: `rs_lora` is not known; allowed: `standard`, `rslora`; did you mean `rslora`?");
    insta::assert_snapshot!(refused("transform = 'corp'"), @"x.toml:1: transform: `corp` is not known; allowed: `squash`, `crop`; did you mean `crop`?");
    insta::assert_snapshot!(cut(&refused("transform = 0.5"), "`scale`"), @"x.toml:1: transform: found a number; allowed: `squash`, `crop`, or a table of `kind`, `short_side`, …");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', scale = [2.0, 0.5] }"), @"x.toml:1: transform.scale: `[2.0,0.5]` is out of range; allowed: [low, high], numbers from 0.1 to 10, low not above high");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', scale = [0, 1000] }"), @"x.toml:1: transform.scale: `[0,1000]` is out of range; allowed: [low, high], numbers from 0.1 to 10, low not above high");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', scale = [1, 'x'] }"), @"x.toml:1: transform.scale: found the list `[1,x]`; allowed: [low, high], numbers from 0.1 to 10, low not above high");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', scale = 2 }"), @"x.toml:1: transform.scale: found the number `2`; allowed: [low, high], numbers from 0.1 to 10, low not above high");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', max_class = 0 }"), @"x.toml:1: transform.max_class: `0` is out of range; allowed: a number above 0, up to 1");
    insta::assert_snapshot!(refused("transform = { kind = 'crop', short_side = 100_000 }"), @"x.toml:1: transform.short_side: `100000` is out of range; allowed: a whole number from 14 to 8192");
    insta::assert_snapshot!(refused("photometric = 0.5"), @"x.toml:1: photometric: found the number `0.5`; allowed: true or false");
    insta::assert_snapshot!(refused("eval.sets = []"), @"x.toml:1: eval.sets: the list is empty; allowed: a list, each item: a split name (a file name without folder, ending or white space), or a table of `kind`, `split` and other keys of `data`");
    insta::assert_snapshot!(refused("eval.sets = ['val', 'val']"), @"x.toml:1: eval.sets: `val` is listed twice");
    insta::assert_snapshot!(refused("eval.sets = ['../val']"), @"x.toml:1: eval.sets: found `../val`; allowed: a split name (a file name without folder, ending or white space), or a table of `kind`, `split` and other keys of `data`");
    insta::assert_snapshot!(refused("severities = [5, 6]"), @"x.toml:1: severities: `6` is out of range; allowed: a whole number from 1 to 5");
    insta::assert_snapshot!(refused("severities = [0, 6, 'x', 3, 3]"), @"
    x.toml:1: severities: `0` is out of range; allowed: a whole number from 1 to 5
    x.toml:1: severities: `6` is out of range; allowed: a whole number from 1 to 5
    x.toml:1: severities: found the text `x`; allowed: a whole number from 1 to 5
    x.toml:1: severities: `3` is listed twice
    ");
    insta::assert_snapshot!(refused("px = [8, 9000]"), @"
    x.toml:1: px: `8` is out of range; allowed: a side, or [height, width], in pixels from 14 to 8192; a list of choices belongs under [grid]
    x.toml:1: px: `9000` is out of range; allowed: a side, or [height, width], in pixels from 14 to 8192; a list of choices belongs under [grid]
    ");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_targets = ['q', 'x', 'vv', 'q']"), @"
    x.toml:2: lora_targets: `x` is not known; allowed: `q`, `k`, `v`, `proj`, `fc1`, `fc2`, `w1`, `w2`, `w12`, `w3`, `all`; did you mean `q`?
    x.toml:2: lora_targets: `vv` is not known; allowed: `q`, `k`, `v`, `proj`, `fc1`, `fc2`, `w1`, `w2`, `w12`, `w3`, `all`; did you mean `v`?
    x.toml:2: lora_targets: `q` is listed twice
    ");
    insta::assert_snapshot!(refused("data.root = ''"), @"x.toml:1: data.root: the text is empty; allowed: a path");
    insta::assert_snapshot!(refused("schedule.devices = 'gpu'"), @"x.toml:1: schedule.devices: `gpu` names no device; allowed: `auto`, `cpu`, `cuda:N`, `wgpu:N`, or several separated by commas");
    insta::assert_snapshot!(refused("schedule.devices = 'cuda:0,0'"), @"x.toml:1: schedule.devices: `cuda:0` is listed twice; allowed: `auto`, `cpu`, `cuda:N`, `wgpu:N`, or several separated by commas");
    insta::assert_snapshot!(refused("schedule.devices = 'auto,cpu'"), @"x.toml:1: schedule.devices: `auto` stands for all devices and cannot be in a list; allowed: `auto`, `cpu`, `cuda:N`, `wgpu:N`, or several separated by commas");
    insta::assert_snapshot!(refused("schedule.devices = ['cpu']"), @"x.toml:1: schedule.devices: found the list `[cpu]`; allowed: `auto`, `cpu`, `cuda:N`, `wgpu:N`, or several separated by commas");
    insta::assert_snapshot!(refused("name = 3"), @"x.toml:1: name: found a whole number; allowed: text");
    insta::assert_snapshot!(refused("name = 'My Grid'"), @"x.toml:1: name: `My Grid` cannot name an experiment; allowed: 1 to 64 of a-z, 0-9, _ and -");
    insta::assert_snapshot!(refused("name = '-grid'"), @"x.toml:1: name: `-grid` cannot name an experiment: commands would read it as a flag; allowed: 1 to 64 of a-z, 0-9, _ and -, not beginning with -");
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
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\nsize = 'smal'"), @"x.toml:4: size: `smal` is not known; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `large_plus`, `huge_plus`, `giant`, `7b`, `custom`; did you mean `small`?");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]"), @"x.toml:3: exclude: no condition: it would match every cell");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[exclude]]\nsize = 'small'"), @"x.toml:3: grid: no cell is left: [[exclude]] drops them all");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[override]]\nwhen = { size = 'small' }"), @"x.toml:3: override: both `when` and `set` are needed");
    insta::assert_snapshot!(refused("[grid]\nsize = ['small']\n[[override]]\nif = {}"), @"x.toml:4: override.if: unknown key; allowed: `when` (which cells) and `set` (which keys)");
    insta::assert_snapshot!(refused("[[override]]\nwhen = { size = 'small' }\nset = { lr = 1 }"), @"x.toml:2: size: no axis sets it; the grid has no axes");
    insta::assert_snapshot!(refused("[grid]\nseed = [0]\nrow = [{ size = 'small', lr = 1 }, { sise = 'base' }]"), @"x.toml:3: sise: unknown key; allowed: `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?");
}

#[test]
fn combinations_that_do_not_exist_are_refused() {
    insta::assert_snapshot!(refused("[grid]\ndino_type = ['dinov2', 'dinov3']\nsize = ['giant', '7b']"), @"
    x.toml:3: model.size: dinov2 has no size `7b`; allowed: `tiny`, `small`, `base`, `large`, `giant`, `custom` (in a grid, leave the cell out with [[exclude]])
    x.toml:3: model.size: dinov3 has no size `giant`; allowed: `tiny`, `small`, `small_plus`, `base`, `large`, `large_plus`, `huge_plus`, `7b`, `custom` (in a grid, leave the cell out with [[exclude]])
    ");
    insta::assert_snapshot!(refused("size = 'h+'"), @"x.toml:1: model.size: dinov2 has no size `huge_plus`; allowed: `tiny`, `small`, `base`, `large`, `giant`, `custom` (in a grid, leave the cell out with [[exclude]])");
    insta::assert_snapshot!(refused("dino_type = 'dinov3'\npretraining = 'sat493m'"), @"x.toml:2: model.pretraining: there are no `sat493m` weights for size `small` of dinov3; they exist for `large of dinov3`, `7b of dinov3`");
    insta::assert_snapshot!(refused("size = 'large'\npretraining = 'sat493m'"), @"x.toml:2: model.pretraining: there are no `sat493m` weights for size `large` of dinov2; they exist for `large of dinov3`, `7b of dinov3`");
    insta::assert_snapshot!(refused("size = 'custom'"), @r#"x.toml:1: model.size: size `custom` is read from a Hugging Face folder with a `config.json`: set `weights = { kind = "file", path = "…" }`"#);
    insta::assert_snapshot!(refused("size = 'tiny'"), @"x.toml:1: weights.kind: no pretrained weights exist for size `tiny`; allowed: `random`, `file`");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_targets = ['q', 'w1']"), @"x.toml:2: tune.targets: the blocks of dinov2_vits14_reg have no layer `w1`; allowed: `q`, `k`, `v`, `proj`, `fc1`, `fc2`, or `all` for every one");
    insta::assert_snapshot!(refused("backbone = 'dinov2_vitg14'\nlora_rank = 2\nlora_targets = ['fc1', 'all']"), @"x.toml:3: tune.targets: the blocks of dinov2_vitg14 have no layer `fc1`; allowed: `q`, `k`, `v`, `proj`, `w12`, `w3`, or `all` for every one");
    insta::assert_snapshot!(refused("backbone = 'dinov3_vith16plus'\nlora_rank = 2\nlora_targets = ['w12']"), @"x.toml:3: tune.targets: the blocks of dinov3_vith16plus have no layer `w12`; allowed: `q`, `k`, `v`, `proj`, `w1`, `w2`, `w3`, or `all` for every one");
    insta::assert_snapshot!(refused("lora_rank = 2\nlora_blocks = [6, 12]"), @"x.toml:2: tune.blocks: dinov2_vits14_reg has blocks 0 to 11; allowed: [first, last] within them");
    insta::assert_snapshot!(refused("select = 'best'"), @"x.toml:1: eval.select: `best` is chosen on a held-out part of the train split, and there is none; allowed: `last`, or set `train.dev.fraction` above 0");
    insta::assert_snapshot!(refused("dino_type = 'dinov3'\npx = 15"), @"x.toml:2: train.input.px: `15x15` is less than one patch of dinov3; allowed: 16 or more");
    insta::assert_snapshot!(refused("epochs = 3\nsteps = 40"), @"x.toml:2: train.steps: set together with `train.epochs`, first in line 1; give one of them");
    insta::assert_snapshot!(refused("train.input = { tokens = 3, px = 40 }"), @"x.toml:1: train.input.px: set together with `train.input.tokens`, first in line 1; give one of them");
    insta::assert_snapshot!(refused("lr = 1\n[train]\nlr = 2"), @"x.toml:3: train.lr: set twice, first in line 1");
    insta::assert_snapshot!(refused("tune = 'lora'"), @r#"x.toml:1: tune.rank: missing: `tune.kind = "lora"` needs it; allowed: a whole number from 1 to 1024"#);
    insta::assert_snapshot!(refused("weights = 'file'"), @r#"x.toml:1: weights.path: missing: `weights.kind = "file"` needs it; allowed: a path"#);
    insta::assert_snapshot!(refused("[tune]\nrank = 4"), @"x.toml:2: tune.rank: has no effect: no cell with it has tune.kind = `lora`");
    insta::assert_snapshot!(refused("decoder = { kind = 'linear', channels = 64 }"), @"x.toml:1: decoder.channels: has no effect: no cell with it has decoder.kind = `fpn` or `fpn_reference`");
    insta::assert_snapshot!(refused("transform = { kind = 'squash', max_class = 0.5 }"), @"x.toml:1: train.transform.max_class: has no effect: no cell with it has train.transform.kind = `crop`");
    insta::assert_snapshot!(refused("decoder = { kind = 'linear_bn', layers = 5, dropout = 1.0 }"), @"
    x.toml:1: decoder.layers: `5` is out of range; allowed: a whole number from 1 to 4
    x.toml:1: decoder.dropout: `1.0` is out of range; allowed: a number from 0 to 0.9
    ");
    insta::assert_snapshot!(refused("decoder = 'fpn_reference'\npx = 97"), @"x.toml:2: train.input.px: an input of 6x6 patches leaves nothing after the unpadded convolutions of `fpn_reference`; allowed: 7x7 patches (98 px) or more, or another decoder");
    insta::assert_snapshot!(refused("[grid]\ndecoder = ['fpn', 'fpn_reference']\ntokens = [6, 7]"), @"x.toml:3: train.input.tokens: an input of 6x6 patches leaves nothing after the unpadded convolutions of `fpn_reference`; allowed: 7x7 patches (98 px) or more, or another decoder");
    insta::assert_snapshot!(refused("decoder = 'linear_bn'\nbatch_size = 1\ntokens = 1"), @"x.toml:3: train.batch_size: `linear_bn` cannot be trained: batch normalisation needs more than one value per channel, and a batch of 1 image of 1x1 patches has one; allowed: a larger batch, a larger input, or another decoder");
    insta::assert_snapshot!(refused("[grid]\ndecoder = ['fpn', 'linear']\npx = [[14, 27], [14, 28]]\n[train]\nbatch_size = 1"), @"x.toml:5: train.batch_size: `fpn` cannot be trained: batch normalisation needs more than one value per channel, and a batch of 1 image of 1x1 patches has one; allowed: a larger batch, a larger input, or another decoder");
    insta::assert_snapshot!(refused("[train]\nrecipe = 'reference'\nschedule = 'cosine'"), @r#"x.toml:3: train.schedule.warmup_percent: missing: `train.schedule.kind = "cosine"` needs it; allowed: a whole number from 0 to 100"#);
}

/// A folder dataset with `extra` in the place of keys, or beside them.
fn folder(extra: &str) -> String {
    let keys = [
        ("root", "root = 'd'"),
        ("images", "images = 'i/{stem}.*'"),
        ("masks", "masks = 'm/{stem}.png'"),
        ("classes", "classes = ['a', 'b']"),
        ("fractions", "fractions = { train = 0.8, val = 0.2 }"),
    ];
    let kept = keys.iter().filter(|(name, _)| !extra.starts_with(name)).map(|(_, line)| *line);
    let lines: Vec<_> = ["[data]", "kind = 'folder'", extra].into_iter().chain(kept).collect();
    lines.join("\n")
}

#[test]
fn folders_that_make_no_sense_are_refused() {
    assert_eq!(only(&folder("")).data.kind(), "folder");
    insta::assert_snapshot!(refused("data = 'folder'"), @r#"
    x.toml:1: data.images: missing: `data.kind = "folder"` needs it; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)
    x.toml:1: data.masks: missing: `data.kind = "folder"` needs it; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)
    x.toml:1: data.classes: missing: `data.kind = "folder"` needs it; allowed: a list of 1 to 255 names, or the path of a file with one per line
    "#);
    insta::assert_snapshot!(refused(&folder("root = ''")), @"x.toml:3: data.root: the text is empty; allowed: a path");
    insta::assert_snapshot!(refused(&folder("root = 'd'\nn_train = 3")), @"x.toml:4: data.n_train: has no effect: no cell with it has data.kind = `shapes`");
    insta::assert_snapshot!(refused(&folder("images = 'i/a.png'")), @r#"x.toml:3: data.images: `i/a.png` does not have `{stem}` exactly once; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)"#);
    insta::assert_snapshot!(refused(&folder("images = '../{stem}.png'")), @r#"x.toml:3: data.images: `../{stem}.png` is not a path below the dataset's folder; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)"#);
    insta::assert_snapshot!(refused(&folder("images = 'm/{stem}.png'")), @"x.toml:5: data.masks: is the same as `data.images`");
    insta::assert_snapshot!(refused(&folder("images = 'i/{split}/{stem}.png'")), @"x.toml:7: data.fractions: draws splits from all images, but a path has `{split}`; give one of them");
    insta::assert_snapshot!(refused(&folder("classes = ['a', 'a']")), @"x.toml:3: data.classes: `a` is listed twice; allowed: a list of 1 to 255 names, or the path of a file with one per line");
    insta::assert_snapshot!(refused(&folder("classes = [3]")), @"x.toml:3: data.classes: `3` is not a valid name; allowed: a list of 1 to 255 names, or the path of a file with one per line");
    insta::assert_snapshot!(refused(&folder("classes = [3, 'a', 'a']")), @"
    x.toml:3: data.classes: `3` is not a valid name; allowed: a list of 1 to 255 names, or the path of a file with one per line
    x.toml:3: data.classes: `a` is listed twice; allowed: a list of 1 to 255 names, or the path of a file with one per line
    ");
    insta::assert_snapshot!(refused(&folder("fractions = { 'a b' = 2, train = 0 }")), @"
    x.toml:3: data.fractions: `a b` is not a split name; allowed: a table of splits, each with its fraction of all images, such as { train = 0.8, val = 0.2 }
    x.toml:3: data.fractions: a b: `2` is out of range; allowed: a number above 0, up to 1; allowed: a table of splits, each with its fraction of all images, such as { train = 0.8, val = 0.2 }
    x.toml:3: data.fractions: train: `0` is out of range; allowed: a number above 0, up to 1; allowed: a table of splits, each with its fraction of all images, such as { train = 0.8, val = 0.2 }
    ");
    insta::assert_snapshot!(refused(&folder("label_map = { x = 1, 7 = 'a', 8 = 300 }")), @r#"
    x.toml:3: data.label_map: 7 has the class `a`; allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }
    x.toml:3: data.label_map: 8 has the class `300`; allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }
    x.toml:3: data.label_map: `x` is neither an id (`7`) nor a colour (`128,64,0`); allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }
    "#);
    insta::assert_snapshot!(refused(&folder("classes = []")), @"x.toml:3: data.classes: there are 0 names; allowed: a list of 1 to 255 names, or the path of a file with one per line");
    insta::assert_snapshot!(refused(&folder("fractions = { train = 0.8, val = 0.3 }")), @"x.toml:3: data.fractions: add up to 1.1; allowed: 1 at most");
    insta::assert_snapshot!(refused(&folder("fractions = { train = 0 }")), @"x.toml:3: data.fractions: train: `0` is out of range; allowed: a number above 0, up to 1; allowed: a table of splits, each with its fraction of all images, such as { train = 0.8, val = 0.2 }");
    insta::assert_snapshot!(refused(&folder("fractions = { 'a b' = 1 }")), @"x.toml:3: data.fractions: `a b` is not a split name; allowed: a table of splits, each with its fraction of all images, such as { train = 0.8, val = 0.2 }");
    insta::assert_snapshot!(refused(&folder("splits = { train = 't.txt' }")), @"x.toml:8: data.fractions: set together with `data.splits`, first in line 3; give one of them");
    insta::assert_snapshot!(refused(&folder("label_map = { 7 = 'a' }")), @r#"x.toml:3: data.label_map: 7 has the class `a`; allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }"#);
    insta::assert_snapshot!(refused(&folder("label_map = { x = 1 }")), @r#"x.toml:3: data.label_map: `x` is neither an id (`7`) nor a colour (`128,64,0`); allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }"#);
    insta::assert_snapshot!(refused(&folder("label_map = { 7 = 2 }")), @"x.toml:7: data.label_map: maps 7 to 2, but there are 2 classes; allowed: 0 to 1, and 255 for void");
    insta::assert_snapshot!(refused(&folder("label_map = { 7 = 0, '1,2,3' = 1 }")), @r#"x.toml:3: data.label_map: ids and colours are mixed; allowed: a table of ids or of colours, each with its class (255: void), such as { 7 = 0, 8 = 1 } or { "128,64,0" = 0 }"#);
    insta::assert_snapshot!(refused(&folder("label_map = { 7 = 0 }\nreduce_zero_label = true")), @"x.toml:4: data.reduce_zero_label: set together with `data.label_map`, which can map 0 to 255; give one");
    insta::assert_snapshot!(refused(&folder("void = 70000")), @r#"x.toml:3: data.void: `70000` is neither an id (`7`) nor a colour (`128,64,0`); allowed: an id from 0 to 65535, or a colour such as "128,64,0""#);
    insta::assert_snapshot!(refused(&folder("void = [1, 2, 3]")), @"x.toml:3: data.void: `1,2,3` is a colour, but the masks hold ids, without a `data.label_map` of colours");
    let no_split = folder("").replace("fractions = { train = 0.8, val = 0.2 }", "");
    insta::assert_snapshot!(refused(&no_split), @"x.toml:5: data.images: nothing says which image is in which split; allowed: `{split}` in the path, or `data.splits`, or `data.fractions`");
}

#[test]
fn sets_of_other_datasets_that_make_no_sense_are_refused() {
    let set = |table: &str| format!("eval.sets = ['val', {{ {table} }}]");
    let spec = only(&set("kind = 'acdc', split = 'val_fog'"));
    assert_eq!(spec.eval.sets[1].label(), "acdc/val_fog");
    assert_eq!(only(&set("kind = 'acdc'")).eval.sets[1].split(), "val");
    insta::assert_snapshot!(refused(&set("split = 'val'")), @"x.toml:1: eval.sets: the table has no `kind`; allowed: `voc`, `ade20k`, `cityscapes`, `acdc`, `folder`, `shapes`");
    insta::assert_snapshot!(refused(&set("kind = 'acdk'")), @"x.toml:1: eval.sets: `acdk` is not known; allowed: `voc`, `ade20k`, `cityscapes`, `acdc`, `folder`, `shapes`; did you mean `acdc`?");
    insta::assert_snapshot!(refused(&set("kind = 'acdc', splt = 'val'")), @"x.toml:1: eval.sets: `splt` is not a key of a set of kind `acdc`; allowed: `root`, `split`, `kind`; did you mean `split`?");
    insta::assert_snapshot!(cut(&refused(&set("kind = 'folder', splt = 'val', split = '../a', images = 3")), "`images`, `masks`"), @r#"
    x.toml:1: eval.sets: `images`: found `3`; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)
    x.toml:1: eval.sets: `split`: `../a` is not valid; allowed: a file name without folder, ending or white space
    x.toml:1: eval.sets: `splt` is not a key of a set of kind `folder`; allowed: `root`, …; did you mean `split`?
    x.toml:1: eval.sets: the table has no `masks`; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)
    x.toml:1: eval.sets: the table has no `classes`; allowed: a list of 1 to 255 names, or the path of a file with one per line
    "#);
    insta::assert_snapshot!(refused(&set("kind = 'acdc', train = 'a'")), @"x.toml:1: eval.sets: `train` is not a key of a set of kind `acdc`; allowed: `root`, `split`, `kind`");
    insta::assert_snapshot!(refused(&set("kind = 'acdc', split = '../a'")), @"x.toml:1: eval.sets: `split`: `../a` is not valid; allowed: a file name without folder, ending or white space");
    insta::assert_snapshot!(refused(&set("kind = 'folder', images = 'i/{stem}.png'")), @r#"
    x.toml:1: eval.sets: the table has no `masks`; allowed: a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as "images/{split}/{stem}.jpg" (`.*`: jpg, jpeg or png)
    x.toml:1: eval.sets: the table has no `classes`; allowed: a list of 1 to 255 names, or the path of a file with one per line
    "#);
    insta::assert_snapshot!(refused(&set("kind = 'folder', images = '{stem}.png', masks = '{stem}.png', classes = ['a'], root = 'd', fractions = { val = 1 }")), @"x.toml:1: eval.sets: `data.masks` is the same as `data.images`");
    insta::assert_snapshot!(refused("eval.sets = [3]"), @"x.toml:1: eval.sets: found `3`; allowed: a split name (a file name without folder, ending or white space), or a table of `kind`, `split` and other keys of `data`");
}

#[test]
fn files_that_are_no_specs_are_refused() {
    insta::assert_snapshot!(refused("[grid\nsize = 3"), @"x.toml:1: not valid TOML: unclosed table, expected `]`");
    insta::assert_snapshot!(refused("seed = 1\nseed = 2"), @"x.toml:2: not valid TOML: duplicate key");
    insta::assert_snapshot!(refused("x"), @"x.toml:1: not valid TOML: key with no value, expected `=`");
    for nothing in ["", "\n", "# seed = 1\n"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("-x.toml");
        fs_err::write(&path, nothing).unwrap();
        let set = ["seed=1".to_owned()];
        let layers = Layers { experiment: &path, machine_file: None, env: &[], set: &set };
        let problems = load_experiment(&layers).unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines(&in_place(problems, dir.path())), @r#"
            -x.toml: sets nothing; allowed: at least one key, such as `size = "small"`, or a name, such as `name = "defaults"`
            -x.toml: name: `-x`, the file's name, cannot name an experiment: commands would read it as a flag; allowed: 1 to 64 of a-z, 0-9, _ and -, not beginning with -
            "#);
        }
    }
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
    x.toml:5: sise: unknown key; allowed: `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type`; did you mean `size`?
    x.toml:6: decoder: the list of choices is empty; give at least one
    x.toml:8: eval.select: `best` is chosen on a held-out part of the train split, and there is none; allowed: `last`, or set `train.dev.fraction` above 0
    x.toml:10: seed: no axis sets it; allowed: `decoder`
    ");
}

#[test]
fn what_follows_from_a_reported_slip_is_not_reported_too() {
    insta::assert_snapshot!(refused("size = 'tiny'\nweights = 'randm'"), @"x.toml:2: weights: `randm` is not known; allowed: `random`, `pretrained`, `file`; did you mean `random`?");
    insta::assert_snapshot!(refused("tune = 'lora'\n[grid]\nlora_rank = ['x']"), @"x.toml:3: lora_rank: found the text `x`; allowed: a whole number from 0 to 1024 (0: frozen encoder)");
}

#[test]
fn outside_the_experiment_only_keys_that_change_no_number_are_allowed() {
    insta::assert_snapshot!(refused_with("", &[("SWEEP_TRAIN_LR", "1")], &[]), @"train.lr: would change results, so it cannot be set in the machine file or the environment; set it in the experiment file or with `--set` (from the variable `SWEEP_TRAIN_LR`)");
    insta::assert_snapshot!(refused_with("", &[("SWEEP_LR", "1")], &[]), @"SWEEP_LR: the variable would change results; set the key in the experiment file or with `--set`");
    insta::assert_snapshot!(cut(&refused_with("", &[("SWEEP_RESULT", "x")], &[]), "SWEEP_SCHEDULE_JOBS"), @"SWEEP_RESULT: unknown variable; allowed: SWEEP_SCHEDULE_DEVICES, …; did you mean `SWEEP_RESULTS`?");
    insta::assert_snapshot!(refused_with("", &[("SWEEP_SCHEDULE_JOBS", "many")], &[]), @"schedule.jobs: found the text `many`; allowed: a whole number from 1 to 1024 (from the variable `SWEEP_SCHEDULE_JOBS`)");
    insta::assert_snapshot!(refused("results = 'x'\n[machine]\ndata_dirs = ['y']"), @"
    x.toml:1: results: is about this machine; set it in the machine file (~/.config/sweep/config.toml), in the environment or with `--set`
    x.toml:3: machine.data_dirs: is about this machine; set it in the machine file (~/.config/sweep/config.toml), in the environment or with `--set`
    ");
    insta::assert_snapshot!(refused_with("", &[], &["lr"]), @"`--set lr` is not of the form key=value");
    insta::assert_snapshot!(refused_with("", &[], &["lr=fast"]), @"lr: found the text `fast`; allowed: a number above 0, up to 10 (from `--set lr=fast`)");
    insta::assert_snapshot!(refused_with("", &[], &["grid.lr=[1]"]), @"grid.lr: unknown key; allowed: `seed`, `model`, `weights`, `init`, `tune`, `decoder`, `data`, `train`, `eval`, `schedule`, `machine`, or a short name such as `backbone`, `lora_rank`, `size`, `dino_type` (from `--set grid.lr=[1]`)");
    insta::assert_snapshot!(refused_with("", &[], &["epochs=1", "steps=2"]), @"train.steps: set together with `train.epochs`; give one of them (from `--set steps=2`)");
    let machine = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs_err::write(&path, text).unwrap();
        let problems = load_machine(Some(&path), &[], &["lr=1".to_owned()]).unwrap_err();
        lines(&in_place(problems, dir.path()))
    };
    insta::assert_snapshot!(cut(&machine("results = 3\n[train]\nlr = 1\n[schedul]\njobs = 2"), "`jobs`"), @"
    lr: is a key of a run, which cannot be set without an experiment (from `--set lr=1`)
    config.toml:1: results: found the number `3`; allowed: a path
    config.toml:3: train.lr: would change results, so it cannot be set in the machine file or the environment; set it in the experiment file or with `--set`
    config.toml:4: schedul: unknown key; allowed: `schedule`, `machine`, `devices`, …; did you mean `schedule`?
    ");
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
    let toml: Vec<_> = (0..70).map(|i| format!("nonsense_{i} = 1")).collect();
    let text = refused(&toml.join("\n"));
    assert_eq!(text.lines().count(), 51);
    assert_eq!(text.lines().last(), Some("and 20 more problems"));
}
