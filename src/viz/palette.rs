//! Colours of classes: a dataset's own, else distinct ones that colour-blind people can tell apart.

#![expect(clippy::unreadable_literal, reason = "a colour is six digits")]

use crate::data::image_io::{Palette, voc_palette};

/// ADE20K's colours of its 150 classes, as 0xRRGGBB (mmsegmentation 088894b, `datasets/ade.py`).
#[rustfmt::skip]
const ADE20K: [u32; 150] = [
    0x787878, 0xb47878, 0x06e6e6, 0x503232, 0x04c803, 0x787850, 0x8c8c8c, 0xcc05ff, 0xe6e6e6,
    0x04fa07, 0xe005ff, 0xebff07, 0x96053d, 0x787846, 0x08ff33, 0xff0652, 0x8fff8c, 0xccff04,
    0xff3307, 0xcc4603, 0x0066c8, 0x3de6fa, 0xff0633, 0x0b66ff, 0xff0747, 0xff09e0, 0x0907e6,
    0xdcdcdc, 0xff095c, 0x7009ff, 0x08ffd6, 0x07ffe0, 0xffb806, 0x0aff47, 0xff290a, 0x07ffff,
    0xe0ff08, 0x6608ff, 0xff3d06, 0xffc207, 0xff7a08, 0x00ff14, 0xff0829, 0xff0599, 0x0633ff,
    0xeb0cff, 0xa09614, 0x00a3ff, 0x8c8c8c, 0xfa0a0f, 0x14ff00, 0x1fff00, 0xff1f00, 0xffe000,
    0x99ff00, 0x0000ff, 0xff4700, 0x00ebff, 0x00adff, 0x1f00ff, 0x0bc8c8, 0xff5200, 0x00fff5,
    0x003dff, 0x00ff70, 0x00ff85, 0xff0000, 0xffa300, 0xff6600, 0xc2ff00, 0x008fff, 0x33ff00,
    0x0052ff, 0x00ff29, 0x00ffad, 0x0a00ff, 0xadff00, 0x00ff99, 0xff5c00, 0xff00ff, 0xff00f5,
    0xff0066, 0xffad00, 0xff0014, 0xffb8b8, 0x001fff, 0x00ff3d, 0x0047ff, 0xff00cc, 0x00ffc2,
    0x00ff52, 0x000aff, 0x0070ff, 0x3300ff, 0x00c2ff, 0x007aff, 0x00ffa3, 0xff9900, 0x00ff0a,
    0xff7000, 0x8fff00, 0x5200ff, 0xa3ff00, 0xffeb00, 0x08b8aa, 0x8500ff, 0x00ff5c, 0xb800ff,
    0xff001f, 0x00b8ff, 0x00d6ff, 0xff0070, 0x5cff00, 0x00e0ff, 0x70e0ff, 0x46b8a0, 0xa300ff,
    0x9900ff, 0x47ff00, 0xff00a3, 0xffcc00, 0xff008f, 0x00ffeb, 0x85ff00, 0xff00eb, 0xf500ff,
    0xff007a, 0xfff500, 0x0abed4, 0xd6ff00, 0x00ccff, 0x1400ff, 0xffff00, 0x0099ff, 0x0029ff,
    0x00ffcc, 0x2900ff, 0x29ff00, 0xad00ff, 0x00f5ff, 0x4700ff, 0x7a00ff, 0x00ffb8, 0x005cff,
    0xb8ff00, 0x0085ff, 0xffd600, 0x19c2c2, 0x66ff00, 0x5c00ff,
];

/// Cityscapes' colours of its 19 evaluated classes, which ACDC shares (cityscapesScripts,
/// `helpers/labels.py`).
#[rustfmt::skip]
const CITYSCAPES: [u32; 19] = [
    0x804080, 0xf423e8, 0x464646, 0x66669c, 0xbe9999, 0x999999, 0xfaaa1e, 0xdcdc00, 0x6b8e23,
    0x98fb98, 0x4682b4, 0xdc143c, 0xff0000, 0x00008e, 0x000046, 0x003c64, 0x005064, 0x0000e6,
    0x770b20,
];

/// Colours for datasets that have none of their own: those of Okabe and Ito (2008), then those of a
/// grid that are farthest from all before them, for usual eyes and without the red-green difference.
#[rustfmt::skip]
const DISTINCT: [u32; 20] = [
    0x0072b2, 0xe69f00, 0x009e73, 0xf0e442, 0x56b4e9, 0xd55e00, 0xcc79a7, 0x0000ff, 0x0066ff,
    0x660022, 0x660066, 0xaaee88, 0x6600aa, 0x00ffff, 0x664400, 0x006666, 0xcc00aa, 0xcc4444,
    0x0088ff, 0x0044ff,
];

/// The name of the class that is none of the others, and its colour.
const BACKGROUND: &str = "background";
const DARK: [u8; 3] = [48; 3];

/// Colour of void and of indices that are no class.
const VOID: [u8; 3] = [224, 224, 192];

/// A dataset's kind of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Voc,
    Ade20k,
    Cityscapes,
}

/// The colours of the classes called `names`, by index; those behind the last class, void among
/// them, share one. VOC, ADE20K and Cityscapes are known by their classes, whatever dataset they
/// are in.
pub fn of_classes(names: &[String]) -> Palette {
    let own = own(names);
    let voc = voc_palette();
    std::array::from_fn(|index| {
        if index >= names.len() {
            return VOID;
        }
        match own {
            Some(Own::Voc) => voc[index],
            Some(Own::Ade20k) => rgb(ADE20K[index]),
            Some(Own::Cityscapes) => rgb(CITYSCAPES[index]),
            // In the midst of things what is none of them is no colour.
            None if names[index] == BACKGROUND => DARK,
            None => distinct(index),
        }
    })
}

/// The dataset whose classes these are, in its order.
fn own(names: &[String]) -> Option<Own> {
    let is = |index: usize, name: &str| {
        names.get(index).is_some_and(|found| found.trim().eq_ignore_ascii_case(name))
    };
    match names.len() {
        21 if is(1, "aeroplane") && is(20, "tvmonitor") => Some(Own::Voc),
        150 if is(0, "wall") && is(2, "sky") => Some(Own::Ade20k),
        19 if is(0, "road") && is(18, "bicycle") => Some(Own::Cityscapes),
        _ => None,
    }
}

/// The colour of class `index` where no dataset says: the first 20 are far apart, later ones are
/// darker and lighter shades of them.
pub fn distinct(index: usize) -> [u8; 3] {
    let base = rgb(DISTINCT[index % DISTINCT.len()]);
    let round = index / DISTINCT.len();
    let towards = if round.is_multiple_of(2) { 0.0 } else { 255.0 };
    // A half, then a third of the way, and so on.
    let share = if round == 0 { 0.0 } else { 1.0 / (2.0 + (round / 2) as f64) };
    base.map(|value| (f64::from(value) * (1.0 - share) + towards * share).round() as u8)
}

fn rgb(colour: u32) -> [u8; 3] {
    let [_, red, green, blue] = colour.to_be_bytes();
    [red, green, blue]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize, known: &[(usize, &str)]) -> Vec<String> {
        let mut names: Vec<_> = (0..n).map(|i| format!("class {i}")).collect();
        for (index, name) in known {
            names[*index] = (*name).to_owned();
        }
        names
    }

    #[test]
    fn datasets_have_their_own_colours() {
        let voc = of_classes(&names(21, &[(1, "aeroplane"), (20, "tvmonitor")]));
        assert_eq!((voc[1], voc[20], voc[255]), ([128, 0, 0], [0, 64, 128], VOID));
        let ade = of_classes(&names(150, &[(0, "wall"), (2, "sky")]));
        assert_eq!((ade[0], ade[149]), ([120, 120, 120], [92, 0, 255]));
        let city = of_classes(&names(19, &[(0, "road"), (18, "bicycle")]));
        assert_eq!((city[0], city[18]), ([128, 64, 128], [119, 11, 32]));
        let others = of_classes(&names(21, &[(0, "background")]));
        assert_eq!((others[0], others[1]), (DARK, distinct(1)));
    }

    /// Linear light of a colour, seen without the red-green difference (Viénot, Brettel and Mollon
    /// 1999: deuteranopes and protanopes), as CIE L*, a*, b* without D65's adaptation.
    fn seen(colour: [u8; 3], matrix: [[f64; 3]; 3]) -> [f64; 3] {
        let linear = colour.map(|value| (f64::from(value) / 255.0).powf(2.2));
        let out = matrix.map(|row| row.iter().zip(linear).map(|(m, v)| m * v).sum::<f64>());
        let [r, g, b] = out.map(|value| value.clamp(0.0, 1.0));
        let xyz = [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        ];
        let [x, y, z] =
            xyz.map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// Distance in CIELAB; 2.3 is just noticeable.
    const APART: f64 = 15.0;

    #[test]
    fn distinct_colours_differ_for_colour_blind_people_too() {
        let usual = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let protan = [[0.112_38, 0.887_62, 0.0], [0.112_38, 0.887_62, 0.0], [0.004, -0.004, 1.0]];
        let deutan =
            [[0.292_75, 0.707_25, 0.0], [0.292_75, 0.707_25, 0.0], [-0.022_34, 0.022_34, 1.0]];
        for matrix in [usual, protan, deutan] {
            for i in 0..DISTINCT.len() {
                for j in 0..i {
                    let [a, b] = [i, j].map(|index| seen(distinct(index), matrix));
                    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
                    let distance = squares.sum::<f64>().sqrt();
                    assert!(distance > APART, "{i} and {j} are {distance:.1} apart");
                }
            }
        }
    }

    #[test]
    fn no_two_of_the_first_classes_share_a_colour() {
        let all: std::collections::BTreeSet<_> = (0..60).map(distinct).collect();
        assert_eq!(all.len(), 60);
    }
}
