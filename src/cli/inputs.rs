//! The images or the video that a command line names, and the files that are written for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{Exit, OrExit as _, fault};
use crate::data::loader::ordered_map;
use crate::data::{self, Rgb, image_io};
use crate::host;
use crate::viz::video::{self, Video};

/// Pictures that a verb works through.
#[derive(Debug, Clone)]
pub enum Inputs {
    Images(Vec<PathBuf>),
    /// The frames of one video.
    Video(Video),
}

/// A picture as it was read, and what was made of it.
pub type Read<T> = Result<(Rgb, T), data::Error>;

impl Inputs {
    /// What `inputs` name: files, folders and patterns of images, or a video.
    pub fn of(inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let is_video = |path: &&PathBuf| !path.is_dir() && has_ending(path, &video::ENDINGS);
        let Some(path) = inputs.iter().find(is_video) else {
            return Ok(Self::Images(images(inputs)?));
        };
        if inputs.len() > 1 {
            let words = format!("`{}` is a video: it must be the only input", path.display());
            return Err(fault(Exit::Usage, words));
        }
        if !path.exists() {
            return Err(fault(Exit::Usage, format!("`{}` does not exist", path.display())));
        }
        Ok(Self::Video(Video::open(path).map_err(with_exit)?))
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Images(paths) => paths,
            Self::Video(video) => std::slice::from_ref(&video.path),
        }
    }

    /// Number of pictures; of a video where its file says it.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Images(paths) => Some(paths.len()),
            Self::Video(video) => video.n_frames,
        }
    }

    /// Reads the pictures in order and makes something of each, up to `depth` pictures ahead. An image
    /// that cannot be read is one item; a video's error ends it.
    pub fn read<T: Send + 'static>(
        &self,
        depth: usize,
        make: impl Fn(&Rgb) -> T + Send + Sync + 'static,
    ) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Read<T>>>>> {
        match self {
            Self::Images(paths) => {
                let (n, paths) = (paths.len(), Arc::<[PathBuf]>::from(paths.as_slice()));
                let load = move |i: usize| -> Read<T> {
                    let image = image_io::read_rgb(&paths[i])?;
                    let made = make(&image);
                    Ok((image, made))
                };
                let threads = host::cores().get() as usize;
                Ok(Box::new(ordered_map(n, threads, depth, load).map(Ok)))
            }
            Self::Video(video) => {
                let frames = video.frames().map_err(with_exit)?;
                Ok(Box::new(frames.map(move |frame| {
                    let frame = frame.map_err(with_exit)?;
                    let made = make(&frame);
                    Ok(Ok((frame, made)))
                })))
            }
        }
    }

    /// The name of picture `i` for people.
    pub fn name(&self, i: usize) -> String {
        match self {
            Self::Images(paths) => format!("`{}`", paths[i].display()),
            Self::Video(video) => format!("frame {i} of `{}`", video.path.display()),
        }
    }
}

/// Gives an error of a video its exit.
pub fn with_exit(error: video::Error) -> anyhow::Error {
    let exit = match error {
        video::Error::Unreadable { .. } => Exit::Usage,
        _ => Exit::Environment,
    };
    Err::<(), _>(error).or_exit(exit).expect_err("it is an error")
}

/// What is wrong with an image that cannot be read, in words.
pub fn unreadable(path: &Path, error: data::Error) -> String {
    if path.exists() {
        format!("{:#}", anyhow::Error::new(error))
    } else {
        format!("`{}` does not exist", path.display())
    }
}

/// A file that is about to be written, and what it is of, in words.
pub type Output = (PathBuf, String);

/// Refuses outputs that would replace one of the inputs, or one another.
pub fn check_outputs(inputs: &[PathBuf], outputs: Vec<Output>) -> anyhow::Result<()> {
    let real = |path: &Path| fs_err::canonicalize(path).ok();
    let inputs: BTreeSet<_> = inputs.iter().filter_map(|path| real(path)).collect();
    let mut known = BTreeMap::new();
    for (path, source) in outputs {
        let shown = path.display();
        if real(&path).is_some_and(|path| inputs.contains(&path)) {
            let words =
                format!("`{shown}` is an input, and would be overwritten: name another output");
            return Err(fault(Exit::Usage, words));
        }
        if let Some(other) = known.get(&path) {
            let words = format!(
                "{other} and {source} would both be written into `{shown}`: write them into two \
                 folders"
            );
            return Err(fault(Exit::Usage, words));
        }
        known.insert(path, source);
    }
    Ok(())
}

/// The images that `inputs` name, in that order: those of a folder or a pattern sorted by name. Each is
/// there once.
fn images(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
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
        if path.is_file() && has_ending(&path, &image_io::ENDINGS) {
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
        fs_err::create_dir(dir.path().join("empty")).unwrap();
        assert!(names(&["empty"]).unwrap_err().contains("has no image"));
    }
}
