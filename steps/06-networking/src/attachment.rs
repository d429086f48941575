//! A container's plug: a veth pair from its namespace to a bridge, with addresses and a way out.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::address::{self, Address};
use crate::error::Result;
use crate::link::{self, End};
use crate::mac::Mac;
use crate::netlink::{Request, Socket};
use crate::route;

/// How a container is connected to one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the veth pair's end on the host: unique there, at most 15 bytes.
    pub host_end: String,
    /// The name of the end in the container: `eth0`, `eth1`, …
    pub interface: String,
    /// The bridge that the host's end is plugged into.
    pub bridge: String,
    /// The Ethernet address of the container's end.
    pub mac: Mac,
    /// Whether other isolated containers on the bridge are out of reach.
    pub isolated: bool,
    /// The largest packet in bytes, of both ends; `None` leaves the kernel's 1500.
    pub mtu: Option<u32>,
    /// The container's addresses in this network: IPv4, IPv6 or both.
    pub addresses: Vec<Address>,
    /// Where its default routes lead; empty if another attachment has them, or if nothing leads out.
    pub gateways: Vec<IpAddr>,
}

impl Attachment {
    /// Connects the container: makes the veth pair from the host's side, then switches all on inside.
    ///
    /// `host` is a socket of the bridge's namespace, `container` one of the container's, and `netns` that namespace
    /// itself (not a pidfd: [`crate::netns::of`] turns one into the other). After an error nothing is left of it.
    pub fn apply(&self, host: &Socket, container: &Socket, netns: BorrowedFd<'_>) -> Result<()> {
        tracing::info!("{self}");
        let missing = |attempt, device: &str| chroot::Error::new(attempt, device, Errno::ENODEV);
        let bridge = link::find(host, &self.bridge)?.ok_or_else(|| {
            missing("plug into the bridge", &self.bridge).hint("the network must be made first")
        })?;
        let here = End { name: &self.host_end, mtu: self.mtu };
        let there = End { name: &self.interface, mtu: self.mtu };
        host.request(&[
            link::veth(&here, bridge.index, &there, self.mac, netns),
            link::port(&self.host_end, self.isolated),
        ])?;
        self.furnish(container).inspect_err(|_| {
            if let Err(error) = self.detach(host) {
                tracing::warn!("{error}");
            }
        })
    }

    /// Switches on what is inside: loopback, and the new device with its addresses and routes.
    fn furnish(&self, container: &Socket) -> Result<()> {
        // The kernel chose a number for the new device.
        let index = link::find(container, &self.interface)?
            .ok_or_else(|| missing("find the network device", &self.interface))?
            .index;
        let name = self.interface.as_str();
        let mut requests = vec![link::up(link::LOOPBACK, "lo")];
        if self.addresses.iter().all(|address| address.ip.is_ipv4()) {
            requests.push(link::no_ipv6_of_its_own(index, name));
        }
        requests.extend(self.addresses.iter().map(|address| address::add(index, name, *address)));
        requests.push(link::up(index, name));
        requests.extend(default_routes(index, &self.gateways));
        container.request(&requests)
    }

    /// Pulls the plug. The container's end goes with the host's; to detach one that is gone is fine.
    ///
    /// This is for a container that goes on without it. It takes the kernel 10 to 40 milliseconds, since it waits until
    /// nobody uses the devices any more; those of a namespace that ends go in the background, and nobody has to wait.
    pub fn detach(&self, host: &Socket) -> Result<()> {
        link::delete(host, &self.host_end)
    }
}

/// Gives a container's device the default routes, which another one had that is gone.
///
/// `container` is a socket of the container's namespace.
pub fn lead_out(container: &Socket, interface: &str, gateways: &[IpAddr]) -> Result<()> {
    let device =
        link::find(container, interface)?.ok_or_else(|| missing("find the network device", interface))?;
    container.request(&default_routes(device.index, gateways).collect::<Vec<_>>())
}

fn default_routes(index: u32, gateways: &[IpAddr]) -> impl Iterator<Item = Request> {
    gateways.iter().map(move |gateway| route::default(index, *gateway))
}

fn missing(attempt: &'static str, device: &str) -> chroot::Error {
    chroot::Error::new(attempt, device, Errno::ENODEV)
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host_end, interface, bridge, mac, .. } = self;
        write!(f, "veth pair: {host_end} on the bridge {bridge}, {interface} in the container with {mac}")?;
        for address in &self.addresses {
            write!(f, ", {address}")?;
        }
        for gateway in &self.gateways {
            write!(f, ", default route via {gateway}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, ", mtu {mtu}")?;
        }
        f.write_str(if self.isolated { ", isolated" } else { "" })
    }
}
