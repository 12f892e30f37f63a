//! All methods against the original code's outputs; and what must change no value.

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
    assert!(even.contains("must be odd"), "{even}");
    let kernel = open("anyup", "anyup/weights_qk32.safetensors", Some(3));
    assert!(kernel.contains("no window"), "{kernel}");
}
