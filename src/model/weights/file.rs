//! One reader over safetensors and PyTorch files; tensors are read one at a time, as f32.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::Error;

/// Largest safetensors header that is believed, bytes; ViT-7B's is 60 kB.
const HEADER_MAX: u64 = 64 << 20;

/// An open weight file.
pub struct TensorFile {
    path: PathBuf,
    content: Content,
}

enum Content {
    Safetensors(BTreeMap<String, Entry>),
    Pytorch(BTreeMap<String, pytorch_reader::Tensor>),
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bytes from the start of the file.
    start: u64,
    len: usize,
}

impl TensorFile {
    /// Opens a `.safetensors`, `.pth` or `.pt` file, or a folder with a `model.safetensors`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
        let read = |source| Error::Read { path: path.clone(), source };
        let mut head = [0u8; 512];
        let mut file = fs_err::File::open(&path).map_err(read)?;
        let n = file.read(&mut head).map_err(read)?;
        let format = |reason: String| Error::Format { path: path.clone(), reason };
        if let Some(reason) = impostor(&head[..n]) {
            return Err(format(reason.to_owned()));
        }
        let content = if looks_like_safetensors(&head[..n]) {
            Content::Safetensors(safetensors_entries(&mut file).map_err(format)?)
        } else {
            let reader = pytorch_reader::PytorchReader::new(&path)
                .map_err(|error| format(format!("not a PyTorch file, or cut short: {error}")))?;
            Content::Pytorch(reader.into_tensors().into_iter().collect())
        };
        Ok(Self { path, content })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Safetensors(entries) => entries.keys().cloned().collect(),
            Content::Pytorch(tensors) => tensors.keys().cloned().collect(),
        }
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.content {
            Content::Safetensors(entries) => entries.get(name).map(|entry| entry.shape.clone()),
            Content::Pytorch(tensors) => tensors.get(name).map(|tensor| tensor.shape().to_vec()),
        }
    }

    /// The values of a tensor, row-major; f16 and bf16 are widened.
    ///
    /// # Panics
    /// If the file has no such tensor: callers ask [`Self::shape`] first.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let failed = |source| Error::Read { path: self.path.clone(), source };
        let other = |dtype: String| Error::Format {
            path: self.path.clone(),
            reason: format!("tensor {name} is {dtype}; f32, f16 and bf16 can be read"),
        };
        match &self.content {
            Content::Safetensors(entries) => {
                let entry = &entries[name];
                let mut bytes = vec![0; entry.len];
                let mut file = fs_err::File::open(&self.path).map_err(failed)?;
                file.seek(SeekFrom::Start(entry.start)).map_err(failed)?;
                file.read_exact(&mut bytes).map_err(failed)?;
                match entry.dtype {
                    Dtype::F32 => Ok(f32s(&bytes)),
                    Dtype::F16 => Ok(f16s(&bytes)),
                    Dtype::BF16 => Ok(bf16s(&bytes)),
                    dtype => Err(other(format!("{dtype:?}"))),
                }
            }
            Content::Pytorch(tensors) => {
                let tensor = &tensors[name];
                let bytes = tensor.read().map_err(failed)?;
                match tensor.dtype() {
                    pytorch_reader::DType::F32 => Ok(f32s(&bytes)),
                    pytorch_reader::DType::F16 => Ok(f16s(&bytes)),
                    pytorch_reader::DType::BF16 => Ok(bf16s(&bytes)),
                    dtype => Err(other(format!("{dtype:?}"))),
                }
            }
        }
    }
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn bf16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
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
        dtype: info.dtype,
        shape: info.shape.clone(),
        start: data + info.data_offsets.0 as u64,
        len: info.data_offsets.1 - info.data_offsets.0,
    };
    Ok(metadata.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect())
}
