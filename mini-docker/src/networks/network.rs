//! A network as the engine remembers it, in the shape of `docker network inspect`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use networking::{Bridge, NetworkRules, Subnet};
use serde::{Deserialize, Serialize};

/// The option that holds the name of a network's bridge.
pub const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The option that keeps the containers of a network from each other.
const ICC: &str = "com.docker.network.bridge.enable_icc";
/// The option for the largest packet, in bytes.
const MTU: &str = "com.docker.network.driver.mtu";

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Its name, unique among networks.
    pub name: String,
    /// 64 hexadecimal digits, random.
    pub id: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// `local`: it is this host's.
    pub scope: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Whether its containers have IPv6 addresses too.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Whether nothing leads out of it.
    pub internal: bool,
    /// Settings of its bridge.
    pub options: BTreeMap<String, String>,
    /// Free text by key.
    pub labels: BTreeMap<String, String>,
}

/// The addresses of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`: from leases on the disk.
    pub driver: String,
    /// A subnet of IPv4, and perhaps one of IPv6.
    pub config: Vec<Pool>,
}

/// A subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pool {
    /// All its addresses.
    #[serde(with = "text")]
    pub subnet: Subnet,
    /// The host's.
    #[serde(with = "text")]
    pub gateway: IpAddr,
    /// Whether the user chose it. Only then can a container have an address of the user's choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

impl Network {
    /// Whether it is there without having been created: nobody can remove it, and there are no names in it.
    pub fn is_predefined(&self) -> bool {
        super::PREDEFINED.contains(&self.name.as_str())
    }

    /// The first twelve digits of its ID.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// Its bridge. What was not made by us has none, and no name for one.
    pub fn bridge(&self) -> Bridge {
        Bridge {
            name: self.options.get(BRIDGE_NAME).cloned().unwrap_or_default(),
            addresses: self.ipam.config.iter().map(|pool| pool.subnet.address(pool.gateway)).collect(),
            internal: self.internal,
            mtu: self.mtu(),
        }
    }

    /// What the firewall must know of it.
    pub fn rules(&self) -> NetworkRules {
        NetworkRules {
            bridge: self.bridge().name,
            subnets: self.ipam.config.iter().map(|pool| pool.subnet).collect(),
            internal: self.internal,
        }
    }

    /// The gateways that lead out of it; none of an internal network's do.
    pub fn ways_out(&self) -> Vec<IpAddr> {
        self.ipam.config.iter().filter(|_| !self.internal).map(|pool| pool.gateway).collect()
    }

    /// Whether its containers are kept from each other.
    pub fn isolates(&self) -> bool {
        self.options.get(ICC).is_some_and(|value| value == "false")
    }

    /// The largest packet, in bytes, if not the kernel's choice.
    pub fn mtu(&self) -> Option<u32> {
        self.options.get(MTU).and_then(|value| value.parse().ok()).filter(|&mtu| mtu > 0)
    }
}

/// Values that are stored as the text that people write.
pub mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the text.
    pub fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads it.
    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr,
        T::Err: Display,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
