//! Reads the header of a safetensors file: names, types, shapes and positions of its tensors.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

/// Largest header that is accepted, bytes; ViT-7B's is 60 kB.
const LENGTH_MAX: u64 = 64 << 20;
/// Number of bytes of the header's length, with which the file begins.
const LENGTH: u64 = 8;

pub(super) struct Header {
    pub(super) entries: BTreeMap<String, Entry>,
    /// The entry `__metadata__` of the header.
    pub(super) metadata: BTreeMap<String, String>,
}

/// The header's entry for one tensor.
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, from the start of the file.
    pub(super) start: u64,
    /// Length in bytes.
    pub(super) len: usize,
}

/// Tells whether a file begins as safetensors: with the header's length (u64) and a JSON object.
pub(super) fn is_safetensors(head: &[u8]) -> bool {
    head.len() > 8 && head[8] == b'{' && head[6..8] == [0, 0]
}

/// Reads the header and checks that the tensors fill the rest of the file.
pub(super) fn read(file: &mut fs_err::File) -> Result<Header, String> {
    let text = |error: io::Error| error.to_string();
    let file_len = file.metadata().map_err(text)?.len();
    let mut length = [0; LENGTH as usize];
    file.seek(SeekFrom::Start(0)).map_err(text)?;
    file.read_exact(&mut length).map_err(text)?;
    let length = u64::from_le_bytes(length);
    if length > LENGTH_MAX || length + LENGTH > file_len {
        return Err(format!(
            "its header should have {length} bytes, and the whole file has {file_len}: it is cut \
             short or damaged; fetch it again"
        ));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(text)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| format!("its safetensors header is broken: {error}"))?;
    let data = length + LENGTH;
    let expected = data + header.data_len() as u64;
    if expected > file_len {
        return Err(format!(
            "it is cut short: it should have {expected} bytes and has {file_len}; fetch it again"
        ));
    }
    if expected < file_len {
        let more = file_len - expected;
        return Err(format!("it has {more} bytes behind its tensors: it is not valid safetensors"));
    }
    let entry = |info: &TensorInfo| Entry {
        dtype: info.dtype,
        shape: info.shape.clone(),
        start: data + info.data_offsets.0 as u64,
        len: info.data_offsets.1 - info.data_offsets.0,
    };
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let entries = header.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect();
    Ok(Header { entries, metadata })
}
