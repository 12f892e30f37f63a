//! One run, scored on its own dataset and on another.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::Path;
use std::process::Output;

use dino_sweep::data::dataset::{self, Config, ShapesConfig};
use serde_json::Value;

fn sweep(folder: &Path, args: &[&str]) -> Output {
    let results = folder.join("results");
    let mut command = program::sweep(folder);
    command.args(args).arg("--results").arg(results);
    command.env("SWEEP_DATA_DIRS", folder.join("data"));
    command.output().unwrap()
}

fn experiment(sets: &str) -> String {
    format!(
        "name = 'sets'\nsize = 'tiny'\nweights = 'random'\nepochs = 1\nbatch_size = 4\ntokens = 3\n\
         data = {{ kind = 'shapes', n_train = 4, n_val = 3, side_px = 32 }}\n\
         [eval]\nsets = [{sets}]\ncorruption = {{ suite = 'none' }}\n\
         [schedule]\ndevices = 'cpu'\nthreads = 1\n"
    )
}

#[test]
fn a_run_is_scored_on_another_dataset_with_the_same_classes() {
    let temp = tempfile::tempdir().unwrap();
    let shapes =
        ShapesConfig { n_train: 4, n_val: 3, side_px: 32, seed: 0, ..ShapesConfig::default() };
    let own = dataset::open(&Config::Shapes(shapes), &[temp.path().join("data")]).unwrap();
    // The same files, as a folder of a layout of its own: the same scores.
    let classes: Vec<_> = own.classes.iter().map(|name| format!("'{name}'")).collect();
    let folder = format!(
        "{{ kind = 'folder', root = '{}', images = 'JPEGImages/{{stem}}.*', \
         masks = 'SegmentationClass/{{stem}}.png', classes = [{}], \
         splits = {{ val = 'ImageSets/Segmentation/val.txt' }} }}",
        own.root.display(),
        classes.join(", ")
    );
    let spec = temp.path().join("sets.toml");
    fs_err::write(&spec, experiment(&format!("'val', {folder}"))).unwrap();
    let ran = sweep(temp.path(), &["run", spec.to_str().unwrap()]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let table = sweep(temp.path(), &["table", "sets", "--format", "json"]);
    let table: Value = serde_json::from_slice(&table.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let name = own.root.file_name().unwrap().to_str().unwrap();
    let sets: Vec<_> = rows.iter().map(|row| row["set"].as_str().unwrap()).collect();
    assert_eq!(sets, ["shapes/val".to_owned(), format!("{name}/val")]);
    let score = |row: &Value| row["miou_clean"]["values"][0]["value"].as_f64().unwrap();
    assert!(score(&rows[0]) > 0.0);
    assert_eq!(score(&rows[0]).to_bits(), score(&rows[1]).to_bits());

    // A set that is added is scored alone; one of other classes is refused, with what differs.
    let planned = sweep(temp.path(), &["plan", spec.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&planned.stdout).contains("1 done"));
    let other = folder.replace(&classes[1], "'mug'");
    fs_err::write(&spec, experiment(&format!("'val', {other}"))).unwrap();
    let refused = sweep(temp.path(), &["plan", spec.to_str().unwrap()]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{words}");
    assert!(words.contains(&format!("has no `{}`", own.classes[1])), "{words}");
    assert!(words.contains("shapes has no `mug`"), "{words}");
}
