//! Addresses of network devices.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::Emitable;
use netlink_packet_route::RouteNetlinkMessage as Rt;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, address};
use nix::errno::Errno;

use crate::channel::attributes;
use crate::error::Result;
use crate::netlink::{Request, Socket};
use crate::subnet::{Subnet, address_of};

/// Attributes of an answer (`include/uapi/linux/if_addr.h`).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// An address, and how many of its leading bits it shares with its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// The length of the network's prefix in bits.
    pub prefix: u8,
}

impl Address {
    /// The network that it lies in.
    pub fn subnet(self) -> Subnet {
        Subnet::around(self.ip, self.prefix)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// The addresses of all devices, each with the device's number.
pub fn list(socket: &Socket) -> Result<Vec<(u32, Address)>> {
    socket.list("addresses", &Rt::GetAddress(AddressMessage::default()), |message| {
        let header = AddressHeader::parse(message).ok()?;
        let mut found = None;
        for (kind, value) in attributes(message.get(header.buffer_len()..)?) {
            match kind {
                // On a point-to-point link, IFA_ADDRESS is the other side's; IFA_LOCAL is always one's own.
                IFA_LOCAL => found = address_of(value),
                IFA_ADDRESS => found = found.or_else(|| address_of(value)),
                _ => {}
            }
        }
        Some((header.index, Address { ip: found?, prefix: header.prefix_len }))
    })
}

/// Gives a device an address, with which comes the route to its network. One that it has already is fine.
pub(crate) fn add(index: u32, device: &str, address: Address) -> Request {
    let mut message = AddressMessage::default();
    let family = if address.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // An IPv6 address is not used until a second has passed without a neighbour who has it, too (RFC 4862, duplicate
    // address detection). Our leases are unique, and a container's program does not wait.
    let flags = if address.ip.is_ipv4() { AddressHeaderFlags::empty() } else { AddressHeaderFlags::Nodad };
    message.header = address::AddressHeader {
        family,
        prefix_len: address.prefix,
        flags,
        scope: AddressScope::Universe,
        index,
    };
    message.attributes = vec![AddressAttribute::Local(address.ip), AddressAttribute::Address(address.ip)];
    if let Some(IpAddr::V4(broadcast)) = address.subnet().broadcast() {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    Request::new("add the address", format!("{address} to {device}"), Rt::NewAddress(message))
        .create()
        .accept(Errno::EEXIST)
}
