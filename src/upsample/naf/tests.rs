use super::*;
use crate::upsample::testing::{close, map, open, path};

/// Limit of the steps: several times the original's own worst f32 error against f64.
const LIMIT: f32 = 5e-5;

fn naf(kernel: usize) -> Naf {
    let path = path("naf/weights_dim32.safetensors");
    Naf::take(&mut Tensors::read(&path, &METHOD).unwrap(), &Options { kernel: Some(kernel) })
}

#[test]
fn every_step_is_the_original_codes() {
    let (naf, steps, case) =
        (naf(3), open("naf/steps.safetensors"), open("naf/case_a.safetensors"));
    let (image, features) = (map(&case, "image"), map(&case, "features"));
    let check = |name: &str, ours: &Map| {
        let expect = map(&steps, &format!("a.{name}"));
        close(name, &ours.to_planes(), &expect.to_planes(), LIMIT);
    };
    let size = [20, 24];
    check("image_resized", &early_resize(&image, size));
    check("encoder", &naf.encoders[0].apply(&image));
    check("sem_encoder", &naf.encoders[1].apply(&image));
    let head = crate::upsample::testing::head("naf");
    let task = Task { image: &image, features: &features, projection: Some(&head), size };
    let attending = naf.attending(&task).unwrap();
    let mut made = Map::zeros(32, size);
    made.each_row(|y, row| attending.queries.unturned(y, row));
    check("pooled", &made);
    made.each_row(|y, row| attending.queries.row(y, row));
    check("queries", &made);
    check("keys", &attending.queries.pooled([5, 6]));
    let partial = map(&steps, "a.partial_logits_low").to_pixels();
    close("partial_logits_low", &attending.source.values, &partial, LIMIT);
}

/// The attention of a head is seen by values that are 1 at one patch and 0 at the others.
#[test]
fn the_attention_is_the_original_codes() {
    let (naf, case) = (naf(3), open("naf/case_a.safetensors"));
    let (image, features) = (map(&case, "image"), map(&case, "features"));
    let expect = open("naf/steps.safetensors").read("a.attention").unwrap();
    let task = Task { image: &image, features: &features, projection: None, size: [20, 24] };
    let mut attending = naf.attending(&task).unwrap();
    // [patches, heads * patches]
    attending.source.n_values = 4 * 30;
    attending.source.values =
        (0..30 * 120).map(|i| f32::from(u8::from(i / 120 == i % 30))).collect();
    let out = attending.rows(0..20);
    let (rows, columns) = (taps::windows(20, 5, 3), taps::windows(24, 6, 3));
    let mut ours = vec![];
    for head in 0..HEADS {
        for (y, rows) in rows.iter().enumerate() {
            for (x, columns) in columns.iter().enumerate() {
                let taps = rows.iter().flat_map(|y| columns.iter().map(move |x| 6 * y + x));
                ours.extend(taps.map(|patch| out.line(y, 30 * head + patch)[x]));
            }
        }
    }
    close("attention", &ours, &expect, LIMIT);
}

#[test]
fn windows_are_the_original_codes_where_the_ratio_is_not_whole() {
    let case = open("naf/case_c.safetensors");
    for (name, n_high, n_low) in [("rows_low", 21, 6), ("cols_low", 26, 7)] {
        let bytes = case.bytes(name).unwrap();
        let expect: Vec<usize> = bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes(b.try_into().unwrap()) as usize)
            .collect();
        assert_eq!(taps::windows(n_high, n_low, 5).concat(), expect, "{name}");
    }
}
