use super::*;

fn draws(n: u64) -> Vec<Distortion> {
    (0..n).map(|index| Distortion::draw(&mut rng::keyed(0, "test", &[index]))).collect()
}

#[test]
fn each_operation_is_drawn_half_the_time_and_alone() {
    let draws = draws(8000);
    let drawn = |draw: &Distortion| {
        let Distortion { brightness, contrast, contrast_first, saturation, hue } = draw;
        [
            brightness.is_some(),
            contrast.is_some(),
            *contrast_first,
            saturation.is_some(),
            hue.is_some(),
        ]
    };
    for a in 0..5 {
        let n = draws.iter().filter(|draw| drawn(draw)[a]).count();
        assert!((3820..4180).contains(&n), "{a}: {n}");
        for b in 0..a {
            let n = draws.iter().filter(|draw| drawn(draw)[a] && drawn(draw)[b]).count();
            assert!((1840..2160).contains(&n), "{a} and {b}: {n}");
        }
    }
}

#[test]
fn values_fill_their_ranges() {
    let draws = draws(8000);
    let check = |values: Vec<f32>, [low, high]: [f32; 2]| {
        let (min, max) =
            values.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let width = high - low;
        assert!(low <= min && max <= high && max - min > 0.99 * width, "{min} to {max}");
        assert!((mean - f32::midpoint(low, high)).abs() < 0.03 * width, "{mean}");
    };
    check(draws.iter().filter_map(|draw| draw.brightness).collect(), [-32.0, 32.0]);
    check(draws.iter().filter_map(|draw| draw.contrast).collect(), [0.5, 1.5]);
    check(draws.iter().filter_map(|draw| draw.saturation).collect(), [0.5, 1.5]);
    let hues: Vec<i32> = draws.iter().filter_map(|draw| draw.hue).collect();
    for hue in -18..18 {
        let n = hues.iter().filter(|&&h| h == hue).count();
        assert!((70..160).contains(&n), "{hue}: {n}");
    }
    assert!(hues.iter().all(|hue| (-18..18).contains(hue)));
}

#[test]
fn nothing_drawn_changes_nothing() {
    let pixels: Vec<u8> = (0..=255).chain(0..=255).chain(0..=255).collect();
    let mut image = Rgb { width: 256, height: 1, pixels: pixels.clone() };
    Distortion::default().apply(&mut image);
    assert_eq!(image.pixels, pixels);
}

#[test]
fn greys_have_no_hue_and_colours_come_back() {
    let hsv = HsvTables::new();
    for level in 0..=255 {
        assert_eq!(hsv.of([level; 3]), [0, 0, level]);
        assert_eq!(hsv.rgb([90, 0, level]), [level; 3]);
    }
    let corners =
        [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]];
    for (i, rgb) in corners.into_iter().enumerate() {
        assert_eq!(hsv.of(rgb), [30 * i as u8, 255, 255]);
        let back = hsv.rgb(hsv.of(rgb));
        assert!(back.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 1), "{back:?}");
    }
    for r in (0..=255).step_by(15) {
        for g in (0..=255).step_by(5) {
            for b in (0..=255).step_by(17) {
                let back = hsv.rgb(hsv.of([r, g, b]));
                let far = back.iter().zip([r, g, b]).map(|(a, b)| a.abs_diff(b)).max();
                // A step of hue is a thirtieth of the range between two channels.
                assert!(far <= Some(6), "{:?} {back:?}", [r, g, b]);
            }
        }
    }
}
