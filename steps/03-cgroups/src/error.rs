//! What can go wrong, each on one line.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {attempt} {}: {errno}{}", path.display(), advice(.hint))]
    Kernel {
        /// What was attempted, as it reads after "cannot".
        attempt: String,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// A limit that makes no sense on any host.
    #[error("invalid limit: {0}")]
    Invalid(String),
    /// A limit that this host cannot set. Nothing is ever left out in silence.
    #[error("cannot limit {limit}: this host's {controller} controller {reason}")]
    Unavailable {
        /// The cgroup controller that would do it.
        controller: &'static str,
        /// What was to be limited.
        limit: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// No cgroup file system is mounted.
    #[error("no cgroup hierarchy is mounted; `mount -t cgroup2 none /sys/fs/cgroup` makes one")]
    NoHierarchy,
    /// The name of a cgroup or of its parent could lead elsewhere.
    #[error("invalid cgroup {name:?}: {reason}")]
    Name {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn advice(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}

impl Error {
    pub(crate) fn kernel(attempt: impl Into<String>, path: &Path, errno: Errno) -> Self {
        Self::Kernel { attempt: attempt.into(), path: path.to_owned(), errno, hint: String::new() }
    }

    /// For `map_err` after a call of `std::fs`.
    pub(crate) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::kernel(attempt, path, errno(&error))
    }

    pub(crate) fn hint(self, advice: impl Into<String>) -> Self {
        match self {
            Self::Kernel { attempt, path, errno, .. } => {
                Self::Kernel { attempt, path, errno, hint: advice.into() }
            }
            other => other,
        }
    }
}

/// The errno inside an error of `std::io`.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
