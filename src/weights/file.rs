//! Reads tensors from safetensors (one file, or shards behind an index) and PyTorch files, one at a
//! time, as f32.
//!
//! Pickles are parsed, never run: an object that is not a tensor is skipped.

mod header;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{self, FileFormat, PytorchReader};

use super::{Error, cause, folder, values};
use header::{Entry, Header};

/// An open weight file, or several that make one model.
pub struct TensorFile {
    path: PathBuf,
    parts: Vec<PathBuf>,
    content: Content,
}

enum Content {
    /// Each tensor with the number of the part that holds it.
    Safetensors {
        entries: BTreeMap<String, (usize, Entry)>,
        metadata: BTreeMap<String, String>,
    },
    Pytorch {
        format: FileFormat,
        tensors: BTreeMap<String, pytorch_reader::Tensor>,
    },
}

impl TensorFile {
    /// Opens a `.safetensors`, `.pth`, `.pt` or `.bin` file, the index of a sharded model, or a
    /// folder with one of them under its usual name.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = folder::weight_file(path)?;
        let read = |source| Error::Read { path: path.clone(), source };
        let format = |reason: String| Error::Format { path: path.clone(), reason };
        let mut file = fs_err::File::open(&path).map_err(read)?;
        let mut head = Vec::with_capacity(cause::HEAD);
        file.by_ref().take(cause::HEAD as u64).read_to_end(&mut head).map_err(read)?;
        let content = if folder::is_index(&path) {
            return Self::open_shards(&path);
        } else if header::is_safetensors(&head) {
            let Header { entries, metadata } = header::read(&mut file).map_err(format)?;
            let entries = entries.into_iter().map(|(name, entry)| (name, (0, entry))).collect();
            Content::Safetensors { entries, metadata }
        } else if let Some(reason) = cause::of_bytes(&head) {
            return Err(format(reason));
        } else {
            let reader = PytorchReader::new(&path)
                .map_err(|error| format(cause::unread(&path, &head, &error)))?;
            let container = reader.metadata().format_type.clone();
            let tensors = reader.into_tensors().into_iter().collect();
            check_claims(&tensors, file.metadata().map_err(read)?.len()).map_err(format)?;
            Content::Pytorch { format: container, tensors }
        };
        Ok(Self { parts: vec![path.clone()], path, content })
    }

    /// Opens all shards that an index names, each checked against the index.
    fn open_shards(index: &Path) -> Result<Self, Error> {
        let weight_map = folder::weight_map(index)?;
        let mut parts: Vec<PathBuf> = weight_map.values().cloned().collect();
        parts.sort();
        parts.dedup();
        let mut entries = BTreeMap::new();
        for (part, path) in parts.iter().enumerate() {
            let file = Self::open(path).map_err(|error| match error {
                Error::Absent { path, reason } => {
                    let reason = format!("the index names it, and {reason}: fetch it");
                    Error::Absent { path, reason }
                }
                error => error,
            })?;
            let Content::Safetensors { entries: found, .. } = file.content else {
                let reason =
                    "it is a shard of PyTorch's format; only safetensors shards are read: \
                              save the model as safetensors"
                        .to_owned();
                return Err(Error::Format { path: path.clone(), reason });
            };
            for (name, (_, entry)) in found {
                if weight_map.get(&name) != Some(path) {
                    let reason = format!("it holds {name}, which the index does not place there");
                    return Err(Error::Format { path: path.clone(), reason });
                }
                entries.insert(name, (part, entry));
            }
        }
        if let Some((name, path)) = weight_map.iter().find(|(name, _)| !entries.contains_key(*name))
        {
            let reason = format!("it lacks {name}, which the index places there");
            return Err(Error::Format { path: path.clone(), reason });
        }
        let content = Content::Safetensors { entries, metadata: BTreeMap::new() };
        Ok(Self { path: index.to_owned(), parts, content })
    }

    /// Path of the file that was opened: for shards that of their index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold tensors.
    pub fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// The kind of file, in words.
    pub fn container(&self) -> &'static str {
        match &self.content {
            Content::Safetensors { .. } if folder::is_index(&self.path) => "sharded safetensors",
            Content::Safetensors { .. } => "safetensors",
            Content::Pytorch { format: FileFormat::Zip, .. } => "PyTorch zip",
            Content::Pytorch { format: FileFormat::Legacy, .. } => "PyTorch legacy pickle",
            Content::Pytorch { format: FileFormat::Tar, .. } => "PyTorch tar",
            Content::Pytorch { format: FileFormat::Pickle, .. } => "pickle",
        }
    }

    /// Tells whether `key` is an entry of a PyTorch file's outer dictionary that holds a dictionary
    /// of tensors, as in `{"model": …, "optimizer": …}`.
    pub fn is_wrapper(&self, key: &str) -> bool {
        matches!(self.content, Content::Pytorch { .. })
            && PytorchReader::with_top_level_key(&self.path, key).is_ok()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Safetensors { entries, .. } => entries.keys().cloned().collect(),
            Content::Pytorch { tensors, .. } => tensors.keys().cloned().collect(),
        }
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.content {
            Content::Safetensors { entries, .. } => {
                entries.get(name).map(|(_, entry)| entry.shape.clone())
            }
            Content::Pytorch { tensors, .. } => tensors.get(name).map(|t| t.shape().to_vec()),
        }
    }

    /// The element type of a tensor in lower case, e.g. `bf16`.
    pub fn dtype(&self, name: &str) -> Option<String> {
        let shown = match &self.content {
            Content::Safetensors { entries, .. } => format!("{:?}", entries.get(name)?.1.dtype),
            Content::Pytorch { tensors, .. } => format!("{:?}", tensors.get(name)?.dtype()),
        };
        Some(shown.to_lowercase())
    }

    /// Tells whether it is a PyTorch file, in any of its containers.
    pub fn is_pytorch(&self) -> bool {
        matches!(self.content, Content::Pytorch { .. })
    }

    /// Number of bytes that its tensors take together by their shapes; `None` if it overflows.
    pub fn claimed(&self) -> Option<u64> {
        match &self.content {
            Content::Safetensors { entries, .. } => {
                Some(entries.values().map(|(_, entry)| entry.len as u64).sum())
            }
            Content::Pytorch { tensors, .. } => {
                tensors.values().try_fold(0u64, |sum, tensor| sum.checked_add(claimed(tensor)?))
            }
        }
    }

    /// The metadata of a safetensors file; empty for other formats and for shards.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        match &self.content {
            Content::Safetensors { metadata, .. } => metadata,
            Content::Pytorch { .. } => NONE,
        }
    }

    /// Tells whether [`Self::read`] can read tensors of this type.
    pub fn is_readable(dtype: &str) -> bool {
        values::is_readable(dtype)
    }

    /// The values of a tensor, row-major; f16 and bf16 are widened.
    ///
    /// # Panics
    /// If the file has no such tensor: callers ask [`Self::shape`] first.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let bytes = self.bytes(name)?;
        self.floats(name, &bytes)
    }

    /// The bytes of a tensor as they are stored, row-major, little-endian.
    ///
    /// # Panics
    /// If the file has no such tensor: callers ask [`Self::shape`] first.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        match &self.content {
            Content::Safetensors { entries, .. } => {
                let (_, entry) = &entries[name];
                self.stored(name, entry.start, entry.len)
            }
            Content::Pytorch { tensors, .. } => {
                tensors[name].read().map_err(|source| self.unread(name, source))
            }
        }
    }

    /// The values `range` of a tensor, row-major; from safetensors no others are read.
    ///
    /// # Panics
    /// If the file has no such tensor or the range ends behind it: callers ask [`Self::shape`].
    pub fn read_range(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>, Error> {
        let Content::Safetensors { entries, .. } = &self.content else {
            return Ok(self.read(name)?[range].to_vec());
        };
        let (_, entry) = &entries[name];
        let width = entry.len / entry.shape.iter().product::<usize>().max(1);
        assert!(range.end * width <= entry.len, "callers look the shape up first");
        let start = entry.start + (range.start * width) as u64;
        self.floats(name, &self.stored(name, start, range.len() * width)?)
    }

    /// Reads `len` bytes from `start` of the part that holds a tensor.
    fn stored(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>, Error> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = fs_err::File::open(self.part_of(name))?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = vec![0; len];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| self.unread(name, source))
    }

    fn floats(&self, name: &str, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let dtype = self.dtype(name).expect("callers look the tensor up first");
        values::decode(&dtype, bytes).map_err(|reason| Error::Format {
            path: self.part_of(name).to_owned(),
            reason: format!("tensor {name} {reason}"),
        })
    }

    fn unread(&self, name: &str, source: io::Error) -> Error {
        Error::Read { path: self.part_of(name).to_owned(), source }
    }

    fn part_of(&self, name: &str) -> &Path {
        match &self.content {
            Content::Safetensors { entries, .. } => &self.parts[entries[name].0],
            Content::Pytorch { .. } => &self.path,
        }
    }
}

/// Number of bytes that a tensor takes by its shape.
fn claimed(tensor: &pytorch_reader::Tensor) -> Option<u64> {
    let sides = tensor.shape().iter();
    let n = sides.map(|side| *side as u64).try_fold(1u64, u64::checked_mul)?;
    n.checked_mul(tensor.dtype().size() as u64)
}

/// Refuses a tensor that claims more than its storage has, as a view can, before memory is
/// allocated.
fn check_claims(
    tensors: &BTreeMap<String, pytorch_reader::Tensor>,
    file_len: u64,
) -> Result<(), String> {
    let is_more = |tensor: &pytorch_reader::Tensor| claimed(tensor).is_none_or(|n| n > file_len);
    match tensors.iter().find(|(_, tensor)| is_more(tensor)) {
        Some((name, _)) => {
            Err(format!("its tensor {name} claims more than the file's {file_len} bytes"))
        }
        None => Ok(()),
    }
}
