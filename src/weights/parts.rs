//! Writes a safetensors file whose tensors are filled part by part, so that only a part is in
//! memory. The format: <https://github.com/huggingface/safetensors#format>.
//!
//! Called by the verbs that write features.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

use serde_json::{Map, Value, json};

/// Headers are padded to this many bytes, so that tensors are aligned.
const ALIGNED: usize = 8;

/// The positions of the f32 tensors of a file.
pub struct PartsWriter {
    /// First byte of each tensor, in the order they were given in.
    starts: Vec<u64>,
}

impl PartsWriter {
    /// Writes the header for tensors of these names and shapes; bytes not yet written are zeros.
    pub fn start(
        file: &mut fs_err::File,
        tensors: &[(&str, Vec<usize>)],
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!(metadata));
        let (mut offsets, mut end) = (vec![], 0);
        for (name, shape) in tensors {
            let begin = end;
            end += 4 * shape.iter().map(|side| *side as u64).product::<u64>();
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] });
            header.insert((*name).to_owned(), entry);
            offsets.push(begin);
        }
        let mut header = Value::from(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(ALIGNED), b' ');
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let data = 8 + header.len() as u64;
        file.set_len(data + end)?;
        Ok(Self { starts: offsets.into_iter().map(|offset| data + offset).collect() })
    }

    /// Writes values of the tensor number `tensor`, from its value number `first` on.
    pub fn put(
        &self,
        file: &mut fs_err::File,
        tensor: usize,
        first: usize,
        values: &[f32],
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.starts[tensor] + 4 * first as u64))?;
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        file.write_all(&bytes)
    }
}
