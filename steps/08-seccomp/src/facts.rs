//! What the conditional rules of a profile depend on.

use std::fmt;
use std::str::FromStr;

use caps::Capability;

use crate::architecture::Architecture;
use crate::error::{Error, Result};

/// A container's capabilities and the host's kernel, as far as a profile may ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's own architecture.
    pub architecture: Architecture,
    /// The capabilities in the container's bounding set, bit N for number N of `capabilities(7)`: what it may ever
    /// have, as Docker decides it too.
    pub capabilities: u64,
    /// The kernel's version.
    pub kernel: Version,
}

impl Facts {
    /// Those of this host, for a container with these capabilities.
    pub fn of_host(capabilities: u64) -> Result<Self> {
        let name = nix::sys::utsname::uname().map_err(|errno| Error::Release(errno.to_string()))?;
        let release = name.release().to_string_lossy();
        let kernel = Version::of_release(&release).ok_or_else(|| Error::Release(release.into_owned()))?;
        Ok(Self { architecture: Architecture::NATIVE, capabilities, kernel })
    }
}

/// The first two numbers of a kernel's version: the others never matter to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Takes them from what `uname -r` says, such as `6.12.4-amd64`.
    pub fn of_release(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads `4.8`, and nothing longer.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| format!("{text:?} is not a kernel version such as \"4.8\""))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The bits of these capabilities, such as `CAP_SYS_ADMIN`; fails with the first name that is none.
pub fn capabilities<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<u64, String> {
    names.into_iter().try_fold(0, |bits, name| {
        let capability =
            Capability::from_str(name).map_err(|_| format!("there is no capability {name:?}"))?;
        Ok(bits | capability.bitmask())
    })
}

/// The names of capabilities, in the order of their numbers.
pub fn capability_names(bits: u64) -> Vec<String> {
    let mut found: Vec<Capability> =
        caps::all().into_iter().filter(|capability| bits & capability.bitmask() != 0).collect();
    found.sort_by_key(Capability::index);
    found.iter().map(ToString::to_string).collect()
}
