use super::*;
use crate::data::transform::{resize_nearest, squash};

fn noise(height: u32, width: u32) -> (Rgb, Mask) {
    let mut rng = rng::keyed(3, "noise", &[]);
    let n = (height * width) as usize;
    let pixels = (0..3 * n).map(|_| rng::below(&mut rng, 256) as u8).collect();
    let classes = (0..n).map(|_| rng::below(&mut rng, 4) as u8).collect();
    (Rgb { width, height, pixels }, Mask { width, height, classes })
}

fn rngs(index: u64) -> [ChaCha8Rng; 2] {
    ["scale", "place"].map(|purpose| rng::keyed(0, purpose, &[index]))
}

#[test]
fn scales_fill_their_range_evenly() {
    let config = Config { scale: [0.5, 2.0], ..Config::default() };
    let mut bins = [0; 15];
    for index in 0..15_000 {
        let scale = config.draw_scale(&mut rngs(index)[0]);
        assert!((0.5..2.0).contains(&scale));
        bins[((scale - 0.5) * 10.0) as usize] += 1;
    }
    assert!(bins.iter().all(|n| (850..1150).contains(n)), "{bins:?}");
    let fixed = Config { scale: [1.25, 1.25], ..Config::default() };
    assert_eq!(fixed.draw_scale(&mut rngs(0)[0]).to_bits(), 1.25f64.to_bits());
}

#[test]
fn places_are_uniform() {
    let (_, mask) = noise(6, 9);
    let mut bins = [[0; 5]; 4];
    for index in 0..20_000 {
        let mut place = rngs(index)[1].clone();
        let window = choose(&mask, ([6, 9], [3, 5]), 1.0, |n| rng::below(&mut place, n));
        bins[window.top as usize][window.left as usize] += 1;
    }
    assert!(bins.as_flattened().iter().all(|n| (850..1150).contains(n)), "{bins:?}");
}

#[test]
fn a_window_is_the_resized_image_cut() {
    let (image, mask) = noise(37, 53);
    for (index, whole) in [[74, 106], [20, 29], [37, 53], [50, 20], [111, 159]].iter().enumerate() {
        let mut place = rngs(index as u64)[1].clone();
        let window = choose(&mask, (*whole, [19, 17]), 1.0, |n| rng::below(&mut place, n));
        let [height, width] = whole.map(|side| side as u32);
        let (big, classes) = (squash(&image, height, width), resize_nearest(&mask, height, width));
        let (ours, ours_classes) = (window.of_rgb(&image), window.of_mask(&mask));
        for y in 0..window.height {
            for x in 0..window.width {
                let (ty, tx) = (window.top as u32 + y, window.left as u32 + x);
                let at = |y: u32, x: u32, width: u32| (y * width + x) as usize;
                let (a, b) = (at(y, x, window.width), at(ty, tx, width));
                assert_eq!(ours_classes.classes[a], classes.classes[b]);
                for c in 0..3 {
                    assert!(ours.pixels[3 * a + c].abs_diff(big.pixels[3 * b + c]) <= 1);
                }
            }
        }
    }
}

#[test]
fn counts_are_those_of_the_window() {
    let (_, mask) = noise(11, 7);
    for (whole, top, left) in [([33, 21], 5, 4), ([6, 5], 0, 1), ([11, 7], 2, 2)] {
        let window = Window { resized: whole, top, left, height: 6, width: 4 };
        let mut expect = [0; 256];
        for class in window.of_mask(&mask).classes {
            expect[usize::from(class)] += 1;
        }
        assert_eq!(window.class_counts(&mask), expect);
    }
}

#[test]
fn one_class_may_not_fill_a_crop_where_that_can_be() {
    // A stripe of class 1 in the middle of class 0.
    let classes = (0..100 * 100).map(|i| u8::from((40..60).contains(&(i % 100)))).collect();
    let mask = Mask { width: 100, height: 100, classes };
    let share = |max_class: f64| {
        let is_good = |index: &u64| {
            let mut place = rngs(*index)[1].clone();
            let crop = ([100, 100], [20, 20]);
            let window = choose(&mask, crop, max_class, |n| rng::below(&mut place, n));
            is_mixed(&window.class_counts(&mask), 0.75)
        };
        (0..500).filter(is_good).count()
    };
    // A crop is good where its left side is 25 to 34 or 46 to 55: 20 of 81; once in 11 tries: 96%.
    assert!((80..170).contains(&share(1.0)), "{}", share(1.0));
    assert!((455..=500).contains(&share(0.75)), "{}", share(0.75));
}

#[test]
fn any_shape_is_cropped_within_the_input() {
    let shapes = [(1, 1), (1, 400), (400, 1), (3, 1000), (1000, 3), (30, 40), (300, 2)];
    for (index, (height, width)) in shapes.into_iter().enumerate() {
        let (image, mut mask) = noise(height, width);
        for config in [
            Config::default(),
            Config { scale: [0.1, 0.1], ..Config::default() },
            Config { scale: [10.0, 10.0], short_side: Some(8192), ..Config::default() },
            Config { max_class: 1e-9, ..Config::default() },
        ] {
            let (crop, classes) = config.apply((&image, &mask), [28, 42], rngs(index as u64));
            assert_eq!((crop.height, crop.width), (classes.height, classes.width));
            assert!((1..=28).contains(&crop.height) && (1..=42).contains(&crop.width));
            let n = (crop.height * crop.width) as usize;
            assert_eq!((crop.pixels.len(), classes.classes.len()), (3 * n, n));
        }
        mask.classes.fill(VOID);
        let (_, classes) = Config::default().apply((&image, &mask), [28, 42], rngs(0));
        assert!(classes.classes.iter().all(|&class| class == VOID));
    }
}

#[test]
fn a_small_image_is_not_filled_up() {
    let (image, mask) = noise(30, 60);
    let config = Config { scale: [0.5, 0.5], ..Config::default() };
    let (crop, _) = config.apply((&image, &mask), [40, 100], rngs(0));
    assert_eq!((crop.height, crop.width), (20, 40));
}
