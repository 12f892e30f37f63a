//! ADE20K as `ADEChallengeData2016` is packed: `images` and `annotations`, each with `training`
//! and `validation`. Value 0 of its masks is void, and classes count from 1.

use std::path::{Path, PathBuf};

use super::template::is_name;
use super::{Ade20kConfig, Listing, candidates, first_folder, refuse_without};
use crate::data::Error;
use crate::data::split::{Item, Labels};

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

const DEFAULT: &str = "ADEChallengeData2016";
const EXTENSIONS: [&str; 3] = ["jpg", "png", "jpeg"];
/// Short names of splits, and their folders.
const SPLITS: [(&str, &str); 2] = [("train", "training"), ("val", "validation")];

pub(super) fn find(config: &Ade20kConfig, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates(config.root.as_deref(), DEFAULT, data_dirs);
    first_folder(found, "ADE20K", advice())
}

/// Checks the layout; gives the class names.
pub(super) fn open(root: &Path) -> Result<Vec<String>, Error> {
    refuse_without(root, &["images", "annotations"], "ADE20K", advice)?;
    Ok(NAMES.split("; ").map(str::to_owned).collect())
}

/// The images of a split folder in the order of their names, each with the mask it should have.
pub(super) fn list(root: &Path, split: &str) -> Result<Listing, Error> {
    let folder = SPLITS.iter().find(|(name, _)| *name == split).map_or(split, |found| found.1);
    let images = root.join("images").join(folder);
    if !is_name(folder) || !images.is_dir() {
        let available = splits(root)?;
        return Err(Error::MissingSplit { name: split.to_owned(), path: images, available });
    }
    let mut items = Vec::new();
    for entry in fs_err::read_dir(&images)? {
        let image = entry?.path();
        let extension = image.extension().map(|text| text.to_string_lossy().to_lowercase());
        if !extension.is_some_and(|text| EXTENSIONS.contains(&text.as_str())) {
            continue;
        }
        // Hidden files are the file system's own (`._a.jpg`).
        if image.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let id = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mask = root.join("annotations").join(folder).join(format!("{id}.png"));
        items.push(Item { id, image, mask });
    }
    if items.is_empty() {
        return Err(Error::EmptySplit { path: images });
    }
    items.sort_by(|a: &Item, b| a.image.cmp(&b.image));
    Ok(Listing { items, labels: Labels::FromOne, faults: Vec::new() })
}

fn advice() -> String {
    format!(
        "unpack ADEChallengeData2016.zip into a data folder, so that it holds `{DEFAULT}`, or set \
         `data.root` to a folder with `images/` and `annotations/`, each with `training/` and \
         `validation/`"
    )
}

/// Split folders, by their short names.
pub(super) fn splits(root: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root.join("images"))? {
        let path = entry?.path();
        if path.is_dir() {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    for name in &mut names {
        if let Some((short, _)) = SPLITS.iter().find(|(_, folder)| folder == name) {
            (*short).clone_into(name);
        }
    }
    names.sort();
    Ok(names)
}
