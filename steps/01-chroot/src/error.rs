//! One error type for everything that can go wrong while a root is set up.

use std::fmt;

use nix::errno::Errno;

/// The result of a step that asks the kernel for something.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One refused request: what was attempted, on which object, what the kernel said, what to do next.
///
/// It prints as one line: `cannot mount proc on /proc: EPERM: Operation not permitted (run it as root)`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {attempt} {object}: {errno}{}", Hint(self.hint.as_deref()))]
pub struct Error {
    attempt: &'static str,
    object: String,
    errno: Errno,
    hint: Option<String>,
}

impl Error {
    /// An error about `object`; `attempt` is a verb phrase that continues "cannot …".
    pub fn new(attempt: &'static str, object: impl fmt::Display, errno: impl Into<Kernel>) -> Self {
        let errno = errno.into().0;
        let hint = match errno {
            Errno::EPERM => Some("this needs root, or a user namespace of its own".to_owned()),
            Errno::ENOSYS => Some("this kernel is too old: Linux 5.12 or newer is needed".to_owned()),
            _ => None,
        };
        Self { attempt, object: object.to_string(), errno, hint }
    }

    /// Replaces the advice at the end of the line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the kernel said.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

/// The advice in brackets, or nothing.
struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// An errno, whichever library reported it.
pub struct Kernel(Errno);

impl From<Errno> for Kernel {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<rustix::io::Errno> for Kernel {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(Errno::from_raw(errno.raw_os_error()))
    }
}

impl From<std::io::Error> for Kernel {
    /// An error that did not come from the kernel (bad UTF-8, an early end of file) counts as EINVAL.
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))
    }
}
