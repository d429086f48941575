//! What can go wrong, each on one line: what was attempted, on what, and why it failed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} {}: {errno}", path.display())]
    System {
        /// What was attempted, as it reads after "cannot": `create the directory`.
        action: &'static str,
        /// The object of the attempt.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// An archive member that is malformed, or that would reach outside the layer.
    #[error("layer archive refused at member {:?}: {reason}", String::from_utf8_lossy(member))]
    Member {
        /// The member's path as the archive spells it.
        member: Vec<u8>,
        /// Why it is refused.
        reason: String,
    },
    /// What an archive puts into a tree cannot take the place of what is there.
    #[error("cannot overwrite {there} \"{}\" with {new}", path.display())]
    Conflict {
        /// Where.
        path: PathBuf,
        /// What is there.
        there: &'static str,
        /// What was to come.
        new: &'static str,
    },
    /// The stream is not a layer: cut short, corrupt, or compressed in a way we do not read.
    #[error("cannot read the layer stream: {0}")]
    Stream(String),
    /// A layer could not be written out.
    #[error("cannot write the layer: {0}")]
    Write(String),
    /// The stream is larger than the caller allows.
    #[error("the layer unpacks to more than the {limit} bytes allowed: refused")]
    TooLarge {
        /// The limit, in bytes of uncompressed tar.
        limit: u64,
    },
    /// The content is not what its name promises.
    #[error("the layer's content has diff ID {actual} and not {expected}: refused, nothing was kept")]
    WrongDiffId {
        /// What the image's config promises.
        expected: String,
        /// What the bytes hash to.
        actual: String,
    },
    /// A digest that cannot be read.
    #[error("invalid digest {text:?}: {reason}")]
    Digest {
        /// The text that was to be a digest.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of the layer store that does not hold what it should.
    #[error("the layer store's {} is damaged ({reason}): remove its directory and pull again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused an overlay, and said why.
    #[error("cannot {action}: {errno}{kernel}")]
    Mount {
        /// What was attempted.
        action: String,
        /// The errno.
        errno: Errno,
        /// The kernel's own words from the mount API's log, with a leading separator; may be empty.
        kernel: String,
    },
}

impl Error {
    /// For `map_err` after a rustix call: `.map_err(Error::system("open", path))`.
    pub(crate) fn system(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |e| Self::System {
            action,
            path: path.as_ref().to_owned(),
            errno: Errno::from_raw(e.raw_os_error()),
        }
    }

    /// For `map_err` after a call of `std::fs`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |e| Self::System {
            action,
            path: path.as_ref().to_owned(),
            errno: Errno::from_raw(e.raw_os_error().unwrap_or(0)),
        }
    }

    /// For `map_err` where a layer is read. The stream may be a file, a pipe or a connection: what it says is all
    /// there is to say.
    pub(crate) fn stream(error: &std::io::Error) -> Self {
        Self::Stream(reason(error))
    }

    /// For `map_err` where a layer is written.
    pub(crate) fn write(error: &std::io::Error) -> Self {
        Self::Write(reason(error))
    }

    /// A refused archive member.
    pub(crate) fn member(member: impl AsRef<OsStr>, reason: impl Into<String>) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self::Member { member: member.as_ref().as_bytes().to_vec(), reason: reason.into() }
    }
}

/// The errno with its name, or what a decoder found wrong.
fn reason(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| Errno::from_raw(errno).to_string())
}
