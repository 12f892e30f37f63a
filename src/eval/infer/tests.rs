use burn::tensor::Device;

use super::*;
use crate::data::transform::Normal;
use crate::data::{Mask, Rgb, transform};
use crate::eval::{Mode, Tta};
use crate::kernel::classes;
use crate::model::decoder::linear;
use crate::model::network::Parts;
use crate::model::vit::Encoder;
use crate::model::{DecoderConfig, Network, TuneConfig, backbone, init};
use crate::rng;

const SIDE: u32 = 56;

fn network() -> Network {
    let row = backbone::variants().find(|row| row.name == "dinov2_tiny14_reg");
    let mut encoder = Encoder::zeros(row.unwrap().arch, &Device::flex());
    init::encoder(&mut encoder, 3);
    let parts = Parts {
        tune: &TuneConfig::Frozen {},
        decoder: &DecoderConfig::Linear(linear::Config {}),
        n_classes: 5,
        seed: 3,
    };
    Network::new(encoder, &parts).without_gradients()
}

fn noise(width: u32, height: u32) -> Rgb {
    let mut rng = rng::keyed(4, "image", &[]);
    // Blocks of colour, so that neighbouring pixels agree.
    let colours: Vec<u8> = (0..300).map(|_| rng::below(&mut rng, 256) as u8).collect();
    let pixels = (0..height)
        .flat_map(|y| (0..width).map(move |x| ((y / 14 * 8 + x / 14) % 100 * 3) as usize))
        .flat_map(|at| colours[at..at + 3].to_vec())
        .collect();
    Rgb { width, height, pixels }
}

fn request(mode: Mode, tta: Tta) -> Request {
    Request {
        mode,
        tta,
        input_px: [SIDE; 2],
        patch_px: 14,
        normal: Normal { mean: [0.5; 3], std: [0.25; 3] },
    }
}

fn prediction(image: &Rgb, request: &Request) -> Prediction {
    let size = [image.height as usize, image.width as usize];
    let input = request.input(image.clone());
    let predictions: Vec<_> =
        predict(&mut network(), &[Item { input: &input, size }], request).collect();
    let [prediction] = predictions.try_into().unwrap();
    prediction
}

fn classes(image: &Rgb, mode: Mode, tta: Tta) -> Vec<u8> {
    let classes = classes::to_vec(prediction(image, &request(mode, tta)).classes());
    assert!(classes.iter().any(|class| *class != classes[0]), "a picture of one class");
    classes
}

fn slide(crop: u32, stride: u32) -> Mode {
    Mode::Slide { crop, stride, short_side: Some(SIDE) }
}

#[test]
fn one_window_over_a_square_is_the_whole_image() {
    let image = noise(SIDE, SIDE);
    let whole = classes(&image, Mode::Whole {}, Tta::default());
    assert_eq!(classes(&image, slide(SIDE, 20), Tta::default()), whole);
    // A second window's worth of context changes something.
    assert_ne!(classes(&image, slide(28, 14), Tta::default()), whole);
}

#[test]
fn a_mirrored_image_has_the_mirrored_prediction_under_flip_alone() {
    let image = noise(70, 56);
    let mut mirrored = image.clone();
    transform::flip_rgb(&mut mirrored);
    let flip = || Tta { flip: true, ..Tta::default() };
    let straight = classes(&image, slide(42, 14), flip());
    let mut back = classes(&mirrored, slide(42, 14), flip());
    back.chunks_exact_mut(70).for_each(<[u8]>::reverse);
    let differ = straight.iter().zip(&back).filter(|(a, b)| a != b).count();
    // The two views are summed in the other order: ties may fall the other way.
    assert!(differ * 200 <= straight.len(), "{differ} of {}", straight.len());
    assert_ne!(straight, classes(&image, slide(42, 14), Tta::default()));
}

#[test]
fn scales_and_paddings_that_no_patch_divides_are_taken() {
    let image = noise(61, 47);
    let tta = Tta { flip: false, scales: vec![0.75, 1.3] };
    assert_eq!(classes(&image, Mode::Whole {}, tta.clone()).len(), 61 * 47);
    assert_eq!(classes(&image, slide(33, 21), tta).len(), 61 * 47);
}

/// Asks for a class map and probabilities of one image in every mode and number of views.
#[test]
fn probabilities_are_at_the_images_size_and_their_arg_max_is_the_class() {
    let image = noise(61, 47);
    let flip = Tta { flip: true, scales: vec![1.0, 1.3] };
    for (mode, tta) in [
        (Mode::Whole {}, Tta::default()),
        (Mode::Whole {}, flip.clone()),
        (slide(33, 21), Tta::default()),
        (slide(33, 21), flip),
    ] {
        let prediction = prediction(&image, &request(mode, tta));
        let probabilities = prediction.probabilities();
        assert_eq!(probabilities.dims(), [1, 5, 47, 61], "{mode:?}");
        let sums: Vec<f32> = probabilities.clone().sum_dim(1).into_data().try_into_vec().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{mode:?}");
        let classes = classes::to_vec(prediction.classes());
        let likeliest = probabilities.argmax(1).into_data().convert::<i64>();
        let likeliest: Vec<i64> = likeliest.try_into_vec().unwrap();
        let differ = classes.iter().zip(&likeliest).filter(|(a, b)| i64::from(**a) != **b).count();
        assert!(differ <= 2, "{mode:?}: {differ} differ by more than rounding can explain");
    }
}

#[test]
fn classes_at_another_size_are_the_nearest_where_windows_or_views_were_joined() {
    let image = noise(60, 40);
    let windows = prediction(&image, &request(slide(33, 21), Tta::default()));
    let own = classes::to_vec(windows.classes());
    assert_eq!(classes::to_vec(windows.classes_at([40, 60])), own);
    let half = classes::to_vec(windows.classes_at([20, 30]));
    let nearest = |i: usize| own[(2 * (i / 30)) * 60 + 2 * (i % 30)..][..62].to_vec();
    // The middle of a pixel of half the size is a corner of four.
    let is_one_of_four = |i: usize| {
        let four = nearest(i);
        [four[0], four[1], four[60], four[61]].contains(&half[i])
    };
    assert!((0..half.len()).all(is_one_of_four));
    let mask = Mask { width: 60, height: 40, classes: own };
    for [height, width] in [[20, 30], [41, 57]] {
        let expect = transform::resize_nearest(&mask, height, width).classes;
        let size = [height, width].map(|px| px as usize);
        assert_eq!(classes::to_vec(windows.classes_at(size)), expect);
    }
}

#[test]
fn an_image_does_not_depend_on_the_others_of_its_batch() {
    let request = request(Mode::Whole {}, Tta::default());
    let (a, b) = (request.input(noise(61, 47)), request.input(noise(30, 90)));
    let item = |input| Item { input, size: [47, 61] };
    let last = |items: &[Item<'_>]| {
        let prediction = predict(&mut network(), items, &request).last();
        classes::to_vec(prediction.unwrap().classes())
    };
    let (both, alone) = (last(&[item(&b), item(&a)]), last(&[item(&a)]));
    let differ = both.iter().zip(&alone).filter(|(a, b)| a != b).count();
    assert!(differ <= 2, "{differ} differ by more than a batch's last bits can explain");
}
