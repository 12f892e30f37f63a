//! All methods against the original code's outputs; and what must change no value.

use std::collections::BTreeMap;

use bytemuck::cast_slice;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

use super::testing::{close, head, map, maps, model, open};
use super::{Error, Linear, METHODS, Map, Method, Model, Options, Task};

/// Limits of the outputs: several times the original's own f32 error against f64, and far below the
/// smallest mistake that was tried.
const CASES: &[(&str, &str, &str, Option<usize>, f32)] = &[
    ("jbu", "weights_norm_c12", "case_a", None, 2e-5),
    ("jbu", "weights_norm_c12", "case_b", None, 2e-5),
    ("jbu", "weights_nonorm_c12", "case_c", None, 2e-5),
    ("anyup", "weights_qk32", "case_a", None, 1e-5),
    ("anyup", "weights_qk32", "case_b", None, 1e-5),
    ("anyup", "weights_qk32", "case_c", None, 1e-5),
    ("anyup", "weights_qk32", "case_d", None, 1e-5),
    ("naf", "weights_dim32", "case_a", Some(3), 2e-5),
    ("naf", "weights_dim32", "case_b", None, 2e-5),
    ("naf", "weights_dim32", "case_c", Some(5), 2e-5),
    ("naf", "weights_dim32", "case_d", Some(3), 2e-5),
    ("naf", "weights_dim32", "case_e", Some(3), 2e-5),
];

struct Case {
    model: Model,
    images: Vec<Map>,
    features: Vec<Map>,
    outputs: Vec<Map>,
}

impl Case {
    fn open(method: &str, weights: &str, case: &str, kernel: Option<usize>) -> Self {
        let file = open(&format!("{method}/{case}.safetensors"));
        let maps = |name| maps(&file, name);
        let model = model(method, weights, kernel);
        let (images, features) = (maps("image"), maps("features"));
        Self { model, images, features, outputs: maps("output") }
    }

    fn task(&self, i: usize) -> Task<'_> {
        let size = self.outputs[i].size();
        Task { image: &self.images[i], features: &self.features[i], projection: None, size }
    }
}

/// One small case a method, with its head.
fn small() -> Vec<(Case, Linear)> {
    let case =
        |method, weights, kernel| (Case::open(method, weights, "case_a", kernel), head(method));
    vec![
        case("jbu", "weights_norm_c12", None),
        case("anyup", "weights_qk32", None),
        case("naf", "weights_dim32", Some(3)),
    ]
}

#[test]
fn outputs_are_the_original_codes() {
    for (method, weights, name, kernel, limit) in CASES {
        let case = Case::open(method, weights, name, *kernel);
        for (i, expect) in case.outputs.iter().enumerate() {
            let ours = case.model.upsample(&case.task(i)).unwrap();
            let what = format!("{method} {name} {i}");
            close(&what, &ours.to_planes(), &expect.to_planes(), *limit);
        }
    }
}

#[test]
fn sizes_left_out_are_the_images_or_16_times_the_grid() {
    for (method, expect) in
        [("jbu", [32, 48]), ("anyup", [28, 42]), ("naf", [28, 42]), ("bilinear", [28, 42])]
    {
        let weights = CASES.iter().find(|case| case.0 == method).map_or("", |case| case.1);
        assert_eq!(model(method, weights, None).size([28, 42], [2, 3]), expect, "{method}");
    }
}

#[test]
fn bands_and_threads_change_no_bit() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (case, projection) in small() {
        for projection in [None, Some(&projection)] {
            let mut sizes = vec![case.outputs[0].size()];
            if case.model.method().name == "jbu" {
                // Resized afterwards, up and down.
                sizes.extend([[28, 28], [50, 33], [7, 5]]);
            }
            for size in sizes {
                let task = Task { projection, size, ..case.task(0) };
                let prepared = case.model.prepare(&task).unwrap();
                let whole = prepared.rows(0..size[0]);
                let alone = one.install(|| case.model.upsample(&task)).unwrap();
                assert_eq!(alone, whole);
                for n in [1, 3, 5] {
                    for first in (0..size[0]).step_by(n) {
                        let band = prepared.rows(first..size[0].min(first + n));
                        for y in 0..band.height() {
                            assert_eq!(band.row(y), whole.row(first + y), "{size:?} {first} {n}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn projecting_first_is_projecting_afterwards() {
    for (case, projection) in small() {
        let method = case.model.method().name;
        let task = Task { projection: Some(&projection), ..case.task(0) };
        let ours = case.model.upsample(&task).unwrap();
        let after = projection.apply(&case.model.upsample(&case.task(0)).unwrap());
        let expect = map(&open(&format!("{method}/steps.safetensors")), "a.logits");
        close(&format!("{method} logits"), &ours.to_planes(), &expect.to_planes(), 1e-5);
        close(&format!("{method} both"), &ours.to_planes(), &after.to_planes(), 5e-6);
    }
}

#[test]
fn another_size_of_jbu_is_its_own_resized() {
    let (case, _) = small().swap_remove(0);
    let own = case.model.upsample(&case.task(0)).unwrap();
    let task = Task { size: [20, 27], ..case.task(0) };
    let resized = case.model.upsample(&task).unwrap();
    let bilinear = model("bilinear", "", None);
    let task = Task { features: &own, ..task };
    assert_eq!(resized, bilinear.upsample(&task).unwrap());
}

#[test]
fn methods_have_names_of_their_own() {
    for method in METHODS {
        assert_eq!(Method::find(method.name).unwrap().title, method.title);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let refused = |case: &Case, task: &Task<'_>| match case.model.prepare(task) {
        Err(Error::Task(words)) => words,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    };
    let cases = small();
    let (jbu, anyup, naf) = (&cases[0].0, &cases[1].0, &cases[2].0);
    let features = |channels, size| Map::zeros(channels, size);
    let narrow = features(10, [5, 6]);
    let task = Task { features: &narrow, ..naf.task(0) };
    assert!(refused(naf, &task).contains("multiple of 4"));
    let words = refused(jbu, &Task { features: &narrow, ..jbu.task(0) });
    assert!(words.contains("10 channels, the weights are for 12"), "{words}");
    let row = features(12, [1, 6]);
    assert!(refused(jbu, &Task { features: &row, ..jbu.task(0) }).contains("needs 2x2"));
    assert!(refused(anyup, &Task { features: &row, ..anyup.task(0) }).contains("needs 2x2"));
    let words = refused(naf, &Task { features: &row, ..naf.task(0) });
    assert!(words.contains("--kernel 1"), "{words}");
    assert!(refused(naf, &Task { size: [4, 24], ..naf.task(0) }).contains("smaller"));
    let grey = features(1, [20, 24]);
    assert!(refused(naf, &Task { image: &grey, ..naf.task(0) }).contains("not 3"));
    let projection = Linear::new(vec![0.0; 7], vec![0.0]);
    let task = Task { projection: Some(&projection), ..naf.task(0) };
    assert!(refused(naf, &task).contains("the projection takes 7"));
}

#[test]
fn files_that_do_not_fit_are_named() {
    let open = |method: &str, file: &str, kernel| {
        let path = super::testing::path(file);
        let method = Method::find(method).unwrap();
        match Model::open(method, Some(&path), &Options { kernel }) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted"),
        }
    };
    let other = open("naf", "anyup/weights_qk32.safetensors", None);
    assert!(other.contains("the weights of AnyUp, not of NAF: use --method anyup"), "{other}");
    let none = open("anyup", "naf/case_a.safetensors", None);
    assert!(none.contains("image_encoder.0.weight is missing"), "{none}");
    assert!(none.contains("case_a.safetensors` is not a weight file of AnyUp"), "{none}");
    let even = open("naf", "naf/weights_dim32.safetensors", Some(4));
    assert_eq!(even, "a window of 4x4 has no middle: its side must be odd");
    let kernel = open("anyup", "anyup/weights_qk32.safetensors", Some(3));
    assert!(kernel.contains("no window"), "{kernel}");
}

/// Writes a copy of NAF's weights as `change` leaves them, and returns the error at opening it.
fn with_weights(change: impl Fn(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) -> String {
    let file = open("naf/weights_dim32.safetensors");
    let read = |name: &String| (file.shape(name).unwrap(), file.read(name).unwrap());
    let mut tensors = file.names().into_iter().map(|name| (name.clone(), read(&name))).collect();
    change(&mut tensors);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let views = tensors.iter().map(|(name, (shape, values))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), cast_slice(values)).unwrap())
    });
    fs_err::write(&path, serialize(views, None).unwrap()).unwrap();
    match Model::open(Method::find("naf").unwrap(), Some(&path), &Options::default()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn every_tensor_of_a_file_is_accounted_for() {
    let name = "image_encoder.sem_encoder.1.conv1.bias";
    let missing = with_weights(|tensors| drop(tensors.remove(name)));
    assert!(
        missing.ends_with(&format!("not a weight file of NAF: {name} is missing")),
        "{missing}"
    );
    let more = with_weights(|tensors| drop(tensors.insert("x".to_owned(), (vec![1], vec![0.0]))));
    assert!(more.ends_with("NAF: x is not expected"), "{more}");
    let shape = with_weights(|tensors| tensors.get_mut(name).unwrap().0 = vec![4, 4]);
    assert!(shape.ends_with(&format!("{name} has shape [4, 4], not [16]")), "{shape}");
    let nan = with_weights(|tensors| tensors.get_mut(name).unwrap().1[3] = f32::NAN);
    assert!(nan.contains(&format!("{name} (1 NaN and 0 infinite of 16 values)")), "{nan}");
    let odd = with_weights(|tensors| {
        let first = "image_encoder.encoder.0.weight";
        tensors.insert(first.to_owned(), (vec![12, 3, 1, 1], vec![0.0; 36]));
    });
    assert!(odd.contains("12 channels, no multiple of 8") && odd.contains("more"), "{odd}");
    let huge = with_weights(|tensors| {
        let first = "image_encoder.encoder.0.weight";
        tensors.insert(first.to_owned(), (vec![9000, 3, 1, 1], vec![0.0; 27000]));
    });
    assert!(huge.contains("9000 channels, not 1 to 8192"), "{huge}");
}
