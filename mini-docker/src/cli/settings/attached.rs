//! Which of a container's streams a command is attached to.

use std::str::FromStr;

use mini_docker::Error;

/// A stream that `--attach` names, in small letters or large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl FromStr for Stream {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "stdin" => Ok(Self::Stdin),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err(Error::new("valid streams are STDIN, STDOUT and STDERR")),
        }
    }
}

/// The streams that are attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) struct Attached {
    pub(in crate::cli) stdin: bool,
    pub(in crate::cli) stdout: bool,
    pub(in crate::cli) stderr: bool,
}

impl Attached {
    /// Those that are `chosen`; without a choice, both outputs. The input is too, if it is kept open (`interactive`).
    pub(super) fn to(chosen: &[Stream], interactive: bool) -> Self {
        let has = |stream| chosen.contains(&stream);
        Self {
            stdin: interactive || has(Stream::Stdin),
            stdout: chosen.is_empty() || has(Stream::Stdout),
            stderr: chosen.is_empty() || has(Stream::Stderr),
        }
    }
}
