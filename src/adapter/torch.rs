//! PyTorch's zip format, as far as adapters need it: a dictionary of tensors.
//!
//! Reading is Burn's `pytorch_reader`, which builds tensors from a fixed list of calls and runs
//! nothing; on top of it, whatever is not a tensor is refused here. Writing is our own: stored zip
//! entries and a pickle of protocol 2 with the calls that `torch.save` writes.

use std::collections::BTreeMap;
use std::path::Path;

use burn::store::pytorch_reader::{DType, PickleValue, PytorchReader, Tensor};
use half::{bf16, f16};

use super::Stored;

/// Largest count that f32 holds exactly.
const COUNT_MAX: i64 = 1 << 24;

/// Tensors of a file by name. Counters (scalars of i64) have shape `[1]`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let broken =
        |error: &dyn std::fmt::Display| format!("not a PyTorch file, or cut short: {error}");
    let file_len = fs_err::metadata(path).map_err(|error| broken(&error))?.len();
    let reader = PytorchReader::new(path).map_err(|error| broken(&error))?;
    let entries = PytorchReader::read_pickle_data(path, None).map_err(|error| broken(&error))?;
    let PickleValue::Dict(entries) = entries else {
        return Err("its top is no dictionary of tensors".to_owned());
    };
    let tensors = reader.into_tensors();
    for (name, value) in &entries {
        if !tensors.contains_key(name) {
            let what = match value {
                PickleValue::Unsupported(class) => class.as_str(),
                _ => "a plain value",
            };
            return Err(format!("entry `{name}` is no tensor but {what}, which is not read"));
        }
    }
    // A view can claim more than its storage has; nothing that is claimed is allocated unchecked.
    let claimed = tensors.values().try_fold(0u64, |sum, tensor| {
        let n = tensor.shape().iter().try_fold(1u64, |n, side| n.checked_mul(*side as u64))?;
        sum.checked_add(n.checked_mul(tensor.dtype().size() as u64)?)
    });
    if claimed.is_none_or(|claimed| claimed > file_len) {
        return Err(format!("its tensors claim more than the file's {file_len} bytes"));
    }
    let mut read = BTreeMap::new();
    for (name, tensor) in tensors {
        let stored = stored(&tensor).map_err(|reason| format!("tensor `{name}` {reason}"))?;
        read.insert(name, stored);
    }
    Ok(read)
}

fn stored(tensor: &Tensor) -> Result<Stored, String> {
    let bytes = tensor.read().map_err(|error| format!("cannot be read: {error}"))?;
    let shape = tensor.shape().to_vec();
    let values = match (tensor.dtype(), shape.as_slice()) {
        (DType::F32, _) => f32s(&bytes),
        (DType::F16, _) => f16s(&bytes),
        (DType::BF16, _) => bf16s(&bytes),
        (DType::I64, []) => {
            let count = bytes.first_chunk().map_or(-1, |bytes| i64::from_le_bytes(*bytes));
            if !(0..=COUNT_MAX).contains(&count) {
                return Err(format!("counts {count}; 0 to {COUNT_MAX} can be kept"));
            }
            return Ok(Stored { shape: vec![1], values: vec![count as f32] });
        }
        (dtype, _) => return Err(format!("is {dtype:?}; f32, f16 and bf16 can be read")),
    };
    Stored::new(shape, values).ok_or_else(|| "has a broken shape".to_owned())
}

pub(super) fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

pub(super) fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

pub(super) fn bf16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

/// What `torch.save` is to make of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// `nn.Parameter`, with gradients.
    Parameter,
    Tensor,
    /// A scalar of i64.
    Counter,
}

/// A file of the entries, in their order, that `torch.load(…, weights_only=True)` reads.
///
/// Gives why not where a size does not fit the format.
pub(super) fn encode(entries: &[(String, As, &Stored)]) -> Result<Vec<u8>, String> {
    let mut pickle = Pickle(vec![0x80, 2, b'}', b'(']);
    for (i, (name, kind, stored)) in entries.iter().enumerate() {
        pickle.text(name);
        pickle.tensor(*kind, &stored.shape, &i.to_string())?;
    }
    pickle.0.extend(b"u.");
    let mut zip = Zip::default();
    zip.add("data.pkl", &pickle.0)?;
    zip.add("byteorder", b"little")?;
    for (i, (_, kind, stored)) in entries.iter().enumerate() {
        let bytes: Vec<u8> = match kind {
            As::Counter => (stored.values[0] as i64).to_le_bytes().to_vec(),
            _ => stored.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        zip.add(&format!("data/{i}"), &bytes)?;
    }
    zip.add("version", b"3\n")?;
    zip.finish()
}

/// A pickle under way.
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

    /// `OrderedDict()`: the backward hooks that every tensor has.
    fn hooks(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R");
    }

    /// A contiguous tensor over the whole storage `key`.
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

/// A zip archive of stored entries below one folder.
#[derive(Default)]
struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    n: u16,
}

/// The folder within the archive.
const ROOT: &str = "archive";

impl Zip {
    fn add(&mut self, name: &str, content: &[u8]) -> Result<(), String> {
        let name = format!("{ROOT}/{name}");
        let too_big = || "more than 4 GiB".to_owned();
        let at = u32::try_from(self.bytes.len()).map_err(|_| too_big())?;
        let size = u32::try_from(content.len()).map_err(|_| too_big())?;
        // Version 2.0, no flags, stored, without a date.
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32(content).to_le_bytes());
        fields.extend(size.to_le_bytes());
        fields.extend(size.to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&fields);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        // The directory repeats the fields, then: comment, disk, attributes, and where the entry is.
        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&fields);
        self.directory.extend([0; 10]);
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.n = self.n.checked_add(1).ok_or("more than 65535 entries")?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, String> {
        let at = u32::try_from(self.bytes.len()).map_err(|_| "more than 4 GiB".to_owned())?;
        let size = self.directory.len() as u32;
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.n.to_le_bytes());
        self.bytes.extend(self.n.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0, 0]);
        Ok(self.bytes)
    }
}

/// The checksum of zip (ISO 3309, reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|i| {
        (0..8).fold(i as u32, |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    });
    !bytes
        .iter()
        .fold(!0u32, |crc, byte| (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the given pickle, and what is said about it.
    fn refused(pickle: &[u8]) -> String {
        let mut zip = Zip::default();
        zip.add("data.pkl", pickle).unwrap();
        zip.add("byteorder", b"little").unwrap();
        zip.add("data/0", &[0; 8]).unwrap();
        zip.add("version", b"3\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        crate::fs::write_atomic(&path, &zip.finish().unwrap()).unwrap();
        read(&path).unwrap_err()
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
        assert!(text.contains("entry `x` is no tensor but os.system"), "{text}");
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
        assert!(refused(&deep).contains("cut short"));
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
        assert!(refused(&bytes).contains("claim more than the file's"));
    }

    #[test]
    fn the_checksum_is_zips() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
