use super::*;
use crate::upsample::testing::{close, map, maps, open, path};

/// Limit of the steps: ten times the original's own worst f32 error against f64.
const LIMIT: f32 = 2e-5;

fn anyup() -> AnyUp {
    let path = path("anyup/weights_qk32.safetensors");
    AnyUp::take(&mut Tensors::read(&path, &METHOD).unwrap())
}

#[test]
fn every_step_is_the_original_codes() {
    let (anyup, steps, case) =
        (anyup(), open("anyup/steps.safetensors"), open("anyup/case_a.safetensors"));
    let (image, features) = (map(&case, "image"), map(&case, "features"));
    let check = |name: &str, ours: &Map| {
        let expect = map(&steps, &format!("a.{name}"));
        close(name, &ours.to_planes(), &expect.to_planes(), LIMIT);
    };
    check("image_encoder", &anyup.image.apply(image.clone()));
    let encoded = anyup.encoded(&image);
    let image_keys = pooled(&anyup.keys.apply_to(&encoded), [6, 5]);
    let mut k = anyup.aggregated(&image_keys, &features);
    check("k", &k);
    let both = map(&steps, "a.aggregation_in").to_planes();
    close("key_encoder, pooled", &image_keys.to_planes(), &both[..both.len() / 2], LIMIT);
    let unified = anyup.unify.apply(&features);
    check("key_features_encoder", &unified);
    let queries = anyup.queries.apply(encoded);
    let mut q = Map::zeros(32, [24, 20]);
    q.each_row(|y, row| {
        anyup.query_conv.row(y, [24, 20], &|y| Cow::Borrowed(queries.row(y)), row);
    });
    check("q_conv", &q);
    q.each_row(|_, row| anyup.query_head.normed(row));
    close("q_norm", &q.to_pixels(), &steps.read("a.q_norm").unwrap(), LIMIT);
    k.each_row(|_, row| anyup.key_head.normed(row));
    close("k_norm", &k.to_pixels(), &steps.read("a.k_norm").unwrap(), LIMIT);
}

/// The attention is seen by features that are 1 at one patch and 0 at the others.
#[test]
fn the_attention_is_the_original_codes() {
    let (anyup, case) = (anyup(), open("anyup/case_a.safetensors"));
    let (image, features) = (map(&case, "image"), map(&case, "features"));
    let expect = open("anyup/steps.safetensors").read("a.attention").unwrap();
    let task = Task { image: &image, features: &features, projection: None, size: [24, 20] };
    let mut attending = attending(&anyup, &task);
    attending.source.values = (0..30 * 30).map(|i| f32::from(u8::from(i % 31 == 0))).collect();
    attending.source.n_values = 30;
    let ours = attending.rows(0..24).to_pixels();
    close("attention", &ours, &expect, LIMIT);
}

#[test]
fn what_is_pooled_is_the_original_codes() {
    let (anyup, steps) = (anyup(), open("anyup/steps.safetensors"));
    for case in ["b", "d"] {
        let file = open(&format!("anyup/case_{case}.safetensors"));
        let (images, features) = (maps(&file, "image"), maps(&file, "features"));
        let outputs = maps(&file, "output");
        let expect = maps(&steps, &format!("{case}.q_pooled"));
        for (i, expect) in expect.iter().enumerate() {
            let size = outputs[i].size();
            let task = Task { image: &images[i], features: &features[i], projection: None, size };
            let attending = attending(&anyup, &task);
            let mut ours = Map::zeros(32, size);
            ours.each_row(|y, row| row.copy_from_slice(&attending.pooled(y)));
            close("q_pooled", &ours.to_planes(), &expect.to_planes(), LIMIT);
        }
    }
}

fn attending<'a>(anyup: &'a AnyUp, task: &Task<'_>) -> Attending<'a> {
    anyup.attending(task).unwrap()
}
