//! What can go wrong, each on one line.

use std::fmt::Display;
use std::path::Path;

use nix::errno::Errno;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit code of what fails before a program runs, as Docker and shells have it.
const FAILURE: u8 = 125;

/// One line that says what was attempted, on what, and why it failed; and the exit code that says so to a script.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    exit_code: u8,
}

impl Error {
    /// An error with this text, and the exit code 125.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: FAILURE }
    }

    /// The same error with another exit code: 126 for a program that cannot be run, 127 for one that there is not.
    #[must_use]
    pub fn with_exit_code(self, code: u8) -> Self {
        Self { exit_code: code, ..self }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// A file that could not be read, written, made or removed; `attempt` is the verb.
    pub fn file(attempt: &str, path: &Path, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let reason = match error.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).to_string(),
            None => error.to_string(),
        };
        Self::new(format!("cannot {attempt} {}: {reason}", path.display()))
    }

    /// A request, `attempt` a verb phrase, that the kernel refused.
    pub fn kernel(attempt: impl Display, errno: impl Into<std::io::Error>) -> Self {
        let error = errno.into();
        let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
        Self::new(format!("cannot {attempt}: {errno}"))
    }
}

/// The steps' errors are already one line each.
macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}

from!(
    chroot::Error,
    capabilities::Error,
    cgroups::Error,
    networking::Error,
    overlay_layers::Error,
    seccomp::Error,
    user_namespace::Error
);

impl From<chroot::program::ExecError> for Error {
    fn from(error: chroot::program::ExecError) -> Self {
        Self::new(error.to_string()).with_exit_code(error.exit_code())
    }
}
