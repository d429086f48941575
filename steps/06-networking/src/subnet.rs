//! Subnets: ranges of addresses, and which of them are free to use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::address::Address;
use crate::error::{Error, Result};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet that an address lies in. A prefix that is longer than the address counts as the whole address.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(
                v4 & Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)),
            ),
            IpAddr::V6(v6) => IpAddr::V6(
                (v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into(),
            ),
        };
        Self { network, prefix }
    }

    /// Its first address, which names it.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// How many leading bits its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(self) -> bool {
        self.network.is_ipv4()
    }

    /// Its last address: in IPv4, whoever sends there sends to everyone. `None` in IPv6, and where there is no room
    /// for one (RFC 3021).
    pub fn broadcast(self) -> Option<IpAddr> {
        match self.network {
            IpAddr::V4(_) if self.prefix < 31 => Some(self.last_address()),
            _ => None,
        }
    }

    /// Its last address, whatever it is used for.
    pub fn last_address(self) -> IpAddr {
        self.nth(self.last())
    }

    /// The address that Docker gives to the bridge: the first one for hosts.
    pub fn gateway(self) -> IpAddr {
        self.nth(self.hosts_from())
    }

    /// The addresses for hosts, in order. The gateway is the first of them.
    pub fn hosts(self) -> impl Iterator<Item = IpAddr> {
        let last = if self.broadcast().is_some() { self.last() - 1 } else { self.last() };
        (self.hosts_from()..=last).map(move |host| self.nth(host))
    }

    /// An address in it, with its prefix.
    pub fn address(self, ip: IpAddr) -> Address {
        Address { ip, prefix: self.prefix }
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && Self::around(address, self.prefix) == self
    }

    /// Whether the two have an address in common. One then contains the other.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// The number of its last address, counted from 0.
    fn last(self) -> u128 {
        (1_u128.checked_shl(u32::from(width(self.network) - self.prefix)).unwrap_or(0)).wrapping_sub(1)
    }

    /// The first number for a host: 0 names the subnet, except where there is no room for that.
    fn hosts_from(self) -> u128 {
        u128::from(self.last() > 1)
    }

    fn nth(self, number: u128) -> IpAddr {
        match self.network {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() + number as u32)),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + number).into()),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid(format!("invalid subnet {text}: invalid CIDR block notation"));
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= width(address)).ok_or_else(invalid)?;
        let subnet = Self::around(address, prefix);
        if subnet.network != address {
            return Err(Error::invalid(format!("invalid subnet {text}: it should be {subnet}")));
        }
        Ok(subnet)
    }
}

/// Docker's pools for networks without a subnet of their own (moby, `ipamutils`, the local scope): 172.17.0.0/16 to
/// 172.31.0.0/16, then the sixteen parts of 192.168.0.0/16.
pub fn pools() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=15).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
    large.chain(small).map(|(network, prefix)| Subnet { network: network.into(), prefix })
}

/// The first of Docker's pools that overlaps nothing in `used`: other networks, and what the host has routes to.
pub fn choose(used: &[Subnet]) -> Result<Subnet> {
    pools().find(|pool| !used.iter().any(|used| used.overlaps(*pool))).ok_or(Error::NoSubnetLeft)
}

/// An address out of the bytes of an attribute.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
