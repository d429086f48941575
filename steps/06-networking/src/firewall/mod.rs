//! The rules that let containers out, let published ports in, and keep everything else apart.
//!
//! All rules are made with the first network. After that only elements of sets and maps come and go: to start a
//! container touches nothing, and to publish a port adds one element.

mod rules;

use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;

use crate::error::{Error, Result, kernel};
use crate::nftables::{Batch, Element, Family, Refused, Set, Socket, Value, remove_table};
use crate::ports::Protocol;
use crate::subnet::Subnet;
pub use rules::plan;
use rules::{AT_HOME, BRIDGES, INTERNAL, PUBLISHED, PUBLISHED_AT, SAME, SUBNETS};

/// What the firewall knows about a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRules {
    /// The name of its bridge.
    pub bridge: String,
    /// Its subnets, of IPv4, IPv6 or both.
    pub subnets: Vec<Subnet>,
    /// Whether nothing leads out of it.
    pub internal: bool,
}

/// A port of the host that leads to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address and port; the address 0.0.0.0 or `::` is all of them.
    pub host: SocketAddr,
    /// The container's address and port, of the same family.
    pub target: SocketAddr,
}

/// The firewall of one engine: a table of its own for each family of addresses, beside everybody else's.
#[derive(Clone, Debug)]
pub struct Firewall {
    table: String,
}

impl Firewall {
    /// The firewall whose tables have this name.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into() }
    }

    /// Makes the rules, or brings them up to date, and adds these networks. To do so again changes nothing.
    ///
    /// This comes before the bridge is made: [`crate::Bridge::ensure`] lets the host forward packets. If nothing was
    /// forwarded before, then what is neither from nor to a container is not forwarded after, either: a host does not
    /// become a router between its other networks because of a container (Docker does the same). Whether it forwards is
    /// looked up in this thread's network namespace.
    pub fn ensure(&self, socket: &Socket, networks: &[NetworkRules]) -> Result<()> {
        tracing::info!("nftables: the table {} for {} network(s)", self.table, networks.len());
        let mut batch = Batch::default();
        for family in [Family::Ip, Family::Ip6] {
            let mut of_family =
                networks.iter().filter(|network| network.subnets(family).next().is_some()).peekable();
            if of_family.peek().is_none() {
                continue;
            }
            let forwards = networks.iter().any(|network| !network.internal);
            let router = if forwards && !is_router(family)? { Some(false) } else { None };
            plan(family, &self.table, router).install(&mut batch);
            for network in of_family {
                for (set, element) in network.elements(family) {
                    set.add(&mut batch, family, &self.table, &element, false);
                }
            }
        }
        batch.commit(socket).map_err(Error::from)
    }

    /// Takes a network out; one that is not there is fine, and so is a firewall that is gone.
    pub fn remove_network(&self, socket: &Socket, network: &NetworkRules) -> Result<()> {
        tracing::info!("nftables: without the bridge {}", network.bridge);
        let mut batch = Batch::default();
        for family in [Family::Ip, Family::Ip6] {
            if network.subnets(family).next().is_none() {
                continue;
            }
            for (set, element) in network.elements(family) {
                // What is there or not is surely there after it was added.
                set.add(&mut batch, family, &self.table, &element, false);
                set.remove(&mut batch, family, &self.table, &element);
            }
        }
        unless_gone(batch.commit(socket))
    }

    /// Publishes ports: all of them, or on error none. [`Error::PortAllocated`] names one that leads elsewhere already.
    ///
    /// [`Error::NoFirewall`] says that somebody flushed the host's rules; [`Firewall::ensure`] with all networks makes
    /// them again, after which the ports of every running container must be published again, too.
    pub fn publish(&self, socket: &Socket, ports: &[Publication]) -> Result<()> {
        let mut batch = Batch::default();
        for port in ports {
            tracing::info!("nftables: publish {} as {}/{}", port.target, port.host, port.protocol);
            let (set, element) = port.element()?;
            set.add(&mut batch, port.family(), &self.table, &element, true);
        }
        batch.commit(socket).map_err(|refused| match refused.error.errno() {
            Errno::ENOENT => Error::NoFirewall { table: self.table.clone() },
            Errno::EEXIST => {
                let host = ports[refused.message].host;
                Error::PortAllocated { address: host.ip(), port: host.port() }
            }
            _ => refused.into(),
        })
    }

    /// Takes ports back. Those that are not published, or lead to another container by now, stay as they are.
    pub fn unpublish(&self, socket: &Socket, ports: &[Publication]) -> Result<()> {
        let taken_back = |ports: &[Publication]| {
            let mut batch = Batch::default();
            for port in ports {
                let (set, element) = port.element()?;
                // The kernel removes by key, whatever it leads to. To add it first fails if it leads elsewhere.
                set.add(&mut batch, port.family(), &self.table, &element, false);
                set.remove(&mut batch, port.family(), &self.table, &element);
            }
            unless_gone(batch.commit(socket))
        };
        for port in ports {
            tracing::info!("nftables: take {}/{} back", port.host, port.protocol);
        }
        match taken_back(ports) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                for port in ports {
                    match taken_back(std::slice::from_ref(port)) {
                        Err(error) if error.errno() == Some(Errno::EEXIST) => {}
                        other => other?,
                    }
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Removes everything.
    pub fn remove(&self, socket: &Socket) -> Result<()> {
        tracing::info!("nftables: remove the table {}", self.table);
        let mut batch = Batch::default();
        remove_table(&mut batch, Family::Ip, &self.table);
        remove_table(&mut batch, Family::Ip6, &self.table);
        batch.commit(socket).map_err(Error::from)
    }
}

/// Without a table there is nothing to take out of it.
fn unless_gone(committed: Result<(), Refused>) -> Result<()> {
    match committed {
        Err(refused) if refused.error.errno() == Errno::ENOENT => Ok(()),
        other => other.map_err(Error::from),
    }
}

/// Whether packets between the host's devices are forwarded.
fn is_router(family: Family) -> Result<bool> {
    let path = match family {
        Family::Ip => "/proc/sys/net/ipv4/ip_forward",
        Family::Ip6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    let text = std::fs::read_to_string(path).map_err(kernel("read", path))?;
    Ok(text.trim() != "0")
}

impl NetworkRules {
    fn subnets(&self, family: Family) -> impl Iterator<Item = Subnet> {
        self.subnets.iter().copied().filter(move |subnet| Family::of(subnet.network()) == family)
    }

    /// The elements that make the network known to the rules.
    fn elements(&self, family: Family) -> Vec<(Set, Element)> {
        let bridge = || Value::Device(self.bridge.clone());
        let element = |set: Set, key| (set, Element { key, data: Vec::new() });
        let mut elements = vec![element(BRIDGES, vec![bridge()]), element(SAME, vec![bridge(), bridge()])];
        if self.internal {
            elements.push(element(INTERNAL, vec![bridge()]));
            return elements;
        }
        for subnet in self.subnets(family) {
            elements.push(element(SUBNETS, vec![Value::Subnet(subnet)]));
            elements.push(element(AT_HOME, vec![Value::Subnet(subnet), bridge()]));
        }
        elements
    }
}

impl Publication {
    fn family(&self) -> Family {
        Family::of(self.host.ip())
    }

    fn element(&self) -> Result<(Set, Element)> {
        let Self { protocol, host, target } = *self;
        if host.is_ipv4() != target.is_ipv4() {
            return Err(Error::invalid(format!(
                "cannot publish {target} as {host}: IPv4 and IPv6 do not mix"
            )));
        }
        let data = vec![Value::Address(target.ip()), Value::Port(target.port())];
        let (protocol, port) = (Value::Protocol(protocol), Value::Port(host.port()));
        let everywhere = match host.ip() {
            IpAddr::V4(v4) => v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unspecified(),
        };
        Ok(if everywhere {
            (PUBLISHED, Element { key: vec![protocol, port], data })
        } else {
            (PUBLISHED_AT, Element { key: vec![protocol, Value::Address(host.ip()), port], data })
        })
    }
}
