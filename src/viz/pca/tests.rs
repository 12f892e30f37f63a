use super::*;
use crate::fs::Scratch;
use crate::rng;

const DIM: usize = 6;
const PLAIN: Settings = Settings {
    foreground: Foreground::Off,
    threshold: 0.0,
    style: Style::Dinov2,
    shown: [
        Shown { index: 0, is_flipped: false },
        Shown { index: 1, is_flipped: false },
        Shown { index: 2, is_flipped: false },
    ],
};

/// Images of 6x8 patches with a block in the midst, whose tokens are far from the others.
fn store(dir: &tempfile::TempDir) -> Store {
    let mut rng = rng::keyed(5, "pca-test", &[]);
    let mut store = Store::new(Scratch::new_in(dir.path()).unwrap(), DIM);
    for _ in 0..2 {
        let mut tokens = vec![];
        for place in 0..48 {
            let far = if is_block(place) { 20.0 } else { 0.0 };
            let scale = [1.0, 3.0, 2.0, 0.1, 0.1, 0.1];
            tokens.extend((0..DIM).map(|i| (far + scale[i] * rng::normal(&mut rng)) as f32));
        }
        store.push(&tokens, [6, 8]).unwrap();
    }
    store
}

fn is_block(place: usize) -> bool {
    (2..4).contains(&(place / 8)) && (2..6).contains(&(place % 8))
}

#[test]
fn the_foreground_is_what_is_rare_at_the_borders_and_has_components_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let fit = |foreground| Fitted::fit(&store, 0..2, &Settings { foreground, ..PLAIN }).unwrap();
    let auto = fit(Foreground::Auto);
    assert_eq!(auto.n_patches, 2 * 8);
    let settings = Settings { foreground: Foreground::Auto, ..PLAIN };
    for i in 0..2 {
        let tokens = store.read(i).unwrap();
        let colours = auto.colours(&auto.values(&tokens, &settings.shown), &settings);
        for (place, colour) in colours.chunks_exact(3).enumerate() {
            // A colour of the block is black only where all three components are smallest.
            assert_eq!(colour != [0; 3], is_block(place), "image {i}, patch {place}");
        }
    }
    let [above, below] = [Foreground::Above, Foreground::Below].map(fit);
    assert_eq!(above.n_patches + below.n_patches, 96);
    assert!(above == auto || below == auto);
    // Far away, so that nothing is.
    let none = Settings { foreground: Foreground::Above, threshold: 100.0, ..PLAIN };
    let none = Fitted::fit(&store, 0..2, &none).unwrap();
    assert_eq!((none.n_patches, none.bounds), (0, vec![[0.0; 2]; 3]));
}

#[test]
fn styles_have_their_ranges_and_signs_and_order_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let tokens = store.read(0).unwrap();
    let colours = |settings: &Settings, images| {
        let fitted = Fitted::fit(&store, images, settings).unwrap();
        fitted.colours(&fitted.values(&tokens, &settings.shown), settings)
    };
    let plain = colours(&PLAIN, 0..1);
    for channel in 0..3 {
        let values = || plain.iter().skip(channel).step_by(3);
        assert_eq!((values().min(), values().max()), (Some(&0), Some(&255)));
    }
    let turned = Settings { shown: PLAIN.shown.map(|s| Shown { is_flipped: true, ..s }), ..PLAIN };
    let turned = colours(&turned, 0..1);
    assert!(
        plain
            .iter()
            .zip(&turned)
            .all(|(a, b)| (254..=256).contains(&(i32::from(*a) + i32::from(*b))))
    );
    let [a, b, c] = PLAIN.shown;
    let swapped = colours(&Settings { shown: [c, a, b], ..PLAIN }, 0..1);
    assert!(plain.chunks(3).zip(swapped.chunks(3)).all(|(p, s)| s == [p[2], p[0], p[1]]));
    // sigmoid(2 x) of whitened values: the mean is grey, and a deviation 225.
    let dinov3 = Settings { style: Style::Dinov3, ..PLAIN };
    let fitted = Fitted::fit(&store, 0..2, &dinov3).unwrap();
    let deviation = fitted.basis.variance[0].sqrt();
    assert_eq!(fitted.colours(&[0.0, 0.0, 0.0], &dinov3), [128; 3]);
    assert_eq!(fitted.colours(&[deviation, 0.0, 0.0], &dinov3)[0], 225);
}

#[test]
fn the_linear_map_gives_the_values() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let settings = Settings { foreground: Foreground::Auto, ..PLAIN };
    let fitted = Fitted::fit(&store, 0..2, &settings).unwrap();
    let tokens = store.read(1).unwrap();
    let map = crate::upsample::Map::from_pixels(&tokens, DIM, [6, 8]);
    let mapped = fitted.map(&settings.shown).apply(&map).to_planes();
    let values = fitted.values(&tokens, &settings.shown);
    for (place, pixel) in values.chunks_exact(4).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            let other = mapped[channel * 48 + place];
            assert!((value - other).abs() < 1e-4, "{value} {other}");
        }
    }
}

#[test]
fn a_basis_is_the_same_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let path = dir.path().join("basis.safetensors");
    let about = [("variant".to_owned(), "a".to_owned())].into();
    for foreground in [Foreground::Off, Foreground::Auto] {
        let fitted = Fitted::fit(&store, 0..2, &Settings { foreground, ..PLAIN }).unwrap();
        fitted.write(&path, &about).unwrap();
        let (read, metadata) = Fitted::read(&path, (DIM, 3)).unwrap();
        assert_eq!(metadata, about);
        let tokens = store.read(0).unwrap();
        let values = |fitted: &Fitted| fitted.values(&tokens, &PLAIN.shown);
        assert_eq!((values(&read), &read.bounds), (values(&fitted), &fitted.bounds));
    }
    let error = |dim, n| Fitted::read(&path, (dim, n)).unwrap_err().to_string();
    assert!(error(7, 3).contains("width 6"), "{}", error(7, 3));
    assert!(error(6, 4).contains("has 3 components"), "{}", error(6, 4));
}

/// `tests/reference/pca.py` wrote the file.
#[test]
fn components_are_those_of_scikit_learn_up_to_their_signs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pca/sklearn.safetensors");
    let golden = crate::weights::TensorFile::open(path.as_ref()).unwrap();
    let read = |name: &str| golden.read(name).unwrap();
    let (rows, n) = (read("rows"), 6);
    let mut moments = Moments::new(24);
    moments.add(&rows);
    let basis = Basis::fit(&moments, n);
    let close = |a: f32, b: f32, scale: f32| (a - b).abs() <= 1e-5 * scale;
    assert!(basis.mean.iter().zip(read("mean")).all(|(a, b)| close(*a, b, 10.0)));
    assert!(basis.variance.iter().zip(read("variance")).all(|(a, b)| close(*a, b, b)));
    let components = read("components");
    let signs: Vec<f32> = (0..n)
        .map(|i| {
            let (ours, theirs) = (basis.row(i).0, &components[24 * i..][..24]);
            let dot: f32 = ours.iter().zip(theirs).map(|(a, b)| a * b).sum();
            assert!(close(dot.abs(), 1.0, 1.0), "component {i}: {dot}");
            dot.signum()
        })
        .collect();
    let ours = basis.project(&rows, &[0, 1, 2, 3, 4, 5]);
    let (projected, whitened) = (read("projected"), read("whitened"));
    for (i, value) in ours.iter().enumerate() {
        let (component, deviation) = (i % n, basis.variance[i % n].sqrt());
        let value = signs[component] * value;
        assert!(close(value, projected[i], 10.0 * deviation), "{value} {}", projected[i]);
        assert!(close(value / deviation, whitened[i], 10.0), "{value} {}", whitened[i]);
    }
}
