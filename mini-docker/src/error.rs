//! What the engine says when it cannot do what was asked: one line, and sometimes an exit code of its own.

use std::fmt::Display;
use std::path::Path;

use nix::errno::Errno;

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One line that says what was attempted, on what, and why it failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    exit_code: Option<u8>,
    is_missing: bool,
}

impl Error {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: None, is_missing: false }
    }

    /// What was named does not exist: with `--force` that is no error.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { is_missing: true, ..Self::new(message) }
    }

    /// Whether it is that what was named does not exist.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// The same error, with the exit code that the command must end with (126, 127).
    pub fn with_exit_code(self, code: u8) -> Self {
        Self { exit_code: Some(code), ..self }
    }

    /// The exit code this error asks for, if it asks for one.
    pub fn exit_code(&self) -> Option<u8> {
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

    /// A request about a container, `attempt` a verb phrase, that the kernel refused.
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
    image_pull::reference::ReferenceError,
    seccomp::Error,
    user_namespace::Error
);

impl From<image_pull::Error> for Error {
    fn from(error: image_pull::Error) -> Self {
        match error {
            image_pull::Error::NoSuchImage { .. } => Self::missing(error.to_string()),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Self {
        Self::new(error.to_string()).with_exit_code(error.exit_code())
    }
}
