//! What a container asks of a network, and what it has got there while it runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use networking::{Protocol, Publication};
use serde::{Deserialize, Serialize};

use super::network::text;
use crate::error::Result;
use crate::files::{self, Durability};
use crate::rootless::LetIn;

/// What a container asks of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Membership {
    /// Names beyond its own.
    pub aliases: Vec<String>,
    /// Addresses of the user's choice, of IPv4 or IPv6.
    pub addresses: Vec<IpAddr>,
    /// An Ethernet address of the user's choice.
    pub mac_address: Option<String>,
}

/// What a running container has got of networks: `network.json` in its fleeting directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connections {
    /// By the network's name.
    pub networks: BTreeMap<String, Connection>,
    /// Ports of the host that lead to it.
    pub ports: Vec<PublishedPort>,
}

/// What a running container has got of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Connection {
    /// The network.
    pub network_id: String,
    /// This connection: 64 hexadecimal digits, random.
    pub endpoint_id: String,
    /// Its network device: `eth0`.
    pub interface: String,
    /// The other end of that, on the host.
    pub host_end: String,
    /// Its Ethernet address.
    pub mac_address: String,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where its default routes lead, if they lead here.
    pub gateways: Vec<IpAddr>,
    /// The names that others know it by; none on the default network.
    pub names: Vec<String>,
}

/// A port of the host that leads to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishedPort {
    /// The protocol.
    #[serde(with = "text")]
    pub protocol: Protocol,
    /// The host's address, and port.
    pub host: SocketAddr,
    /// The container's.
    pub target: SocketAddr,
    /// How it was let in from the real host, for an ordinary user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_in: Option<LetIn>,
}

impl PublishedPort {
    /// The same, leading to the container's address in another network, if it has one of its kind there.
    pub fn moved_to(&self, connection: &Connection) -> Option<Self> {
        let is_v4 = self.target.is_ipv4();
        let (address, _) = connection.addresses.iter().find(|(address, _)| address.is_ipv4() == is_v4)?;
        Some(Self { target: SocketAddr::new(*address, self.target.port()), ..self.clone() })
    }

    /// Whether both are one port of the host's.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.protocol, self.host) == (other.protocol, other.host)
    }

    /// The same for the firewall.
    pub fn publication(&self) -> Publication {
        Publication { protocol: self.protocol, host: self.host, target: self.target }
    }
}

/// The file's name.
const FILE: &str = "network.json";

impl Connections {
    /// Those of a container, by its fleeting directory; none if it does not run.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(files::read_json(&directory.join(FILE))?.unwrap_or_default())
    }

    /// Records them.
    pub fn write(&self, directory: &Path) -> Result<()> {
        files::write_json(&directory.join(FILE), self, Durability::Fleeting)
    }

    /// Whether names are known in any of the networks.
    pub fn have_names(&self) -> bool {
        self.networks.values().any(|connection| !connection.names.is_empty())
    }
}
