//! What can go wrong, each on one line.

use std::net::IpAddr;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a request.
    #[error(transparent)]
    Kernel(#[from] chroot::Error),
    /// What was asked for makes no sense on any host. The text is Docker's where Docker has one.
    #[error("{0}")]
    Invalid(String),
    /// Another container has this address.
    #[error("Address already in use: {0}")]
    AddressInUse(IpAddr),
    /// A wanted address does not belong to the network.
    #[error("no configured subnet contains IP address {0}")]
    NotInSubnet(IpAddr),
    /// Every address of a subnet is taken.
    #[error("no available IP addresses in the subnet {0} (remove a container from this network)")]
    NoAddressLeft(crate::subnet::Subnet),
    /// No predefined subnet is free.
    #[error("all predefined address pools have been fully subnetted (choose one with --subnet)")]
    NoSubnetLeft,
    /// A host port belongs to somebody else: to another container, or to a program of the host.
    #[error("Bind for {address}:{port} failed: port is already allocated")]
    PortAllocated {
        /// The host address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The table of firewall rules is not there: nobody made it yet, or somebody flushed the host's ruleset.
    #[error("the firewall table {table} is gone (`nft flush ruleset` does that); it must be made again")]
    NoFirewall {
        /// Its name.
        table: String,
    },
}

impl Error {
    /// For what makes no sense on any host.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// The errno, if the kernel refused something.
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Kernel(error) => Some(error.errno()),
            _ => None,
        }
    }
}

/// For `map_err` after a system call: `attempt` continues "cannot …".
pub(crate) fn kernel<E: Into<chroot::Kernel>>(
    attempt: &'static str,
    object: impl std::fmt::Display,
) -> impl FnOnce(E) -> Error {
    move |error| chroot::Error::new(attempt, object, error).into()
}
