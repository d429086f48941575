//! What can go wrong, each on one line.

use crate::set::Set;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no capability's.
    #[error("unknown capability: \"{0}\"")]
    Unknown(String),
    /// Capabilities that were asked for by name, and that this process may not hand out.
    #[error("cannot give {0}: this process may not have it either (see CapBnd in /proc/self/status)")]
    Unavailable(Set),
    /// A text of `/proc/PID/status` without one of the five lines.
    #[error("cannot read {0} in the text of /proc/PID/status")]
    Status(&'static str),
    /// An extended attribute that is no file capability.
    #[error("cannot read the file capabilities: {0}")]
    File(&'static str),
    /// What the kernel refused.
    #[error(transparent)]
    Kernel(#[from] chroot::Error),
}
