//! The images that a command line names: files, folders and patterns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::fault::{Exit, OrExit as _, fault};

/// Endings of the files that are taken from a folder.
const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];
/// Endings of videos, which are answered with what to do.
const VIDEOS: [&str; 6] = ["mp4", "mov", "avi", "mkv", "webm", "m4v"];

/// The images that `inputs` name, in that order: those of a folder or a pattern sorted by name. Each is
/// there once.
pub(super) fn images(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut images = vec![];
    for input in inputs {
        images.extend(of_input(input)?);
    }
    let mut known = BTreeSet::new();
    images.retain(|path| known.insert(path.clone()));
    Ok(images)
}

fn of_input(input: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = input.display();
    if input.is_dir() {
        let images = in_folder(input).or_exit(Exit::Environment)?;
        if images.is_empty() {
            let words = format!("the folder `{shown}` has no image: JPEG and PNG are read");
            return Err(fault(Exit::Usage, words));
        }
        return Ok(images);
    }
    if has_ending(input, &VIDEOS) {
        let words = format!(
            "`{shown}` is a video: write its frames into a folder (`ffmpeg -i {shown} \
             frames/%06d.png`), and predict that"
        );
        return Err(fault(Exit::Usage, words));
    }
    let text = input.to_string_lossy();
    if input.exists() || !text.contains(['*', '?', '[']) {
        // One that is missing is named when it is its turn, and the others go on.
        return Ok(vec![input.to_owned()]);
    }
    let paths = glob::glob(&text)
        .map_err(|error| fault(Exit::Usage, format!("the pattern `{shown}`: {error}")))?;
    let mut paths = paths.collect::<Result<Vec<_>, _>>().or_exit(Exit::Environment)?;
    paths.retain(|path| path.is_file());
    if paths.is_empty() {
        return Err(fault(Exit::Usage, format!("no file is called as `{shown}` says")));
    }
    Ok(paths)
}

fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut images = vec![];
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && has_ending(&path, &IMAGES) {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let found = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    found.is_some_and(|found| endings.contains(&found.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::write_atomic;

    #[test]
    fn folders_and_patterns_give_their_images_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.JPG", "c.txt", "x/d.jpeg"] {
            write_atomic(&dir.path().join(name), b"-").unwrap();
        }
        let names = |inputs: &[&str]| -> Result<Vec<String>, String> {
            let inputs: Vec<_> = inputs.iter().map(|name| dir.path().join(name)).collect();
            let found = images(&inputs).map_err(|error| error.to_string())?;
            Ok(found.iter().map(|p| p.file_name().unwrap().to_string_lossy().into()).collect())
        };
        assert_eq!(names(&[""]).unwrap(), ["a.JPG", "b.png"]);
        assert_eq!(names(&["x", "*.png"]).unwrap(), ["d.jpeg", "b.png"]);
        assert_eq!(names(&["b.png", "b.png"]).unwrap(), ["b.png"]);
        assert!(names(&["*.gif"]).unwrap_err().contains("no file is called as"));
        assert!(names(&["a.mp4"]).unwrap_err().contains("is a video"));
        fs_err::create_dir(dir.path().join("empty")).unwrap();
        assert!(names(&["empty"]).unwrap_err().contains("has no image"));
    }
}
