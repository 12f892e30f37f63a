use png::{BitDepth, ColorType};
use proptest::prelude::*;

use super::*;
use crate::data::Mask;
use crate::data::labels::Form;

fn rgb(width: u32, height: u32) -> Rgb {
    let pixels = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    Rgb { width, height, pixels }
}

fn mask(width: u32, height: u32, n_classes: u32) -> Mask {
    let classes = (0..width * height).map(|i| (i * 5 % n_classes) as u8).collect();
    Mask { width, height, classes }
}

fn png(width: u32, height: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        encoder.set_palette(voc_palette().as_flattened().to_vec());
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

fn jpeg(image: &Rgb) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = (image.width as u16, image.height as u16);
    jpeg_encoder::Encoder::new(&mut bytes, 95)
        .encode(&image.pixels, width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

fn path() -> &'static Path {
    Path::new("photo.bin")
}

#[test]
fn rgb_survives_png() {
    let image = rgb(13, 7);
    assert_eq!(decode_rgb(&write_png_rgb(&image), path()).unwrap(), image);
    assert_eq!(decode_rgb(&write_png_rgb_stored(&image), path()).unwrap(), image);
}

#[test]
fn masks_survive_png_as_indices() {
    let mask = mask(13, 7, 256);
    assert_eq!(decode_mask(&write_png_mask(&mask, &voc_palette()), path()).unwrap(), mask);
    assert_eq!(decode_mask(&write_png_mask_stored(&mask, &voc_palette()), path()).unwrap(), mask);
}

#[test]
fn packed_indices_are_unpacked() {
    let check = |depth, data: &[u8], expect: &[u8]| {
        let bytes = png(5, 2, ColorType::Indexed, depth, data);
        assert_eq!(decode_mask(&bytes, path()).unwrap().classes, expect);
    };
    check(BitDepth::One, &[0b1011_0000, 0b0000_1000], &[1, 0, 1, 1, 0, 0, 0, 0, 0, 1]);
    check(
        BitDepth::Two,
        &[0b00_01_10_11, 0b10_00_00_00, 0b11_11_00_00, 0b01_00_00_00],
        &[0, 1, 2, 3, 2, 3, 3, 0, 0, 1],
    );
    check(
        BitDepth::Four,
        &[0x12, 0x3f, 0x50, 0xab, 0xcd, 0xe0],
        &[1, 2, 3, 15, 5, 10, 11, 12, 13, 14],
    );
}

#[test]
fn grey_masks_are_indices() {
    let bytes = png(2, 2, ColorType::Grayscale, BitDepth::Eight, &[0, 1, 150, 255]);
    assert_eq!(decode_mask(&bytes, path()).unwrap().classes, [0, 1, 150, 255]);
}

#[test]
fn every_kind_of_png_becomes_rgb() {
    let check = |color, depth, data: &[u8], expect: [u8; 3]| {
        let bytes = png(1, 1, color, depth, data);
        assert_eq!(decode_rgb(&bytes, path()).unwrap().pixels, expect);
    };
    check(ColorType::Grayscale, BitDepth::Eight, &[9], [9; 3]);
    check(ColorType::Grayscale, BitDepth::One, &[0x80], [255; 3]);
    check(ColorType::GrayscaleAlpha, BitDepth::Eight, &[9, 0], [9; 3]);
    check(ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 0], [1, 2, 3]);
    check(ColorType::Rgb, BitDepth::Sixteen, &[1, 0, 128, 0, 255, 255], [1, 128, 255]);
    check(ColorType::Indexed, BitDepth::Eight, &[1], [128, 0, 0]);
}

#[test]
fn jpegs_are_read_in_colour_and_grey() {
    let flat = Rgb { width: 16, height: 16, pixels: [200, 100, 50].repeat(256) };
    let read = decode_rgb(&jpeg(&flat), path()).unwrap();
    assert_eq!((read.width, read.height), (16, 16));
    assert!(read.pixels.iter().zip(&flat.pixels).all(|(a, b)| a.abs_diff(*b) <= 4));

    let mut grey = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut grey, 95);
    encoder.encode(&[77; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
    let read = decode_rgb(&grey, path()).unwrap();
    assert!(read.pixels.len() == 192 && read.pixels.iter().all(|v| v.abs_diff(77) <= 2));
}

#[test]
fn a_jpeg_cut_anywhere_is_truncated() {
    let bytes = jpeg(&rgb(40, 30));
    for n in [3, 20, 200, bytes.len() / 2, bytes.len() - 2, bytes.len() - 1] {
        let error = decode_rgb(&bytes[..n], path()).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{n}: {error}");
    }
    decode_rgb(&bytes, path()).unwrap();
}

#[test]
fn a_thumbnails_end_is_not_the_images() {
    let mut bytes = jpeg(&rgb(40, 30));
    // An application segment whose contents look like an end of image.
    bytes.splice(2..2, [0xff, 0xe1, 0x00, 0x06, 0xff, 0xd9, 0xff, 0xd9]);
    decode_rgb(&bytes, path()).unwrap();
    let error = decode_rgb(&bytes[..bytes.len() / 2], path()).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn a_png_cut_anywhere_is_truncated() {
    let image = write_png_rgb(&rgb(40, 30));
    let mask = write_png_mask(&mask(40, 30, 21), &voc_palette());
    for n in 8..image.len() {
        let error = decode_rgb(&image[..n], path()).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{n}: {error}");
    }
    for n in 8..mask.len() {
        let error = decode_mask(&mask[..n], path()).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{n}: {error}");
    }
}

#[test]
fn what_is_no_image_is_named() {
    let check = |bytes: &[u8], expect: &str| {
        assert_eq!(decode_rgb(bytes, path()).unwrap_err().to_string(), expect);
        decode_mask(bytes, path()).unwrap_err();
    };
    check(b"", "`photo.bin` is empty, not a JPEG or PNG file; fetch it again");
    check(
        b"\xef\xbb\xbf\n <!DOCTYPE html><html>404",
        "`photo.bin` is a web page, not a JPEG or PNG file; the download answered with an error \
         page; fetch it again",
    );
    check(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        "`photo.bin` is a git-LFS pointer, not a JPEG or PNG file; run `git lfs pull` in its \
         repository",
    );
    check(b"GIF89a", "`photo.bin` is a GIF, not a JPEG or PNG file; convert it, or fetch it again");
}

#[test]
fn colour_masks_are_refused() {
    let error = decode_mask(&write_png_rgb(&rgb(4, 4)), path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mask `photo.bin` is Rgb of 8 bits; expected a PNG of palette indices (1, 2, 4 or 8 bits) \
         or 8-bit grey, one class index per pixel (a `folder` dataset reads others by \
         `data.label_map`)"
    );
    let grey16 = png(1, 1, ColorType::Grayscale, BitDepth::Sixteen, &[0, 1]);
    let error = decode_mask(&grey16, path()).unwrap_err().to_string();
    assert!(error.contains("Grayscale of 16 bits"), "{error}");
    let error = decode_mask(&jpeg(&rgb(8, 8)), path()).unwrap_err();
    assert!(matches!(error, Error::MaskFormat { .. }), "{error}");
}

#[test]
fn a_size_that_no_camera_takes_is_refused() {
    let mut bytes = write_png_mask(&mask(4, 4, 2), &voc_palette());
    bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    for error in [decode_mask(&bytes, path()).unwrap_err(), decode_rgb(&bytes, path()).unwrap_err()]
    {
        assert!(matches!(error, Error::TooLarge { width: 65536, height: 65536, .. }), "{error}");
    }
}

#[test]
fn channels_sampled_as_none_can_be_are_refused() {
    let mut bytes = jpeg(&rgb(40, 30));
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let refused = |bytes: &[u8]| decode_rgb(bytes, path()).unwrap_err().to_string();
    bytes[frame + 11] = 0x01;
    insta::assert_snapshot!(refused(&bytes), @"`photo.bin` is damaged: the sampling of its channels is invalid; fetch it again");
    bytes[frame + 11] = 0x11;
    bytes[frame + 9] = 2;
    insta::assert_snapshot!(refused(&bytes), @"`photo.bin` is damaged: its frame header is not as long as its channels need; fetch it again");
}

/// A PNG of indices with fewer colours than those.
fn short_palette(indices: &[u8], n_colours: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, indices.len() as u32, 1);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(voc_palette().as_flattened()[..3 * n_colours].to_vec());
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(indices).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn an_index_without_a_colour_is_no_colour() {
    let bytes = short_palette(&[0, 1, 2, 2], 2);
    let error = decode_raw_mask(&bytes, Form::Colours, path()).unwrap_err();
    insta::assert_snapshot!(error, @"mask `photo.bin` has index 2 (first at x 2, y 0; in all 2 pixels), but its palette has only 2 colours; save the mask again, or, if its indices are the classes, map indices instead of colours in `data.label_map`");
    // Where indices count, colours do not.
    assert_eq!(decode_mask(&bytes, path()).unwrap().classes, [0, 1, 2, 2]);
    assert!(decode_raw_mask(&short_palette(&[0, 1], 2), Form::Colours, path()).is_ok());
    // An image is read by a decoder that takes black for it.
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.png");
    fs_err::write(&image, bytes).unwrap();
    let (_, storage) = survey_rgb(&image).unwrap();
    insta::assert_snapshot!(storage.damage.unwrap(), @"2 of its pixels have an index beyond the 2 colours of its palette");
}

#[test]
fn packed_indices_have_their_palette_s_colours() {
    let bytes = png(3, 1, ColorType::Indexed, BitDepth::Two, &[0b00_01_10_00]);
    let raw = decode_raw_mask(&bytes, Form::Colours, path()).unwrap();
    assert_eq!(
        raw.values,
        crate::data::labels::RawValues::Colours(vec![0, 0, 0, 128, 0, 0, 0, 128, 0])
    );
}

#[test]
fn links_that_lead_nowhere_or_became_text_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (link, text) = (dir.path().join("a.jpg"), dir.path().join("b.jpg"));
    std::os::unix::fs::symlink("/mnt/gone/a.jpg", &link).unwrap();
    fs_err::write(&text, "/mnt/gone/b.jpg").unwrap();
    let said = |path: &Path| {
        read_rgb(path).unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(said(&link), @"`DIR/a.jpg` is a link to `/mnt/gone/a.jpg`, which does not exist; restore it, or take it out of the split");
    insta::assert_snapshot!(said(&text), @"`DIR/b.jpg` is a text file with a path in it (a link that was copied as text), not a JPEG or PNG file; replace it by the file at that path");
    insta::assert_snapshot!(read_mask(&link).unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR"), @"`DIR/a.jpg` is a link to `/mnt/gone/a.jpg`, which does not exist; restore it, or take it out of the split");
}

#[test]
fn what_comes_before_its_end_is_said_of_a_file_that_is_cut() {
    let said = |bytes: &[u8]| decode_rgb(bytes, path()).unwrap_err().to_string();
    let bytes = jpeg(&rgb(40, 30));
    insta::assert_snapshot!(said(&bytes[..100]), @"`photo.bin` is truncated: it ends after 100 bytes, before its end marker (EOI); fetch it again");
    let bytes = write_png_rgb(&rgb(40, 30));
    insta::assert_snapshot!(said(&bytes[..100]), @"`photo.bin` is truncated: it ends after 100 bytes, before its last chunk (IEND); fetch it again");
}

#[test]
fn a_decoder_that_panics_says_that_the_file_is_damaged() {
    let image = guarded(path(), || -> Result<Rgb, Error> { panic!("as a decoder might") });
    assert!(matches!(image, Err(Error::Damaged { .. })));
}

#[test]
fn missing_files_are_named() {
    let error = read_rgb(Path::new("no/such.jpg")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image `no/such.jpg` does not exist; restore it, or take it out of the split"
    );
    let error = read_mask(Path::new("no/such.png")).unwrap_err();
    assert!(matches!(error, Error::MissingMask { .. }), "{error}");
}

#[test]
fn the_palette_is_vocs() {
    let palette = voc_palette();
    let check = |index: usize, colour: [u8; 3]| assert_eq!(palette[index], colour);
    check(0, [0, 0, 0]);
    check(1, [128, 0, 0]);
    check(2, [0, 128, 0]);
    check(15, [192, 128, 128]);
    check(20, [0, 64, 128]);
    check(255, [224, 224, 192]);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

/// Some changed bytes, perhaps a piece cut out.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let n = bytes.len();
    let changes = proptest::collection::vec((0..n, any::<u8>()), 0..12);
    (changes, 0..n, 0usize..40, any::<bool>()).prop_map(move |(changes, at, len, cut)| {
        let mut bytes = bytes.clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if cut {
            bytes.drain(at..(at + len).min(n));
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_jpeg_is_no_panic(bytes in mutated(jpeg(&rgb(24, 17)))) {
        if let Ok(image) = decode_rgb(&bytes, path()) {
            prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize);
        }
    }

    #[test]
    fn a_damaged_png_is_no_panic(bytes in mutated(write_png_rgb(&rgb(24, 17)))) {
        if let Ok(image) = decode_rgb(&bytes, path()) {
            prop_assert_eq!(image.pixels.len(), 3 * (image.width * image.height) as usize);
        }
    }

    #[test]
    fn a_damaged_mask_is_no_panic(
        bytes in mutated(write_png_mask_stored(&mask(24, 17, 21), &voc_palette())),
    ) {
        if let Ok(mask) = decode_mask(&bytes, path()) {
            prop_assert_eq!(mask.classes.len(), (mask.width * mask.height) as usize);
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_rgb(&bytes, path()).is_err());
        prop_assert!(decode_mask(&bytes, path()).is_err());
    }
}
