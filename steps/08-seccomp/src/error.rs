//! What can go wrong, each on one line.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A profile's file cannot be read.
    #[error("cannot read the seccomp profile {}: {errno}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// What is not JSON, or not of the format's shape; it ends with the line and the column.
    #[error("invalid seccomp profile: {0}")]
    Syntax(String),
    /// What has the format's shape but no meaning.
    #[error("invalid seccomp profile: {place}: {reason}")]
    Invalid {
        /// Where in the document, such as `syscalls[3].args[0]`.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The kernel takes at most 4096 instructions (`BPF_MAXINSNS`).
    #[error("the seccomp profile is too large: it takes {0} instructions, and the kernel accepts 4096")]
    TooLong(usize),
    /// Bytes that are not those of a filter.
    #[error("these {0} bytes are not a seccomp filter")]
    Bytes(usize),
    /// The kernel's name for itself has no version in it.
    #[error("cannot make out the kernel's version from {0:?}")]
    Release(String),
    /// `seccomp(2)` failed.
    #[error("cannot install the seccomp filter: {errno} ({hint})")]
    Install {
        /// What the kernel said.
        errno: Errno,
        /// What to do about it.
        hint: &'static str,
    },
}

impl Error {
    /// An error about one place of a profile.
    pub(crate) fn at(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), reason: reason.into() }
    }

    /// For `map_err` after reading a file.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        // What has no errno is text that is not UTF-8.
        let errno = |error: &std::io::Error| error.raw_os_error().map_or(Errno::EILSEQ, Errno::from_raw);
        move |error| Self::Read { path: path.to_owned(), errno: errno(&error) }
    }
}
