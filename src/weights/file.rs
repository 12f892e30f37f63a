//! One reader over safetensors (one file, or shards behind an index) and PyTorch files; tensors
//! are read one at a time, as f32.
//!
//! Pickles are parsed, never run: an object that is no tensor is passed over.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{self, FileFormat, PytorchReader};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{Error, folder};

/// Largest safetensors header that is believed, bytes; ViT-7B's is 60 kB.
const HEADER_MAX: u64 = 64 << 20;

/// An open weight file, or several that make one model.
pub struct TensorFile {
    path: PathBuf,
    parts: Vec<PathBuf>,
    content: Content,
}

enum Content {
    Safetensors(BTreeMap<String, Entry>),
    Pytorch { format: FileFormat, tensors: BTreeMap<String, pytorch_reader::Tensor> },
}

struct Entry {
    /// Which of the parts.
    part: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bytes from the start of the file.
    start: u64,
    len: usize,
}

impl TensorFile {
    /// Opens a `.safetensors`, `.pth`, `.pt` or `.bin` file, the index of a sharded model, or a
    /// folder with one of them under its usual name.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = folder::weight_file(path)?;
        let read = |source| Error::Read { path: path.clone(), source };
        let format = |reason: String| Error::Format { path: path.clone(), reason };
        let mut head = [0u8; 512];
        let mut file = fs_err::File::open(&path).map_err(read)?;
        let n = file.read(&mut head).map_err(read)?;
        let head = &head[..n];
        if let Some(reason) = impostor(head) {
            return Err(format(reason.to_owned()));
        }
        if folder::is_index(&path) {
            return Self::open_shards(&path);
        }
        let content = if looks_like_safetensors(head) {
            Content::Safetensors(safetensors_entries(&mut file).map_err(format)?)
        } else {
            let reader = PytorchReader::new(&path).map_err(|error| format(unread(head, &error)))?;
            let format = reader.metadata().format_type.clone();
            Content::Pytorch { format, tensors: reader.into_tensors().into_iter().collect() }
        };
        Ok(Self { parts: vec![path.clone()], path, content })
    }

    /// All shards that an index names, each checked against the index.
    fn open_shards(index: &Path) -> Result<Self, Error> {
        let weight_map = folder::weight_map(index)?;
        let mut parts: Vec<PathBuf> = weight_map.values().cloned().collect();
        parts.sort();
        parts.dedup();
        let mut entries = BTreeMap::new();
        for (part, path) in parts.iter().enumerate() {
            let file = Self::open(path)?;
            let Content::Safetensors(found) = file.content else {
                let reason = "a shard must be a safetensors file".to_owned();
                return Err(Error::Format { path: path.clone(), reason });
            };
            for (name, entry) in found {
                if weight_map.get(&name) != Some(path) {
                    let reason = format!("it holds {name}, which the index does not place there");
                    return Err(Error::Format { path: path.clone(), reason });
                }
                entries.insert(name, Entry { part, ..entry });
            }
        }
        if let Some((name, path)) = weight_map.iter().find(|(name, _)| !entries.contains_key(*name))
        {
            let reason = format!("it lacks {name}, which the index places there");
            return Err(Error::Format { path: path.clone(), reason });
        }
        Ok(Self { path: index.to_owned(), parts, content: Content::Safetensors(entries) })
    }

    /// The file that was opened: for shards their index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold tensors.
    pub fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// What kind of file it is, in words.
    pub fn container(&self) -> &'static str {
        match &self.content {
            Content::Safetensors(_) if folder::is_index(&self.path) => "sharded safetensors",
            Content::Safetensors(_) => "safetensors",
            Content::Pytorch { format: FileFormat::Zip, .. } => "PyTorch zip",
            Content::Pytorch { format: FileFormat::Legacy, .. } => "PyTorch legacy pickle",
            Content::Pytorch { format: FileFormat::Tar, .. } => "PyTorch tar",
            Content::Pytorch { format: FileFormat::Pickle, .. } => "pickle",
        }
    }

    /// Whether `key` is an entry of a PyTorch file's outer dictionary that holds a dictionary of
    /// tensors, as in `{"model": …, "optimizer": …}`.
    pub fn is_wrapper(&self, key: &str) -> bool {
        matches!(self.content, Content::Pytorch { .. })
            && PytorchReader::with_top_level_key(&self.path, key).is_ok()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Safetensors(entries) => entries.keys().cloned().collect(),
            Content::Pytorch { tensors, .. } => tensors.keys().cloned().collect(),
        }
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.content {
            Content::Safetensors(entries) => entries.get(name).map(|entry| entry.shape.clone()),
            Content::Pytorch { tensors, .. } => tensors.get(name).map(|t| t.shape().to_vec()),
        }
    }

    /// The element type of a tensor in lower case, e.g. `bf16`.
    pub fn dtype(&self, name: &str) -> Option<String> {
        let shown = match &self.content {
            Content::Safetensors(entries) => format!("{:?}", entries.get(name)?.dtype),
            Content::Pytorch { tensors, .. } => format!("{:?}", tensors.get(name)?.dtype()),
        };
        Some(shown.to_lowercase())
    }

    /// Whether [`Self::read`] can read tensors of this type.
    pub fn is_readable(dtype: &str) -> bool {
        ["f32", "f16", "bf16"].contains(&dtype)
    }

    /// The values of a tensor, row-major; f16 and bf16 are widened.
    ///
    /// # Panics
    /// If the file has no such tensor: callers ask [`Self::shape`] first.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let path = self.part_of(name);
        let failed = |source| Error::Read { path: path.to_owned(), source };
        // Both containers are little-endian, as every machine is that this is built for.
        let bytes = match &self.content {
            Content::Safetensors(entries) => {
                let entry = &entries[name];
                let mut bytes = vec![0; entry.len];
                let mut file = fs_err::File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(entry.start)).map_err(failed)?;
                file.read_exact(&mut bytes).map_err(failed)?;
                bytes
            }
            Content::Pytorch { tensors, .. } => tensors[name].read().map_err(failed)?,
        };
        self.floats(name, &bytes)
    }

    /// Bytes of a tensor as numbers.
    fn floats(&self, name: &str, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let dtype = self.dtype(name).expect("callers look the tensor up first");
        match dtype.as_str() {
            "f32" => Ok(bytemuck::pod_collect_to_vec(bytes)),
            "f16" => Ok(f16s(bytes)),
            "bf16" => Ok(bf16s(bytes)),
            dtype => Err(Error::Format {
                path: self.part_of(name).to_owned(),
                reason: format!("tensor {name} is {dtype}; f32, f16 and bf16 can be read"),
            }),
        }
    }

    /// The values `range` of a tensor, row-major; from safetensors no others are read.
    ///
    /// # Panics
    /// If the file has no such tensor or the range ends behind it: callers ask [`Self::shape`].
    pub fn read_range(&self, name: &str, range: std::ops::Range<usize>) -> Result<Vec<f32>, Error> {
        let Content::Safetensors(entries) = &self.content else {
            return Ok(self.read(name)?[range].to_vec());
        };
        let entry = &entries[name];
        let width = entry.len / entry.shape.iter().product::<usize>().max(1);
        assert!(range.end * width <= entry.len, "callers look the shape up first");
        let path = self.part_of(name);
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let mut bytes = vec![0; range.len() * width];
        let mut file = fs_err::File::open(path).map_err(failed)?;
        let start = entry.start + (range.start * width) as u64;
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        self.floats(name, &bytes)
    }

    fn part_of(&self, name: &str) -> &Path {
        match &self.content {
            Content::Safetensors(entries) => &self.parts[entries[name].part],
            Content::Pytorch { .. } => &self.path,
        }
    }
}

fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn bf16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

/// Why a file that starts with `head` was not read as a PyTorch file.
fn unread(head: &[u8], error: &pytorch_reader::PytorchError) -> String {
    match head {
        [b'P', b'K', 3, 4, ..] => format!("a PyTorch file (zip) that is cut short: {error}"),
        [0x80, ..] => {
            format!("a PyTorch file (legacy pickle) that is damaged or cut short: {error}")
        }
        _ => format!("neither safetensors nor a PyTorch file, or cut short: {error}"),
    }
}

/// What a file that is no weight file at all is, by its first bytes.
fn impostor(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start().to_ascii_lowercase();
    if head.is_empty() {
        Some("it is empty")
    } else if text.starts_with("version https://git-lfs") {
        Some("it is a git-LFS pointer; fetch the file itself with `git lfs pull`")
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some("it is an HTML page; the download was answered by a web page, not by the file")
    } else if text.starts_with("<?xml") {
        Some("it is an XML page; the download was answered by an error, not by the file")
    } else {
        None
    }
}

/// A safetensors file is a header length (u64) and a JSON object.
fn looks_like_safetensors(head: &[u8]) -> bool {
    head.len() > 8 && head[8] == b'{' && head[6..8] == [0, 0]
}

fn safetensors_entries(file: &mut fs_err::File) -> Result<BTreeMap<String, Entry>, String> {
    let text = |error: std::io::Error| error.to_string();
    let file_len = file.metadata().map_err(text)?.len();
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(text)?;
    file.read_exact(&mut length).map_err(text)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_MAX || length + 8 > file_len {
        return Err(format!("its header says {length} bytes, the file has {file_len}: cut short?"));
    }
    let mut header = vec![0; length as usize + 8];
    file.seek(SeekFrom::Start(0)).map_err(text)?;
    file.read_exact(&mut header).map_err(text)?;
    let metadata: Metadata = serde_json::from_slice(&header[8..])
        .map_err(|error| format!("its safetensors header is broken: {error}"))?;
    let data = length + 8;
    let expected = data + metadata.data_len() as u64;
    if expected != file_len {
        return Err(format!("it should have {expected} bytes and has {file_len}: cut short?"));
    }
    let entry = |info: &safetensors::tensor::TensorInfo| Entry {
        part: 0,
        dtype: info.dtype,
        shape: info.shape.clone(),
        start: data + info.data_offsets.0 as u64,
        len: info.data_offsets.1 - info.data_offsets.0,
    };
    Ok(metadata.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect())
}
