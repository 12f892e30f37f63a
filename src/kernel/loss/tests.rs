use burn::tensor::{DType, Device, activation};

use super::*;
use crate::data::VOID;
use crate::kernel::check;
use crate::kernel::resize::bilinear;
use crate::rng;

fn labels(n: usize, n_classes: u64) -> Vec<u8> {
    let mut rng = rng::keyed(8, "test", &[]);
    (0..n)
        .map(|_| match rng::below(&mut rng, n_classes + 1) {
            class if class == n_classes => VOID,
            class => class as u8,
        })
        .collect()
}

/// A batch with its labels.
struct Batch {
    logits: Vec<f32>,
    shape: [usize; 4],
    labels: Vec<u8>,
    size: [usize; 2],
}

impl Batch {
    fn new(shape: [usize; 4], size: [usize; 2]) -> Self {
        let labels = labels(shape[0] * size[0] * size[1], shape[1] as u64);
        Self { logits: check::normal(shape.iter().product(), 7), shape, labels, size }
    }

    fn targets(&self) -> Tensor<3, Int> {
        let [height, width] = self.size;
        classes::tensor(self.labels.clone(), [self.shape[0], height, width], &Device::flex())
    }

    /// Computes the loss by `f`, times `factor`, and its gradient.
    fn run(
        &self,
        factor: f32,
        f: impl Fn(Tensor<4>, Tensor<3, Int>) -> Tensor<1>,
    ) -> (f64, Vec<f32>) {
        let data = TensorData::new(self.logits.clone(), self.shape);
        let logits = Tensor::<4>::from_data(data, &Device::flex()).autodiff().require_grad();
        let loss = f(logits.clone(), self.targets()).mul_scalar(factor);
        let gradients = loss.backward();
        let gradient = logits.grad(&gradients).unwrap().into_data().try_into_vec().unwrap();
        (loss.into_scalar::<f64>(), gradient)
    }

    /// Computes the loss by Burn's own operations.
    fn composed(&self, logits: Tensor<4>) -> Tensor<1> {
        let log = activation::log_softmax(bilinear::resize(logits, self.size), 1);
        let [_, n_classes, h, w] = log.dims();
        let mut weights = vec![0.0f32; log.dims().iter().product()];
        let labelled = self.labels.iter().filter(|label| **label != VOID).count() as f32;
        for (i, label) in self.labels.iter().enumerate().filter(|(_, label)| **label != VOID) {
            let (image, pixel) = (i / (h * w), i % (h * w));
            weights[(image * n_classes + usize::from(*label)) * h * w + pixel] = -1.0 / labelled;
        }
        let weights = Tensor::<4>::from_data(TensorData::new(weights, log.dims()), &Device::flex());
        (log * weights).sum()
    }
}

fn close((ours, gradient): (f64, Vec<f32>), (loss, expect): (f64, Vec<f32>)) {
    assert!((ours - loss).abs() < 1e-5, "{ours} {loss}");
    let largest = expect.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    for (a, b) in gradient.iter().zip(&expect) {
        assert!((a - b).abs() < 2e-5 * largest, "{a} {b}");
    }
}

const CASES: [([usize; 4], [usize; 2]); 3] =
    [([2, 6, 4, 5], [56, 70]), ([1, 3, 1, 1], [7, 9]), ([3, 2, 9, 4], [5, 3])];

#[test]
fn equals_the_composition_with_its_gradient() {
    for (shape, size) in CASES {
        let batch = Batch::new(shape, size);
        for factor in [1.0, -0.5] {
            let expect = batch.run(factor, |logits, _| batch.composed(logits));
            close(batch.run(factor, cross_entropy), expect);
        }
    }
}

/// Compares bit for bit: a product by 1 is exact.
#[test]
fn the_gradient_is_the_one_of_the_forward_pass() {
    let batch = Batch::new([2, 6, 4, 5], [56, 70]);
    let logits = Logits::new(&batch.logits, batch.shape);
    let found = cpu::of_slices(logits, &batch.labels, batch.size);
    assert_eq!(batch.run(1.0, cross_entropy), (found.loss, found.gradient));
}

#[test]
fn devices_without_an_implementation_get_the_same_from_the_host() {
    for (shape, size) in CASES {
        let batch = Batch::new(shape, size);
        let (loss, gradient) = batch.run(1.0, by_host);
        let (expect, expect_gradient) = batch.run(1.0, cross_entropy);
        assert_eq!((loss as f32).to_bits(), (expect as f32).to_bits());
        assert_eq!(gradient, expect_gradient);
    }
}

#[test]
fn a_loss_of_what_is_not_trained_builds_no_graph() {
    let batch = Batch::new([1, 3, 2, 2], [4, 4]);
    let data = TensorData::new(batch.logits.clone(), batch.shape);
    let loss = cross_entropy(Tensor::from_data(data, &Device::flex()), batch.targets());
    assert_eq!((loss.is_tracked(), loss.dtype(), loss.dims()), (false, DType::F64, [1]));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let batch = Batch::new([2, 21, 5, 6], [70, 84]);
    let run = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| batch.run(1.0, cross_entropy))
    };
    let one = run(1);
    assert_eq!(run(2), one);
    assert_eq!(run(8), one);
}

#[test]
fn all_void_is_zero_not_nan() {
    let batch = Batch { labels: vec![VOID; 16], ..Batch::new([1, 2, 2, 2], [4, 4]) };
    assert_eq!(batch.run(1.0, cross_entropy), (0.0, vec![0.0; 8]));
}

#[test]
#[should_panic(expected = "targets are checked when loaded")]
fn a_label_beyond_the_classes_is_a_bug() {
    let batch = Batch { labels: vec![2; 16], ..Batch::new([1, 2, 2, 2], [4, 4]) };
    batch.run(1.0, cross_entropy);
}
