//! A network for one container: a bridge, a cable, addresses, and rules for packets.
//!
//! A [`Socket`] is one of the host's or one of the container's namespace, and what is asked of it happens there.
//! `netlink.rs` has what it can be asked for, each with the command of ip(8) that does the same.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;

use nix::unistd::Pid;

use crate::netlink::Socket;

/// The bridge, and the host's end of the cable.
const BRIDGE: &str = "box0";
const CABLE: &str = "vbox0";
/// The bridge's address, the container's, and how many bits they share.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const PREFIX: u8 = 24;

/// Makes the bridge on the host, with its address, and switches it on.
pub fn make_bridge(_host: &Socket) -> Result<()> {
    // Yours: three requests. "Unsupported" stands for "not written yet".
    Err(Error::from(ErrorKind::Unsupported))
}

/// Makes a cable from the bridge to the namespace of `container`, where its end is called `eth0`.
pub fn plug_in(_host: &Socket, _container: Pid) -> Result<()> {
    // Yours: a veth pair, of which this end is plugged into the bridge and on.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Inside: switches `lo` and `eth0` on, gives `eth0` its address, and sends all else to the bridge.
pub fn furnish(_inside: &Socket) -> Result<()> {
    // Yours: four requests. A route leads through a device that is on and has an address.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Lets the host pass packets on, and those of the container leave with the host's address.
pub fn lead_out() -> Result<()> {
    // Yours: /proc/sys/net/ipv4/ip_forward, and crate::nft::run of a table `ip box` with a chain of type nat at the hook
    // postrouting, of priority 100, whose rule ends with `masquerade`.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Lets the host's port `from` lead to the container's port `to`.
pub fn publish(_from: u16, _to: u16) -> Result<()> {
    // Yours: in the same table, chains of type nat at the hooks prerouting and output, both of priority -100, whose rules
    // end with `dnat to ADDRESS:PORT`.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Removes the rules, the cable and the bridge. The cable would go with the container's namespace as well, which the kernel
/// takes apart when it comes to it: until then its name is taken.
pub fn remove(_host: &Socket) -> Result<()> {
    // Yours: what was made, in its own table and under its own names, and nothing else.
    Err(Error::from(ErrorKind::Unsupported))
}
