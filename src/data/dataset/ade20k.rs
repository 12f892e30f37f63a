//! The ADE20K dataset as `ADEChallengeData2016` is packed: `images` and `annotations`, each with
//! `training` and `validation`. Value 0 of its masks is void, and classes count from 1.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{Kind, Layout, Listing, Lists, Opened, Place};
use super::place::Usual;
use super::template::{Found, Template, is_name};
use crate::data::Error;
use crate::data::image_io::ENDINGS;
use crate::data::split::{Item, Labels};
use crate::fs::list;

/// `ADEChallengeData2016`: `images` and `annotations`, each with `training` and `validation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ade20kConfig {
    /// The dataset's folder. Default: `ADEChallengeData2016` in the data folders. Outside the run's
    /// identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
}

/// The first name of each of the 150 classes, as in the `objectInfo150.txt` of the dataset.
const NAMES: &str = "\
    wall; building; sky; floor; tree; ceiling; road; bed; windowpane; grass; cabinet; \
    sidewalk; person; earth; door; table; mountain; plant; curtain; chair; car; water; \
    painting; sofa; shelf; house; sea; mirror; rug; field; armchair; seat; fence; desk; rock; \
    wardrobe; lamp; bathtub; railing; cushion; base; box; column; signboard; chest of drawers; \
    counter; sand; sink; skyscraper; fireplace; refrigerator; grandstand; path; stairs; \
    runway; case; pool table; pillow; screen door; stairway; river; bridge; bookcase; blind; \
    coffee table; toilet; flower; book; hill; bench; countertop; stove; palm; kitchen island; \
    computer; swivel chair; boat; bar; arcade machine; hovel; bus; towel; light; truck; tower; \
    chandelier; awning; streetlight; booth; television receiver; airplane; dirt track; \
    apparel; pole; land; bannister; escalator; ottoman; bottle; buffet; poster; stage; van; \
    ship; fountain; conveyer belt; canopy; washer; plaything; swimming pool; stool; barrel; \
    basket; waterfall; tent; bag; minibike; cradle; oven; ball; food; step; tank; trade name; \
    microwave; pot; animal; bicycle; lake; dishwasher; screen; blanket; sculpture; hood; \
    sconce; vase; traffic light; tray; ashcan; fan; pier; crt screen; plate; monitor; bulletin \
    board; shower; radiator; glass; clock; flag";

const IMAGES: &str = "images";
const MASKS: &str = "annotations";
/// Short names of splits, and their folders.
const SPLITS: [(&str, &str); 2] = [("train", "training"), ("val", "validation")];

const USUAL: Usual = Usual {
    title: "ADE20K",
    folder: "ADEChallengeData2016",
    parts: &[IMAGES, MASKS],
    advice: "unpack ADEChallengeData2016.zip into a data folder, so that it holds \
             `ADEChallengeData2016`, or set `data.root` to a folder with `images/` and \
             `annotations/`, each with `training/` and `validation/`",
};

/// The layout of `ADEChallengeData2016`.
#[derive(Debug)]
struct Ade20kLayout;

impl Kind for Ade20kConfig {
    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
        USUAL.find(self.root.as_deref(), data_dirs)
    }

    fn open(&self, root: &Path) -> Result<Opened, Error> {
        USUAL.check(root)?;
        let classes = NAMES.split("; ").map(str::to_owned).collect();
        Ok(Opened { classes, layout: Arc::new(Ade20kLayout) })
    }
}

impl Layout for Ade20kLayout {
    /// The images of a split folder in the order of their file names.
    fn list(&self, root: &Path, split: &str) -> Result<Listing, Error> {
        let folder = folder_of(split);
        let path = root.join(IMAGES).join(folder);
        if !is_name(folder) || !path.is_dir() {
            let available = self.splits(root)?;
            return Err(Error::MissingSplit { name: split.to_owned(), path, available });
        }
        let mut images: Vec<_> =
            list::entries(&path)?.into_iter().map(|entry| entry.path).collect();
        images.retain(|image| ENDINGS.contains(&list::ending(image).as_str()));
        if images.is_empty() {
            return Err(Error::EmptySplit { path });
        }
        let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into();
        let ids: Vec<String> = images.iter().map(stem).collect();
        let stems: Vec<&str> = ids.iter().map(String::as_str).collect();
        let masks = masks().find(root, folder, &stems)?;
        let files = images.into_iter().zip(masks);
        let items = ids.into_iter().zip(files);
        let item =
            |(id, (image, mask)): (String, (PathBuf, Found))| Item { id, image, mask: mask.path };
        Ok(Listing::new(items.map(item).collect(), Labels::FromOne))
    }

    /// Split folders, by their short names.
    fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        let mut names = images().splits(root)?;
        for name in &mut names {
            if let Some((short, _)) = SPLITS.iter().find(|(_, folder)| folder == name) {
                (*short).clone_into(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn places(&self, _root: &Path, split: &str) -> Result<Vec<Place>, Error> {
        let (images, masks, split) = (images(), masks(), folder_of(split).to_owned());
        Ok(vec![Place { images, masks, split, lists: Lists::Folder }])
    }
}

fn folder_of(split: &str) -> &str {
    SPLITS.iter().find(|(name, _)| *name == split).map_or(split, |found| found.1)
}

fn images() -> Template {
    Template::of(&format!("{IMAGES}/{{split}}/{{stem}}.*"))
}

fn masks() -> Template {
    Template::of(&format!("{MASKS}/{{split}}/{{stem}}.png"))
}
