use std::path::Path;

use super::*;
use crate::data::dataset::{self, EvalSet, ShapesConfig, VocConfig};
use crate::experiment::{Experiment, Machine, RunSpec, schedule};
use crate::fs::ResultsDir;
use crate::model::{Size, WeightsConfig};

fn spec() -> RunSpec {
    let mut spec = fake::job(1).file.spec;
    let shapes =
        ShapesConfig { n_train: 4, n_val: 2, side_px: 32, seed: 0, ..ShapesConfig::default() };
    spec.data = dataset::Config::Shapes(shapes);
    spec
}

fn experiment(specs: Vec<RunSpec>) -> Experiment {
    let cells = specs.into_iter().enumerate().map(|(index, spec)| Cell {
        index: index as u32,
        labels: vec![("cell".to_owned(), format!("c{index}"))],
        spec,
    });
    Experiment {
        name: "e".to_owned(),
        axes: vec!["cell".to_owned()],
        cells: cells.collect(),
        schedule: schedule::Config::default(),
        warnings: vec![],
    }
}

/// Resolves cells in a folder of their own; data and weights are looked for in it alone.
fn resolve_in(temp: &Path, specs: Vec<RunSpec>) -> Result<Vec<Resolved>, Missing> {
    let machine = Machine {
        data_dirs: vec![temp.join("data")],
        weight_dirs: vec![temp.join("weights")],
        results: temp.join("results"),
    };
    super::cells(&experiment(specs), &machine, &ResultsDir::new(&machine.results)).all()
}

#[test]
fn cells_get_facts_ids_and_score_requests() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.seed = 2;
    let cells = resolve_in(temp.path(), vec![spec(), other]).unwrap();
    assert_ne!(cells[0].run, cells[1].run);
    assert_eq!(cells[0].facts, cells[1].facts);
    assert_eq!(cells[0].facts.input_px, [28, 28]);
    assert_eq!(cells[0].requests.len(), 16, "clean and 15 corruptions");
    let planned = planned(&experiment(vec![spec()]), &cells);
    assert_eq!(planned.suite.as_deref(), Some("imagenet-c-15 v1"));
    assert_eq!(planned.suite_corruptions.len(), 15);
    assert_eq!(planned.cells[1].scores.len(), 16);
    let score = &planned.cells[1].scores[0];
    let parts = score.protocol_parts.as_ref().unwrap();
    assert_eq!((parts.input_px, &parts.to_string()), ([28, 28], &score.protocol));
}

#[test]
fn frost_is_procedural_without_its_textures_and_damaged_ones_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let cells = resolve_in(temp.path(), vec![spec()]).unwrap();
    assert_eq!(cells[0].facts.frost, None);
    let has = |cells: &[Resolved], name: &str| {
        cells[0].requests.iter().any(|request| request.condition.effect() == Some(name))
    };
    assert!(has(&cells, "frost*") && !has(&cells, "frost"));
    crate::fs::write_atomic(&temp.path().join("data/frost/frost4.jpg"), b"ice").unwrap();
    let missing = resolve_in(temp.path(), vec![spec()]).unwrap_err().to_string();
    assert!(missing.contains("frost1.png") && missing.contains("frost4.jpg"), "{missing}");
    // A suite without frost does not look.
    let mut first8 = spec();
    first8.eval.corruption.suite = "imagenet-c-first8".to_owned();
    assert!(resolve_in(temp.path(), vec![first8]).is_ok());
}

#[test]
fn everything_missing_is_named_once_with_its_cells() {
    let temp = tempfile::tempdir().unwrap();
    let mut no_data = spec();
    no_data.data = dataset::Config::Voc(VocConfig {
        root: Some(temp.path().join("nowhere")),
        train: "train".to_owned(),
    });
    let mut no_weights = spec();
    no_weights.weights = WeightsConfig::File { path: temp.path().join("none.pth") };
    let specs = vec![no_data.clone(), no_weights, spec(), no_data];
    let missing = resolve_in(temp.path(), specs).unwrap_err().to_string();
    let lines: Vec<_> = missing.lines().collect();
    assert_eq!(lines.len(), 2, "{missing}");
    assert!(lines[0].contains("nowhere"), "{missing}");
    assert!(lines[0].ends_with("needed by cell 0 (c0), cell 3 (c3)"), "{missing}");
    assert!(lines[1].contains("none.pth"), "{missing}");
    assert!(lines[1].ends_with("needed by cell 1 (c1)"), "{missing}");
}

#[test]
fn what_can_be_fetched_is_known_by_its_name() {
    let temp = tempfile::tempdir().unwrap();
    let voc = |train: &str, root: Option<&str>| {
        let root = root.map(|root| temp.path().join(root));
        dataset::Config::Voc(VocConfig { root, train: train.to_owned() })
    };
    let mut small = spec();
    small.model.size = Size::named("small").unwrap();
    small.weights = WeightsConfig::Pretrained {};
    small.data = voc("trainaug", None);
    let mut own = spec();
    own.data = voc("train", Some("mine"));
    own.weights = WeightsConfig::File { path: temp.path().join("none.pth") };
    let mut other_set = spec();
    let cityscapes = dataset::CityscapesConfig { root: None, train: "train".to_owned() };
    let data = dataset::Config::Cityscapes(cityscapes);
    other_set.eval.sets.push(EvalSet::Other { data, split: "val".to_owned() });
    let missing = resolve_in(temp.path(), vec![small.clone(), own, other_set, small.clone()]);
    let names = missing.unwrap_err().fetchable();
    assert_eq!(names, ["voc", "sbd", "dinov2_vits14_reg", "cityscapes"]);
    // VOC is there, its larger training set is not.
    fs_err::create_dir_all(temp.path().join("data/VOCdevkit/VOC2012/JPEGImages")).unwrap();
    fs_err::create_dir_all(temp.path().join("data/VOCdevkit/VOC2012/SegmentationClass")).unwrap();
    let sets = temp.path().join("data/VOCdevkit/VOC2012/ImageSets/Segmentation");
    crate::fs::write_atomic(&sets.join("val.txt"), b"").unwrap();
    let names = resolve_in(temp.path(), vec![small]).unwrap_err().fetchable();
    assert_eq!(names, ["sbd", "dinov2_vits14_reg"]);
}

#[test]
fn a_missing_split_is_an_error_of_the_cells_that_score_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.eval.sets = vec!["val".into(), "test".into()];
    let missing = resolve_in(temp.path(), vec![spec(), other]).unwrap_err().to_string();
    assert!(missing.contains("test"), "{missing}");
    assert!(missing.ends_with("needed by cell 1 (c1)"), "{missing}");
}

fn shapes(seed: u64, n_val: u32) -> dataset::Config {
    dataset::Config::Shapes(ShapesConfig {
        n_train: 4,
        n_val,
        side_px: 32,
        seed,
        ..ShapesConfig::default()
    })
}

#[test]
fn a_set_of_another_dataset_gets_its_root_and_fingerprint() {
    let temp = tempfile::tempdir().unwrap();
    let mut spec = spec();
    let other = EvalSet::Other { data: shapes(0, 2), split: "val".to_owned() };
    // The same set, said twice.
    spec.eval.sets = vec!["val".into(), other.clone()];
    let cells = resolve_in(temp.path(), vec![spec.clone()]).unwrap();
    assert_eq!((cells[0].facts.sets.len(), cells[0].requests.len()), (1, 16));
    spec.eval.sets = vec![other.clone(), "train".into()];
    let cells = resolve_in(temp.path(), vec![spec.clone()]).unwrap();
    let names: Vec<_> = cells[0].facts.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["shapes/val", "shapes/train"]);
    assert_eq!((&cells[0].facts.sets[0].set, cells[0].requests.len()), (&other, 32));
    // Two sets of one name that differ.
    spec.eval.sets =
        vec!["val".into(), EvalSet::Other { data: shapes(1, 2), split: "val".to_owned() }];
    let missing = resolve_in(temp.path(), vec![spec]).unwrap_err().to_string();
    assert!(missing.contains("two sets to score would both be called `shapes/val`"), "{missing}");
}

#[test]
fn other_classes_are_listed() {
    let dataset = |name: &str, classes: &[&str]| {
        let temp = tempfile::tempdir().unwrap();
        let shapes =
            ShapesConfig { n_train: 1, n_val: 1, side_px: 32, seed: 0, ..ShapesConfig::default() };
        let dirs = [temp.path().to_owned()];
        let mut dataset = dataset::open(&dataset::Config::Shapes(shapes), &dirs).unwrap();
        dataset.name = name.to_owned();
        dataset.classes = classes.iter().map(|&name| name.to_owned()).collect();
        dataset
    };
    let own = dataset("own", &["road", "sky", "car"]);
    let check = |classes: &[&str]| sets::refuse_other_classes(&own, &dataset("other", classes));
    check(&["road", "sky", "car"]).unwrap();
    insta::assert_snapshot!(check(&["road", "bus", "sky"]).unwrap_err(), @"`other` (3 classes) cannot be scored by a run on `own` (3 classes): other has no `car`; own has no `bus`; the class lists must agree by name and order (a `folder` dataset can map its labels)");
    insta::assert_snapshot!(check(&["sky", "road", "car"]).unwrap_err(), @"`other` (3 classes) cannot be scored by a run on `own` (3 classes): class 0 is `road` here, `sky` there; class 1 is `sky` here, `road` there; the class lists must agree by name and order (a `folder` dataset can map its labels)");
    insta::assert_snapshot!(check(&["road", "sky", "car", "a", "b", "c", "d", "e", "f"]).unwrap_err(), @"`other` (9 classes) cannot be scored by a run on `own` (3 classes): own has no `a`, `b`, `c`, `d`, `e` and 1 more; the class lists must agree by name and order (a `folder` dataset can map its labels)");
}

#[test]
fn cells_that_share_a_run_are_one_job_with_the_scores_of_all() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.eval.corruption.severities = vec![1, 5];
    let mut third = spec();
    third.seed = 3;
    let cells = resolve_in(temp.path(), vec![spec(), other, third]).unwrap();
    assert_eq!(cells[0].run, cells[1].run);
    let jobs = jobs(&cells, &[cells[1].run.clone()]);
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].scores.len(), 31, "clean, and 15 corruptions at two levels");
}

#[test]
fn weights_are_hashed_into_the_run_and_remembered() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("w.pth");
    crate::fs::write_atomic(&path, b"weights").unwrap();
    let mut with_weights = spec();
    with_weights.weights = WeightsConfig::File { path: path.clone() };
    let cells = resolve_in(temp.path(), vec![with_weights.clone(), spec()]).unwrap();
    let weights = cells[0].facts.weights.clone().unwrap();
    assert_eq!(weights.sha256, crate::fs::hash::sha256_bytes(b"weights"));
    assert_ne!(cells[0].run, cells[1].run);
    crate::fs::write_atomic(&path, b"Weights").unwrap();
    let changed = resolve_in(temp.path(), vec![with_weights]).unwrap();
    assert_ne!(changed[0].run, cells[0].run);
}

#[test]
fn a_file_under_a_released_name_must_be_the_released_one() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("weights/dinov2_vits14_pretrain.pth");
    crate::fs::write_atomic(&path, b"weights").unwrap();
    let mut released = spec();
    released.model.size = Size::named("small").unwrap();
    released.model.registers = false;
    released.weights = WeightsConfig::Pretrained {};
    let missing = resolve_in(temp.path(), vec![released.clone()]).unwrap_err().to_string();
    assert!(missing.contains("should begin with b938bf1b"), "{missing}");
    assert!(missing.contains("kind = \"file\""), "{missing}");
    released.weights = WeightsConfig::File { path };
    resolve_in(temp.path(), vec![released]).unwrap();
}

#[test]
fn a_copy_of_the_weights_by_others_is_noted_once() {
    let temp = tempfile::tempdir().unwrap();
    let repository = "vit_base_patch16_dinov3.lvd1689m";
    let path = temp.path().join("weights").join(repository).join("model.safetensors");
    crate::fs::write_atomic(&path, b"weights").unwrap();
    let mut copied = spec();
    copied.model.dino_type = crate::model::DinoType::Dinov3;
    copied.model.size = Size::named("base").unwrap();
    copied.weights = WeightsConfig::Pretrained {};
    let mut other = copied.clone();
    other.seed = 2;
    let cells = resolve_in(temp.path(), vec![copied, other, spec()]).unwrap();
    let notes = weight_notes(&cells);
    assert_eq!(notes.len(), 1, "{notes:?}");
    for part in ["dinov3_vitb16", repository, "timm's copy, without the biases of q and v"] {
        assert!(notes[0].contains(part), "no `{part}` in {notes:?}");
    }
}

#[test]
fn a_custom_size_is_its_whole_folder() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("mine");
    let fixture = "tests/data/formats/hf_dinov2_noreg_mlp.safetensors";
    let bytes = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture)).unwrap();
    crate::fs::write_atomic(&folder.join("model.safetensors"), &bytes).unwrap();
    let mut custom = spec();
    custom.model.size = Size::CUSTOM;
    custom.model.registers = false;
    custom.weights = WeightsConfig::File { path: folder.clone() };
    let resolved = || resolve_in(temp.path(), vec![custom.clone()]);
    let missing = resolved().unwrap_err().to_string();
    assert!(missing.contains("needs a Hugging Face folder with a `config.json`"), "{missing}");
    let config = r#"{"model_type": "dinov2", "num_attention_heads": 3}"#;
    crate::fs::write_atomic(&folder.join("config.json"), config.as_bytes()).unwrap();
    let three = resolved().unwrap()[0].run.clone();
    let config = config.replace('3', "4");
    crate::fs::write_atomic(&folder.join("config.json"), config.as_bytes()).unwrap();
    assert_ne!(resolved().unwrap()[0].run, three, "heads are part of the model");
}

/// A safetensors file of one tensor.
fn write_tensor(path: &Path, name: &str) {
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]);
    let bytes = safetensors::serialize([(name, view.unwrap())], None).unwrap();
    crate::fs::write_atomic(path, &bytes).unwrap();
}

#[test]
fn weights_that_do_not_fit_are_found_before_anything_is_started() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("other.safetensors");
    write_tensor(&path, "cls_token");
    let mut file = spec();
    file.weights = WeightsConfig::File { path };
    let mut again = file.clone();
    again.seed = 7;
    let cells = resolve_in(temp.path(), vec![spec(), file, again]).unwrap();
    let runs = |places: &[usize]| -> Vec<RunId> {
        places.iter().map(|place| cells[*place].run.clone()).collect()
    };
    let said = |of: &[usize]| Missing::of(&misfits(&cells, &runs(of)));
    assert_eq!(said(&[0]), None);
    let said = said(&[0, 1, 2]).unwrap().to_string();
    assert!(said.contains("other.safetensors` is not dinov2_"), "{said}");
    assert!(said.contains("78 missing (") && said.contains("cls_token is [1]"), "{said}");
    assert!(said.ends_with("needed by cell 1 (c1), cell 2 (c2)"), "{said}");
}
