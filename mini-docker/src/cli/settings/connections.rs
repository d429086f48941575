//! The networks the container is in, its ports, and the names it knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use mini_docker::container::Config;
use mini_docker::host_config::HostConfig;
use mini_docker::networks::membership::Membership;
use mini_docker::networks::ports;
use mini_docker::{Error, Result};
use networking::Mac;
use networking::names::ExtraHost;

/// Networks, ports and names.
#[derive(Args)]
pub(crate) struct Connections {
    /// Publish a port on the host
    #[arg(short, long, value_name = "[[ADDRESS:]PORT:]PORT[/PROTOCOL]")]
    publish: Vec<String>,
    /// Publish every port that the image exposes
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Say that the container listens on a port
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<String>,
    /// A network to be in: "bridge", one of yours, "none", "host", or that of "container:NAME|ID"
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(super) network: Vec<String>,
    /// Another name in the network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// An IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// An IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// An Ethernet address
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<Mac>,
    /// A name server, in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// A domain to look short names up in
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// An option of name resolution
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// A line for /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
}

impl Connections {
    /// Adds them to `config` and `host`; what is asked of each network.
    pub(super) fn set(
        self,
        config: &mut Config,
        host: &mut HostConfig,
    ) -> Result<BTreeMap<String, Membership>> {
        self.add_host.iter().try_for_each(|text| ExtraHost::parse(text).map(drop))?;
        host.port_bindings = ports::bindings(&self.publish)?;
        host.publish_all_ports = self.publish_all;
        host.dns = self.dns;
        host.dns_search = self.dns_search;
        host.dns_options = self.dns_option;
        host.extra_hosts = self.add_host;
        config.exposed_ports = ports::exposed(&self.expose)?;
        config.exposed_ports.extend(host.port_bindings.keys().cloned());

        let mut networks = self.network.into_iter();
        host.network_mode = networks.next().unwrap_or_default();
        let first = Membership {
            aliases: self.network_alias,
            addresses: self.ip.map(IpAddr::from).into_iter().chain(self.ip6.map(IpAddr::from)).collect(),
            mac_address: self.mac_address.map(|mac| mac.to_string()),
        };
        let mut memberships = BTreeMap::new();
        for name in networks {
            if name == host.network_mode || memberships.insert(name.clone(), Membership::default()).is_some()
            {
                return Err(Error::new(format!("network \"{name}\" is specified multiple times")));
            }
        }
        if first != Membership::default() {
            let name = if host.network_mode.is_empty() { "bridge" } else { &host.network_mode };
            memberships.insert(name.to_owned(), first);
        }
        Ok(memberships)
    }
}
