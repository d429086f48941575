//! A network on this host: a bridge with an address, to which containers are attached.

use std::fmt;
use std::path::Path;

use nix::errno::Errno;

use crate::address::{self, Address};
use crate::error::{Result, kernel};
use crate::link::{self, Link};
use crate::mac::Mac;
use crate::netlink::Socket;

/// A bridge and how it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name: at most 15 bytes.
    pub name: String,
    /// Its own addresses, which are its containers' gateways: IPv4, IPv6 or both.
    pub addresses: Vec<Address>,
    /// Whether its containers talk to each other and the host only.
    pub internal: bool,
    /// The largest packet in bytes; `None` leaves the kernel's 1500.
    pub mtu: Option<u32>,
}

impl Bridge {
    /// Makes the bridge if it is not there, and returns it. Several processes may do so at once.
    ///
    /// It is switched on last: one that is on is complete, and looking that up is all there is to do. So its firewall
    /// rules, if it gets any, must be there before.
    pub fn ensure(&self, host: &Socket) -> Result<Link> {
        if let Some(link) = link::find(host, &self.name)?
            && link.up
        {
            return Ok(link);
        }
        tracing::info!("{self}");
        let mac = self.addresses.first().map_or(Mac([0x02, 0x42, 0, 0, 0, 1]), |address| Mac::of(address.ip));
        host.request(&[link::bridge(&self.name, mac, self.mtu).accept(Errno::EEXIST)])?;
        let link = link::find(host, &self.name)?
            .ok_or_else(|| chroot::Error::new("find the bridge", &self.name, Errno::ENODEV))?;
        for (path, value) in self.switches() {
            set(&path, value)?;
        }
        let mut requests: Vec<_> =
            self.addresses.iter().map(|address| address::add(link.index, &self.name, *address)).collect();
        requests.push(link::up(link.index, &self.name));
        host.request(&requests)?;
        Ok(Link { up: true, ..link })
    }

    /// Removes the bridge; one that is gone is fine. Its containers keep their ends of the cables, which lead nowhere.
    pub fn remove(&self, host: &Socket) -> Result<()> {
        link::delete(host, &self.name)
    }

    /// The kernel's switches (`Documentation/networking/ip-sysctl.rst`) that this bridge needs, and their values. They
    /// are of the calling thread's network namespace.
    pub fn switches(&self) -> Vec<(String, &'static str)> {
        let name = &self.name;
        let (v4, v6) = (
            self.addresses.iter().any(|address| address.ip.is_ipv4()),
            self.addresses.iter().any(|address| address.ip.is_ipv6()),
        );
        let mut switches = vec![
            // A container has no say in the host's addresses and routes.
            (format!("net/ipv6/conf/{name}/accept_ra"), "0"),
        ];
        if v4 {
            // Packets from 127.0.0.1 may leave here: the host reaches published ports at its own loopback address. The
            // firewall sees to it that nobody on the bridge can send to that address.
            switches.push((format!("net/ipv4/conf/{name}/route_localnet"), "1"));
        }
        if v4 && !self.internal {
            switches.push(("net/ipv4/ip_forward".to_owned(), "1"));
        }
        if v6 && !self.internal {
            switches.push(("net/ipv6/conf/all/forwarding".to_owned(), "1"));
        }
        if !v6 {
            switches.push((format!("net/ipv6/conf/{name}/disable_ipv6"), "1"));
        }
        switches
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bridge {}", self.name)?;
        for address in &self.addresses {
            write!(f, " {address}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        f.write_str(if self.internal { ", internal" } else { "" })
    }
}

/// Writes a switch that does not have its value yet: a write may cost the kernel a walk over all devices. A kernel
/// without IPv6 has no switches for it.
fn set(switch: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(switch);
    match std::fs::read_to_string(&path) {
        Ok(current) if current.trim() == value => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && switch.starts_with("net/ipv6/") => {
            return Ok(());
        }
        _ => tracing::info!("sysctl {switch} = {value}"),
    }
    std::fs::write(&path, value).map_err(kernel("write", path.display()))
}
