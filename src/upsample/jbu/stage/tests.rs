use super::*;
use crate::upsample::testing::{close, map, open, path};
use crate::upsample::{Method, Tensors};

/// Limit of the steps: five times the original's own worst f32 error against f64.
const LIMIT: f32 = 5e-5;

/// Planes `[channels, height, width]`, or their top left 8x8.
fn cropped(map: &Map, side: usize) -> Vec<f32> {
    let mut out = vec![];
    for channel in 0..map.channels() {
        for y in 0..side.min(map.height()) {
            out.extend_from_slice(&map.line(y, channel)[..side.min(map.width())]);
        }
    }
    out
}

#[test]
fn every_step_is_the_original_codes() {
    let file = open("jbu/steps.safetensors");
    let case = open("jbu/case_a.safetensors");
    let image = map(&case, "image");
    let path = path("jbu/weights_norm_c12.safetensors");
    let mut tensors = Tensors::read(&path, Method::find("jbu").unwrap()).unwrap();
    let mut source = None;
    for i in 1..=4 {
        let stage = Stage::take(&mut tensors, &format!("upsampler.up{i}"));
        let name = |step: &str| format!("a.up{i}.{step}");
        let kept = file.shape(&name("range_proj")).map_or("_crop8", |_| "");
        let side = if kept.is_empty() { usize::MAX } else { 8 };
        let check = |step: &str, ours: &[f32], end: &str| {
            let name = format!("{}{end}", name(step));
            if file.shape(&name).is_some() {
                close(&name, ours, &file.read(&name).unwrap(), LIMIT);
            }
        };
        // The first stage's own source is not among the steps: its input is the normed features.
        let Some(x) = source.replace(map(&file, &name("output"))) else { continue };
        let running = Running::new(&stage, &image, x);
        let [height, width] = running.size();
        let inputs = running.inputs(&(0..height));
        check("guidance", &inputs.guidance.to_planes(), "");
        check("spatial_kernel", &stage.spatial, "");
        let mut middle = Map::zeros(12, [height, width]);
        let mut keys = Map::zeros(32, [height, width]);
        let unpad = |from: &Map, to: &mut Map| {
            let stride = running.stride();
            to.each_row(|y, row| {
                let lines = from.row(y).chunks_exact(stride);
                for (to, line) in row.chunks_exact_mut(width).zip(lines) {
                    to.copy_from_slice(&line[RADIUS..RADIUS + width]);
                }
            });
        };
        unpad(&inputs.source, &mut middle);
        unpad(&inputs.keys, &mut keys);
        check("hr_source", &middle.to_planes(), "");
        check("range_proj", &cropped(&keys, side), kept);
        let [mut range, mut combined, mut fix] =
            [(); 3].map(|()| Map::zeros(TAPS, [height, width]));
        let mut kernel = Map::zeros(TAPS, [height, width]);
        for y in 0..height {
            let keys = inputs.around(&inputs.keys, y, height);
            let mut row = stage.range_kernel(keys, running.stride(), width);
            range.row_mut(y).copy_from_slice(&row);
            stage.combine(&mut row);
            combined.row_mut(y).copy_from_slice(&row);
            let correction = stage.correction(&row, inputs.guidance.row(y));
            fix.row_mut(y).copy_from_slice(&correction);
            kernel.row_mut(y).copy_from_slice(&running.kernel(&inputs, y));
        }
        check("range_kernel", &cropped(&range, side), kept);
        check("combined", &cropped(&combined, side), kept);
        check("fixup", &cropped(&fix, side), kept);
        // [height, width, 7, 7] there.
        let kernels: Vec<f32> = (0..height.min(side))
            .flat_map(|y| (0..width.min(side)).map(move |x| (y, x)))
            .flat_map(|(y, x)| (0..TAPS).map(move |tap| (y, x, tap)))
            .map(|(y, x, tap)| kernel.line(y, tap)[x])
            .collect();
        check("kernel", &kernels, kept);
        check("output", &running.whole().to_planes(), "");
    }
}
