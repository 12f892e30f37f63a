use super::super::check;
use super::*;

/// Angles of a made-up sequence; the first token is not rotated, like prefix tokens.
fn rotation(n_tokens: usize, head_dim: usize) -> Rotation {
    let table = |f: fn(f32) -> f32| {
        (0..n_tokens * head_dim)
            .map(|i| f((i / head_dim) as f32 * (i % (head_dim / 2) + 1) as f32 * 0.3))
            .collect()
    };
    Rotation::new(table(f32::cos), table(f32::sin), head_dim, &Device::flex())
}

fn check(batch: usize, n_tokens: usize, n_heads: usize, head_dim: usize) {
    let shapes = [[batch, n_tokens, n_heads * head_dim]; 3];
    let rotation = rotation(n_tokens, head_dim);
    for rotation in [None, Some(&rotation)] {
        let ours = |qkv| attention(qkv, n_heads, rotation);
        check::equals(ours, |qkv| composed(qkv, n_heads, rotation), shapes, 5e-6);
    }
}

#[test]
fn equals_the_composition_with_its_gradients() {
    check(2, 70, 3, 64); // more than a block of queries, head dimension of S to g
    check(1, 33, 1, 128); // of the 7B
    check(2, 9, 2, 6); // less than a panel
    check(1, 1, 2, 16); // a single token
    check(1, 64, 2, 32); // no padding anywhere
}

#[test]
fn gradients_are_the_slopes() {
    let rotation = rotation(5, 4);
    check::slopes(|qkv| attention(qkv, 2, Some(&rotation)), [[1, 5, 8]; 3]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let rotation = rotation(70, 8);
    check::threads(|qkv| attention(qkv, 4, Some(&rotation)), [[2, 70, 32]; 3]);
}

#[test]
fn scores_far_from_zero_neither_overflow_nor_lose_the_sum() {
    let shape = [1, 40, 8];
    let [q, k, v] = [0, 1, 2].map(|which| {
        let values = (0..320).map(|i| ((i * 7 + which * 31) % 13) as f32 * 20.0 - 120.0).collect();
        Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
    });
    let ours = attention([q.clone(), k.clone(), v.clone()], 1, None);
    let expect = composed([q, k, v], 1, None);
    let values = |t: Tensor<3>| t.into_data().try_into_vec::<f32>().unwrap();
    for (a, b) in values(ours).iter().zip(values(expect)) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}
