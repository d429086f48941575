//! Networks: what they are called, which addresses they have, and who is in them.
//!
//! ```text
//! DATA/networks/NAME.json        a network
//!               lock             held by whoever adds or removes one, or changes who belongs to it
//! EXEC/networks/ID/leases/IP     a link to the ID of the container that has the address
//!                  endpoints/ID  a container's names and addresses, for the name server
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`network`] | a network's record |
//! | [`membership`] | what a container asks of a network, and what it has got |
//! | [`ports`] | published ports as they are stored |
//! | [`wiring`] | a container's connections, from the claim of an address to its return |

pub mod membership;
pub mod network;
pub mod ports;
pub mod wiring;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use networking::{Endpoints, Firewall, Leases, Socket, Subnet, address, link, nftables, route, subnet};

use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};
use crate::rootless::Ports;
use crate::{logs, names};
pub use network::{Ipam, Network, Pool};

/// The networks that are always there.
pub const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];
/// The default network's bridge, for the engine in its usual folders: the name that people see.
const DEFAULT_BRIDGE: &str = "mini-docker0";
/// The usual folder for what is fleeting.
const USUAL_EXEC: &str = "/run/mini-docker";

/// What a new network is to be like.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// Subnets; without one of IPv4, a free one is taken.
    pub subnets: Vec<Subnet>,
    /// The host's address in each of them; without one, the first.
    pub gateways: Vec<IpAddr>,
    /// Whether nothing leads out of it.
    pub internal: bool,
    /// Whether its containers have IPv6 addresses too.
    pub ipv6: bool,
    /// Settings of its bridge.
    pub options: BTreeMap<String, String>,
    /// Free text by key.
    pub labels: BTreeMap<String, String>,
}

/// The networks of one engine.
#[derive(Debug, Clone)]
pub struct Networks {
    data: PathBuf,
    exec: PathBuf,
    /// The table of firewall rules, and the default network's bridge: one for each engine on a host.
    table: String,
    default_bridge: String,
    /// What lets ports of the real host in, if this host is an ordinary user's network.
    outside: Option<Ports>,
}

impl Networks {
    /// The networks in `data`, with what is fleeting about them in `exec`. What is missing is made when it is needed.
    ///
    /// For an ordinary user, `outside` lets ports of the real host in.
    pub fn open(data: &Path, exec: &Path, outside: Option<Ports>) -> Self {
        // Another engine on this host must have a bridge and a table of its own.
        let (table, default_bridge) = if exec == Path::new(USUAL_EXEC) {
            ("mini-docker".to_owned(), DEFAULT_BRIDGE.to_owned())
        } else {
            let mark = format!("{:08x}", fnv(exec.as_os_str().as_encoded_bytes()));
            (format!("mini-docker-{mark}"), format!("md-{mark}"))
        };
        Self { data: data.join("networks"), exec: exec.join("networks"), table, default_bridge, outside }
    }

    /// Holds off everybody else who would change networks, or who belongs to them.
    pub fn lock(&self) -> Result<Lock> {
        files::make_dir(&self.data, true)?;
        let lock = Lock::create(&self.data.join("lock"))?;
        // A record that is being written now is a killed command's.
        let failed = |error| Error::file("read", &self.data, error);
        for entry in fs::read_dir(&self.data).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                files::remove(&path)?;
            }
        }
        Ok(lock)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}.json"))
    }

    /// The network called `name`, if there is one. Those that are always there are made when they are first asked for.
    pub fn named(&self, name: &str) -> Result<Option<Network>> {
        if !is_valid(name) {
            return Ok(None);
        }
        match files::read_json(&self.path(name))? {
            None if PREDEFINED.contains(&name) => {
                let _lock = self.lock()?;
                self.make_predefined()?;
                files::read_json(&self.path(name))
            }
            found => Ok(found),
        }
    }

    /// The network that `text` means: its name, its ID, or the beginning of its ID if no other's begins so.
    pub fn find(&self, text: &str) -> Result<Network> {
        let missing = || Error::missing(format!("network {text} not found"));
        if text.is_empty() {
            return Err(missing());
        }
        if let Some(network) = self.named(text)? {
            return Ok(network);
        }
        let mut matches = self.list()?;
        matches.retain(|network| network.id.starts_with(text));
        match matches.len() {
            0 => Err(missing()),
            1 => Ok(matches.remove(0)),
            _ => Err(Error::new(format!(
                "network {text} is ambiguous ({} matches found on ID prefix)",
                matches.len()
            ))),
        }
    }

    /// All networks, sorted by name.
    pub fn list(&self) -> Result<Vec<Network>> {
        if PREDEFINED.iter().any(|name| !self.path(name).exists()) {
            let _lock = self.lock()?;
            self.make_predefined()?;
        }
        self.recorded()
    }

    fn recorded(&self) -> Result<Vec<Network>> {
        let failed = |error| Error::file("read", &self.data, error);
        let mut networks = Vec::new();
        for entry in fs::read_dir(&self.data).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                networks.extend(files::read_json::<Network>(&path)?);
            }
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// Makes the records of the networks that are always there. Under the lock.
    fn make_predefined(&self) -> Result<()> {
        for name in PREDEFINED.into_iter().filter(|name| !self.path(name).exists()) {
            let request = Request { name: name.to_owned(), ..Request::default() };
            let network = match name {
                "bridge" => self.with_bridge(request, self.default_bridge.clone())?,
                "host" => record(request, "host")?,
                _ => record(request, "null")?,
            };
            self.write(&network)?;
        }
        Ok(())
    }

    /// Creates a network. Its bridge is made when its first container starts.
    pub fn create(&self, request: Request) -> Result<Network> {
        let name = &request.name;
        if !is_valid(name) || name == "default" {
            return Err(Error::new(format!(
                "invalid network name \"{name}\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        let _lock = self.lock()?;
        self.make_predefined()?;
        if self.path(name).exists() {
            return Err(Error::new(format!("network with name {name} already exists")));
        }
        let mut network = self.with_bridge(request, String::new())?;
        let own = format!("br-{}", network.short_id());
        let bridge = network.options.entry(network::BRIDGE_NAME.to_owned()).or_default();
        if bridge.is_empty() {
            *bridge = own;
        }
        if bridge.len() > 15 || bridge.contains(['/', ' ']) {
            return Err(Error::new(format!(
                "invalid bridge name: {bridge}: it has more than 15 bytes, or odd ones"
            )));
        }
        // To remove a network is to remove its bridge, so that must be nobody else's.
        let is_theirs = self.recorded()?.iter().any(|other| other.bridge().name == *bridge);
        if is_theirs || link::find(&Socket::open()?, bridge)?.is_some() {
            return Err(Error::new(format!("bridge name {bridge} is in use already")));
        }
        self.write(&network)?;
        Ok(network)
    }

    fn write(&self, network: &Network) -> Result<()> {
        files::write_json(&self.path(&network.name), network, Durability::Durable)
    }

    /// A record of a network with a bridge, its addresses chosen.
    fn with_bridge(&self, request: Request, bridge: String) -> Result<Network> {
        let used = self.used()?;
        if let Some(wanted) =
            request.subnets.iter().find(|wanted| used.iter().any(|used| used.overlaps(**wanted)))
        {
            return Err(Error::new(format!("Pool overlaps with other one on this address space: {wanted}")));
        }
        if request
            .gateways
            .iter()
            .any(|gateway| !request.subnets.iter().any(|subnet| subnet.contains(*gateway)))
        {
            return Err(Error::new("no matching subnet for gateway: give a --subnet that contains it"));
        }
        let pool = |subnet: Subnet, chosen| {
            let gateway = request.gateways.iter().copied().find(|gateway| subnet.contains(*gateway));
            Pool { subnet, gateway: gateway.unwrap_or_else(|| subnet.gateway()), chosen }
        };
        let mut config: Vec<Pool> = request.subnets.iter().map(|&subnet| pool(subnet, true)).collect();
        if config.iter().all(|pool| !pool.subnet.is_ipv4()) {
            config.insert(0, pool(subnet::choose(&used)?, false));
        }
        let has_ipv6 = config.iter().any(|pool| !pool.subnet.is_ipv4());
        if request.ipv6 && !has_ipv6 {
            config.push(pool(local_ipv6()?, false));
        }
        if config.len() > 2 {
            return Err(Error::new("a network has one subnet of IPv4, and one of IPv6"));
        }
        let ipv6 = request.ipv6 || has_ipv6;
        let mut network = Network { enable_ipv6: ipv6, ..record(request, "bridge")? };
        network.ipam.config = config;
        if !bridge.is_empty() {
            network.options.insert(network::BRIDGE_NAME.to_owned(), bridge);
        }
        Ok(network)
    }

    /// The subnets that a new network must not overlap: those of other networks, and what the host has routes to.
    fn used(&self) -> Result<Vec<Subnet>> {
        let host = Socket::open()?;
        let mut used = route::list(&host)?;
        used.extend(address::list(&host)?.into_iter().map(|(_, address)| address.subnet()));
        // A default route over a tunnel, or the whole of loopback, is no reason against any.
        used.retain(|subnet| subnet.prefix() > 0);
        used.extend(self.recorded()?.iter().flat_map(|network| network.rules().subnets));
        Ok(used)
    }

    /// Removes a network in which no container is, with its bridge and its rules.
    pub fn remove(&self, network: &Network) -> Result<()> {
        if network.is_predefined() {
            return Err(Error::new(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        let _lock = self.lock()?;
        let host = Socket::open()?;
        let bridge = network.bridge();
        if link::find(&host, &bridge.name)?.is_some() {
            bridge.remove(&host)?;
            Firewall::new(&self.table).remove_network(&nftables::Socket::open()?, &network.rules())?;
        }
        files::remove(&self.path(&network.name))?;
        files::remove(&self.exec.join(&network.id))
    }

    /// The addresses that are taken in a network.
    pub fn leases(&self, network_id: &str) -> Leases {
        Leases::new(self.exec.join(network_id))
    }

    /// The names that are known in a network.
    pub fn endpoints(&self, network_id: &str) -> Endpoints {
        Endpoints::new(self.exec.join(network_id))
    }

    /// The rules of this engine's networks.
    pub fn firewall(&self) -> Firewall {
        Firewall::new(&self.table)
    }

    /// Makes a network's bridge and rules, if they are not there. The socket that this took, if it was needed, is best
    /// closed late: closing it takes the kernel longer than the start of a container.
    pub fn ensure(&self, host: &Socket, network: &Network) -> Result<Option<nftables::Socket>> {
        let bridge = network.bridge();
        if link::find(host, &bridge.name)?.is_some_and(|link| link.up) {
            return Ok(None);
        }
        let _lock = self.lock()?;
        if !self.path(&network.name).exists() {
            return Err(Error::missing(format!("network {} not found", network.name)));
        }
        // The bridge is switched on last: one that is on has its rules.
        let rules = nftables::Socket::open()?;
        self.firewall().ensure(&rules, &[network.rules()])?;
        bridge.ensure(host)?;
        Ok(Some(rules))
    }
}

/// Whether `name` may be a network's: a container's rule, and one letter is enough.
fn is_valid(name: &str) -> bool {
    names::is_valid(name) || (name.len() == 1 && name.chars().all(|letter| letter.is_ascii_alphanumeric()))
}

/// A record without addresses.
fn record(request: Request, driver: &str) -> Result<Network> {
    Ok(Network {
        name: request.name,
        id: names::random_id()?,
        created: logs::now(),
        scope: "local".to_owned(),
        driver: driver.to_owned(),
        enable_ipv6: false,
        ipam: Ipam { driver: "default".to_owned(), config: Vec::new() },
        internal: request.internal,
        options: request.options,
        labels: request.labels,
    })
}

/// A subnet of IPv6 for this host alone: a random one of the unique local addresses (RFC 4193).
fn local_ipv6() -> Result<Subnet> {
    let id = names::random_id()?;
    let address = format!("fd{}:{}:{}::", &id[..2], &id[2..6], &id[6..10]);
    let address: IpAddr = address.parse().map_err(|_| Error::new(format!("invalid address {address}")))?;
    Ok(Subnet::around(address, 64))
}

/// A number for a text, the same every time (FNV-1a, 32 bits).
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
