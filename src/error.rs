//! Turns errors and their causes into one line of text, and walks through the chain of causes.
//!
//! Called wherever an error leaves the program's types: journals, complaints, messages. An error's
//! own text never repeats its source, so the line is made here.

use std::error::Error;
use std::io;

/// Joins the texts of an error and of its causes on one line:
/// `cannot write `a`: no space left on device`.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<_> = chain(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// Tells whether the disk caused the error: full, over quota or read-only. Every other write to the
/// same place fails as well.
///
/// A `transparent` error hides the [`io::Error`] in it unless that one has a source: modules with
/// such a variant look at it themselves, as [`crate::data::Error::class`] does.
pub fn is_of_the_disk(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| is_disk_kind(error.kind()))
}

/// Iterates over the error and then its sources, outermost first.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Tells whether the disk caused an I/O error of this kind; the kind survives where a path is put
/// into its text.
fn is_disk_kind(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot write `{path}`")]
        Write { path: PathBuf, source: io::Error },
        #[error(transparent)]
        Io(#[from] io::Error),
        #[error("it does not fit")]
        Misfit,
    }

    fn write(source: io::Error) -> Outer {
        Outer::Write { path: "a".into(), source }
    }

    #[test]
    fn sources_follow_their_error() {
        assert_eq!(with_sources(&Outer::Misfit), "it does not fit");
        let error = write(io::Error::other("torn"));
        assert_eq!(with_sources(&error), "cannot write `a`: torn");
    }

    #[test]
    fn a_full_disk_is_known_by_its_kind_wherever_it_stands() {
        // No space left, read-only file system, quota exceeded: their numbers on Linux.
        for code in [28, 30, 122] {
            let raw = || io::Error::from_raw_os_error(code);
            assert!(is_of_the_disk(&raw()), "{code}");
            assert!(is_of_the_disk(&write(raw())), "{code}");
            let named = io::Error::new(raw().kind(), format!("{}: `a`", raw()));
            assert!(is_of_the_disk(&write(named)), "{code}");
            assert!(is_of_the_disk(&write(io::Error::other(write(raw())))), "{code}");
        }
        assert!(!is_of_the_disk(&write(io::Error::from_raw_os_error(13))));
        // Words are no evidence.
        let words = io::Error::other("No space left on device (os error 28)");
        assert!(!is_of_the_disk(&write(words)));
        assert!(!is_of_the_disk(&Outer::Misfit));
    }

    #[test]
    fn a_full_disk_is_known_behind_a_transparent_error() {
        // `fs_err` makes such errors: the path outside, what the system said as the source.
        let named = io::Error::other(write(io::Error::from_raw_os_error(28)));
        assert!(is_of_the_disk(&Outer::from(named)));
    }
}
