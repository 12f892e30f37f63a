//! NVIDIA's run-time compiler and headers, with which CUDA kernels are compiled when they are first used.

#[cfg(any(feature = "cuda", test))]
use std::path::Path;

/// Headers that kernels include, below the toolkit's folder. PyTorch's wheels lack the last.
#[cfg(any(feature = "cuda", test))]
const HEADERS: [&str; 4] =
    ["include/cuda_runtime.h", "include/cuda_bf16.h", "include/mma.h", "include/crt/mma.h"];

/// What is missing for kernels to be compiled, and what to do about it; `None` where all is there, or
/// where this binary has no CUDA.
pub(super) fn problem() -> Option<String> {
    #[cfg(feature = "cuda")]
    return missing(cubecl_cuda::install::cuda_path().as_deref()).or_else(without_compiler);
    #[cfg(not(feature = "cuda"))]
    None
}

/// Compiles nothing, to see whether the compiler is there: its binding panics where it is not.
#[cfg(feature = "cuda")]
fn without_compiler() -> Option<String> {
    use std::panic;
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let compiled = panic::catch_unwind(|| cudarc::nvrtc::compile_ptx("").is_ok());
    panic::set_hook(hook);
    let problem = "NVIDIA's run-time compiler does not work: the library `nvrtc` is missing, or not \
                   of this driver; install the CUDA toolkit, or NVIDIA's wheels as docs/gpu.md \
                   says, with the library's folder in `LD_LIBRARY_PATH`";
    (!compiled.unwrap_or(false)).then(|| problem.to_owned())
}

#[cfg(any(feature = "cuda", test))]
fn missing(folder: Option<&Path>) -> Option<String> {
    let what = match folder {
        None => "no CUDA toolkit is found".to_owned(),
        Some(folder) => {
            let header = HEADERS.iter().map(|header| folder.join(header));
            let header = header.into_iter().find(|header| !header.exists())?;
            format!("the CUDA header `{}` is missing", header.display())
        }
    };
    Some(format!(
        "{what}: install the CUDA toolkit, or NVIDIA's wheels as docs/gpu.md says, and set \
         `CUDA_PATH` to its folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_header_is_named() {
        assert!(missing(None).unwrap().starts_with("no CUDA toolkit is found: install"));
        let folder = tempfile::tempdir().unwrap();
        for header in HEADERS {
            let expect = format!("`{}` is missing", folder.path().join(header).display());
            assert!(missing(Some(folder.path())).unwrap().contains(&expect));
            let path = folder.path().join(header);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            crate::fs::write_atomic(&path, b"").unwrap();
        }
        assert_eq!(missing(Some(folder.path())), None);
    }
}
