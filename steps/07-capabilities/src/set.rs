//! Capabilities by name and as bits.

use std::fmt;
use std::str::FromStr;

use caps::Capability;

use crate::error::{Error, Result};

/// A set of capabilities: bit N stands for the capability that the kernel numbers N (`linux/capability.h`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(u64);

impl Set {
    /// No capability: what an ordinary user has.
    pub const EMPTY: Self = Self(0);

    /// What Docker gives to every container: enough to install packages, change users and serve on port 80, and none
    /// that reaches beyond the container's own namespaces.
    pub const DEFAULT: &[Capability] = &[
        Capability::CAP_AUDIT_WRITE,
        Capability::CAP_CHOWN,
        Capability::CAP_DAC_OVERRIDE,
        Capability::CAP_FOWNER,
        Capability::CAP_FSETID,
        Capability::CAP_KILL,
        Capability::CAP_MKNOD,
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_NET_RAW,
        Capability::CAP_SETFCAP,
        Capability::CAP_SETGID,
        Capability::CAP_SETPCAP,
        Capability::CAP_SETUID,
        Capability::CAP_SYS_CHROOT,
    ];

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// All capabilities that have a name.
    pub fn named() -> Self {
        caps::all().into_iter().collect()
    }

    /// The capability called `name`, as a set of one: `CAP_CHOWN`, `chown`. Case does not matter.
    ///
    /// # Errors
    /// [`Error::Unknown`], with the name in full.
    pub fn of(name: &str) -> Result<Self> {
        let upper = name.to_uppercase();
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let capability = Capability::from_str(&full).map_err(|_| Error::Unknown(full))?;
        Ok([capability].into_iter().collect())
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names, in the kernel's order. A capability newer than this program is a number.
    pub fn names(self) -> Vec<String> {
        let known: Vec<Capability> = caps::all().into_iter().collect();
        let name = |number: u8| {
            let capability = known.iter().find(|capability| capability.index() == number);
            capability.map_or_else(|| format!("{number}"), ToString::to_string)
        };
        (0..64).filter(|&number| self.0 & (1 << number) != 0).map(name).collect()
    }
}

impl FromIterator<Capability> for Set {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, capability| bits | capability.bitmask()))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("none") } else { f.write_str(&self.names().join(", ")) }
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Set({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table: String =
            ["CAP_CHOWN", "chown", "Cap_Net_Raw", "checkpoint_restore", "ALL", "CAP_", "", "CHOWN "]
                .into_iter()
                .map(|name| match Set::of(name) {
                    Ok(set) => format!("{name:>20} {:#x} {set}\n", set.bits()),
                    Err(error) => format!("{name:>20} {error}\n"),
                })
                .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_default_is_dockers() {
        let default: Set = Set::DEFAULT.iter().copied().collect();
        // The value that Docker's documentation and many transcripts show.
        assert_eq!(format!("{:016x}", default.bits()), "00000000a80425fb");
    }
}
