//! PyTorch's zip format, as far as adapters need it: a dictionary of tensors.
//!
//! Files are read by Burn's `pytorch_reader`, which builds tensors from a fixed list of calls and
//! runs nothing; entries that are not tensors are refused here. Files are written by code of our
//! own: uncompressed zip entries and a pickle of protocol 2 with the calls that `torch.save`
//! writes.

use std::borrow::Cow;
use std::io::{Cursor, Write};

use burn::store::pytorch_reader::{PickleValue, PytorchReader};
use bytemuck::cast_slice;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Error;
use super::stored::{self, Stored, Tensors};
use crate::weights::{TensorFile, values};

/// Largest count that f32 holds exactly.
const COUNT_MAX: i64 = 1 << 24;
/// Name of the folder within the archive.
const ROOT: &str = "archive";
/// Alignment in bytes of an entry's content within the archive, so that it can be memory-mapped.
const ALIGNMENT: u16 = 64;

/// Reads the tensors of a file, by name. Counters (scalars of i64) have shape `[1]`.
pub(super) fn read(file: &TensorFile) -> Result<Tensors, Error> {
    let format = |reason: String| Error::Format { path: file.path().to_owned(), reason };
    check_entries(file).map_err(format)?;
    let mut tensors = Tensors::new();
    for name in file.names() {
        let bytes = file.bytes(&name)?;
        let shape = file.shape(&name).unwrap_or_default();
        let dtype = file.dtype(&name).unwrap_or_default();
        let stored = stored((&dtype, shape), &bytes)
            .map_err(|reason| format(format!("tensor `{name}` {reason}")))?;
        tensors.insert(name, stored);
    }
    stored::check_finite(file, &tensors)?;
    Ok(tensors)
}

/// Refuses entries that are not tensors, and tensors that claim more bytes than the file has.
fn check_entries(file: &TensorFile) -> Result<(), String> {
    let unread = |error: &dyn std::fmt::Display| format!("it cannot be read: {error}");
    let entries = PytorchReader::read_pickle_data(file.path(), None).map_err(|e| unread(&e))?;
    let PickleValue::Dict(entries) = entries else {
        return Err("its outermost object is not a dictionary of tensors".to_owned());
    };
    for (name, value) in &entries {
        if file.shape(name).is_none() {
            let what = match value {
                PickleValue::Unsupported(class) => class.as_str(),
                _ => "a plain value",
            };
            return Err(format!("entry `{name}` is {what}, not a tensor"));
        }
    }
    // A view can claim more than its storage has; nothing that is claimed is allocated unchecked.
    let file_len = fs_err::metadata(file.path()).map_err(|error| unread(&error))?.len();
    if file.claimed().is_none_or(|claimed| claimed > file_len) {
        return Err(format!("its tensors claim more than the file's {file_len} bytes"));
    }
    Ok(())
}

fn stored((dtype, shape): (&str, Vec<usize>), bytes: &[u8]) -> Result<Stored, String> {
    if dtype == "i64" && shape.is_empty() {
        let count = bytes.first_chunk().map_or(-1, |bytes| i64::from_le_bytes(*bytes));
        if !(0..=COUNT_MAX).contains(&count) {
            return Err(format!("is the counter {count}, which is not in 0 to {COUNT_MAX}"));
        }
        return Ok(Stored { shape: vec![1], values: vec![count as f32] });
    }
    let values = values::decode(dtype, bytes)?;
    let mismatch = || "has a shape that does not match its values".to_owned();
    Stored::new(shape, values).ok_or_else(mismatch)
}

/// The Python object that `torch.save` would write for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// `nn.Parameter`, with gradients.
    Parameter,
    Tensor,
    /// A scalar of i64.
    Counter,
}

/// Encodes the entries, in their order, as a file that `torch.load(…, weights_only=True)` reads.
///
/// Gives why not where a size does not fit the format.
pub(super) fn encode(entries: &[(String, As, &Stored)]) -> Result<Vec<u8>, String> {
    let mut pickle = Pickle(vec![0x80, 2, b'}', b'(']);
    for (i, (name, kind, stored)) in entries.iter().enumerate() {
        pickle.text(name);
        pickle.tensor(*kind, &stored.shape, &i.to_string())?;
    }
    pickle.0.extend(b"u.");
    let mut files = vec![
        ("data.pkl".to_owned(), Cow::Borrowed(pickle.0.as_slice())),
        ("byteorder".to_owned(), Cow::Borrowed(b"little".as_slice())),
    ];
    for (i, (_, kind, stored)) in entries.iter().enumerate() {
        let bytes = match kind {
            As::Counter => Cow::Owned((stored.values[0] as i64).to_le_bytes().to_vec()),
            As::Parameter | As::Tensor => Cow::Borrowed(cast_slice(&stored.values)),
        };
        files.push((format!("data/{i}"), bytes));
    }
    files.push(("version".to_owned(), Cow::Borrowed(b"3\n")));
    archive(&files).map_err(|error| error.to_string())
}

/// A zip archive of the files below [`ROOT`], uncompressed and aligned as `torch.save` writes it.
fn archive(files: &[(String, Cow<'_, [u8]>)]) -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in files {
        zip.start_file(format!("{ROOT}/{name}"), options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The bytes of a pickle that is being written.
struct Pickle(Vec<u8>);

impl Pickle {
    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    fn int(&mut self, value: usize) -> Result<(), String> {
        let value = i32::try_from(value).map_err(|_| format!("{value} does not fit in 31 bits"))?;
        self.0.push(b'J');
        self.0.extend(value.to_le_bytes());
        Ok(())
    }

    fn ints(&mut self, values: &[usize]) -> Result<(), String> {
        self.0.push(b'(');
        for value in values {
            self.int(*value)?;
        }
        self.0.push(b't');
        Ok(())
    }

    /// Writes `OrderedDict()`: the backward hooks that every tensor has.
    fn hooks(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R");
    }

    /// Writes a contiguous tensor over all of the storage `key`.
    fn tensor(&mut self, kind: As, shape: &[usize], key: &str) -> Result<(), String> {
        let shape = if kind == As::Counter { &[] } else { shape };
        if kind == As::Parameter {
            self.global("torch._utils", "_rebuild_parameter");
        }
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend(b"((");
        self.text("storage");
        self.global("torch", if kind == As::Counter { "LongStorage" } else { "FloatStorage" });
        self.text(key);
        self.text("cpu");
        self.int(shape.iter().product())?;
        // The tuple is the storage's persistent id; then the offset in it.
        self.0.extend(b"tQ");
        self.int(0)?;
        self.ints(shape)?;
        let strides: Vec<_> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        self.ints(&strides)?;
        // Of the tensor below a parameter: no gradient.
        self.0.push(0x89);
        self.hooks();
        self.0.extend(b"tR");
        if kind == As::Parameter {
            self.0.push(0x88);
            self.hooks();
            self.0.extend([0x87, b'R']);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of reading a file that holds the given pickle.
    fn refused(pickle: &[u8]) -> String {
        let files: [(_, &[u8]); 4] = [
            ("data.pkl", pickle),
            ("byteorder", b"little"),
            ("data/0", &[0; 8]),
            ("version", b"3\n"),
        ];
        let files = files.map(|(name, bytes)| (name.to_owned(), Cow::Borrowed(bytes)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        crate::fs::write_atomic(&path, &archive(&files).unwrap()).unwrap();
        let read = TensorFile::open(&path).map_err(Error::from).and_then(|file| read(&file));
        read.unwrap_err().to_string()
    }

    #[test]
    fn nothing_but_tensors_is_taken_and_nothing_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let proof = folder.path().join("ran");
        let call = format!("cos\nsystem\n(X{{}}touch {}tR", proof.display());
        let length = (format!("touch {}", proof.display()).len() as u32).to_le_bytes();
        let mut bytes = call.into_bytes();
        let at = bytes.windows(2).position(|window| window == b"{}").unwrap();
        bytes.splice(at..at + 2, length);
        let in_dict = [b"\x80\x02}(X\x01\0\0\0x".as_slice(), &bytes, b"u."].concat();
        let text = refused(&in_dict);
        assert!(text.contains("entry `x` is os.system"), "{text}");
        assert!(refused(&[b"\x80\x02".as_slice(), &bytes, b"."].concat()).contains("dictionary"));
        assert!(!proof.exists());
        assert!(refused(b"\x80\x02}(X\x01\0\0\0xK\x01u.").contains("a plain value"));
        assert!(refused(b"\x80\x02]q\0h\0a.").contains("dictionary"));
        assert!(refused(b"\x80\x02}q\0(X\x01\0\0\0xh\0u.").contains("entry `x`"));
    }

    #[test]
    fn deep_and_broken_pickles_are_errors() {
        let deep =
            [b"\x80\x02".as_slice(), &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat();
        assert!(refused(&deep).contains("cannot be read"));
        for pickle in [b"".as_slice(), b"\x80\x02", b"\x80\x02}(", b"\x80\x02u.", b"\xff\xff."] {
            refused(pickle);
        }
    }

    #[test]
    fn a_view_that_claims_more_than_the_file_has_is_refused() {
        let mut pickle = Pickle(b"\x80\x02}(".to_vec());
        pickle.text("w");
        pickle.tensor(As::Tensor, &[2], "0").unwrap();
        let mut bytes = pickle.0;
        bytes.extend(b"u.");
        // The shape (2,) and the stride (1,) become (2^30,) and (0,).
        let ints = |a: i32, b: i32| {
            [b"(J".as_slice(), &a.to_le_bytes(), b"t(J", &b.to_le_bytes(), b"t"].concat()
        };
        let (from, to) = (ints(2, 1), ints(1 << 30, 0));
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes.splice(at..at + from.len(), to);
        assert!(refused(&bytes).contains("claims more than the file's"));
    }

    #[test]
    fn entries_are_stored_and_aligned() {
        let stored = Stored { shape: vec![3], values: vec![1.0, 2.0, 3.0] };
        let entries =
            [("a".to_owned(), As::Tensor, &stored), ("b".to_owned(), As::Tensor, &stored)];
        let bytes = encode(&entries).unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
        for i in 0..zip.len() {
            let file = zip.by_index(i).unwrap();
            assert_eq!(file.compression(), CompressionMethod::Stored);
            assert!(file.data_start().unwrap().is_multiple_of(u64::from(ALIGNMENT)));
        }
        // Nothing of the clock is in it.
        assert_eq!(encode(&entries).unwrap(), bytes);
    }
}
