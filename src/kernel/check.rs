//! The tests that every operation of ours must pass: against Burn's composition, against finite
//! differences, and for the same bits whatever the number of threads.

use burn::tensor::{Device, Tensor, TensorData};

use crate::rng;

/// An operation, or a composition of Burn's, on N tensors of three dimensions.
pub(super) trait Function<const N: usize>:
    Fn([Tensor<3>; N]) -> Tensor<3> + Copy + Sync
{
}
impl<const N: usize, F: Fn([Tensor<3>; N]) -> Tensor<3> + Copy + Sync> Function<N> for F {}

fn random(shape: [usize; 3], which: u64) -> Vec<f32> {
    normal(shape.iter().product(), which)
}

/// Draws `n` standard normal values; `which` keys the draw.
pub(super) fn normal(n: usize, which: u64) -> Vec<f32> {
    let mut rng = rng::keyed(11, "kernel", &[which]);
    (0..n).map(|_| rng::normal(&mut rng) as f32).collect()
}

fn tensor(values: &[f32], shape: [usize; 3]) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn to_vec(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Computes the result on random inputs, then the gradient of each input where `tracked`, from
/// random gradients of the result.
fn run<const N: usize>(
    f: impl Function<N>,
    shapes: [[usize; 3]; N],
    tracked: [bool; N],
) -> (Vec<f32>, [Option<Vec<f32>>; N]) {
    let mut which = 0;
    let inputs = shapes.map(|shape| {
        let input = tensor(&random(shape, which as u64), shape);
        which += 1;
        if tracked[which - 1] { input.autodiff().require_grad() } else { input }
    });
    let output = f(inputs.clone());
    let values = to_vec(output.clone().inner());
    if tracked == [false; N] {
        assert!(!output.is_tracked(), "nothing is tracked, nothing is recorded");
        return (values, [const { None }; N]);
    }
    let weights = tensor(&random(output.dims(), 99), output.dims());
    let gradients = (output * weights).sum().backward();
    (values, inputs.map(|input| input.grad(&gradients).map(to_vec)))
}

fn close(what: &str, ours: &[f32], expect: &[f32], limit: f32) {
    assert_eq!(ours.len(), expect.len(), "{what}");
    let largest = expect.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let worst = ours.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= limit * largest, "{what}: differs by {worst} where the largest is {largest}");
}

/// Checks values and gradients against those of the composition, to `limit` of the largest, for
/// every choice of tracked inputs.
pub(super) fn equals<const N: usize>(
    ours: impl Function<N>,
    composed: impl Function<N>,
    shapes: [[usize; 3]; N],
    limit: f32,
) {
    for tracked in 0..1u32 << N {
        let tracked = std::array::from_fn(|i| tracked >> i & 1 == 1);
        let (values, gradients) = run(ours, shapes, tracked);
        let (expect_values, expect_gradients) = run(composed, shapes, tracked);
        close("value", &values, &expect_values, limit);
        for (i, (ours, expect)) in gradients.iter().zip(&expect_gradients).enumerate() {
            let what = format!("gradient {i} of {tracked:?}");
            assert_eq!(ours.is_some(), tracked[i], "{what}");
            assert_eq!(expect.is_some(), tracked[i], "{what}");
            if let (Some(ours), Some(expect)) = (ours, expect) {
                close(&what, ours, expect, limit);
            }
        }
    }
}

/// Checks gradients against the slopes of the weighted sum of the values, by central differences.
pub(super) fn slopes<const N: usize>(f: impl Function<N>, shapes: [[usize; 3]; N]) {
    const STEP: f32 = 1e-2;
    let (_, gradients) = run(f, shapes, [true; N]);
    let inputs: [Vec<f32>; N] = std::array::from_fn(|i| random(shapes[i], i as u64));
    let at = |inputs: &[Vec<f32>; N]| {
        let output = f(std::array::from_fn(|i| tensor(&inputs[i], shapes[i])));
        let weights = random(output.dims(), 99);
        let products = to_vec(output).into_iter().zip(weights);
        products.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>()
    };
    for (i, gradient) in gradients.iter().enumerate() {
        let slopes: Vec<f32> = (0..inputs[i].len())
            .map(|j| {
                let [mut low, mut high] = [inputs.clone(), inputs.clone()];
                low[i][j] -= STEP;
                high[i][j] += STEP;
                ((at(&high) - at(&low)) / f64::from(2.0 * STEP)) as f32
            })
            .collect();
        close(&format!("slope {i}"), gradient.as_ref().unwrap(), &slopes, 5e-3);
    }
}

/// Checks that 1, 2 and 8 threads give the same bits.
pub(super) fn threads<const N: usize>(f: impl Function<N> + Send, shapes: [[usize; 3]; N]) {
    let run = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| run(f, shapes, [true; N]))
    };
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(8), one);
}
