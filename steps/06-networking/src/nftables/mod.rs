//! The kernel's packet filter, `nf_tables`, spoken to directly: what `nft` does, as far as it is needed here.
//!
//! A *table* belongs to whoever made it. It holds *chains* of *rules*, which the kernel runs at fixed places of a
//! packet's way (`hooks`), and *sets* and *maps*, which rules look things up in. A rule is a little program for a
//! machine with sixteen registers of four bytes: load, compare, look up, decide.
//!
//! There is no man page for the protocol. The constants are those of `include/uapi/linux/netfilter/nf_tables.h`; what
//! `nft --debug=netlink` prints for a rule is what [`expression`] has to send.

mod batch;
pub mod expression;
mod ruleset;
mod set;

pub use batch::Socket;
pub(crate) use batch::{Batch, Refused};
pub(crate) use ruleset::remove_table;
pub use ruleset::{Chain, Hook, Rule, Ruleset};
pub use set::{Element, Field, Set, Value};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// Its number, `NFPROTO_*`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ip => libc::NFPROTO_IPV4 as u8,
            Self::Ip6 => libc::NFPROTO_IPV6 as u8,
        }
    }

    /// Its name, as `nft` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }

    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::Ip } else { Self::Ip6 }
    }
}
