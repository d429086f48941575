//! `network`: make, list, show and remove networks, and say which containers are in them.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use mini_docker::networks::membership::Membership;
use mini_docker::networks::{self, Network};
use mini_docker::{Engine, Error, Result};
use networking::Subnet;
use serde_json::{Value, json};

use super::output::{self, Columns};
use super::prune::Conditions;
use super::{confirmation, inspect, options};

/// What `network` takes.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a network
    Create(Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Display detailed information on one or more networks
    Inspect(inspect::Options),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove all networks that no container uses
    Prune(Prune),
    /// Connect a container to a network
    Connect(Connect),
    /// Disconnect a container from a network
    Disconnect(Disconnect),
}

impl Command {
    /// Does it; the exit code.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, false);
        match self {
            Self::Create(options) => options.run(engine),
            Self::Ls(options) => options.run(engine),
            Self::Inspect(options) => options.run(engine, Some(inspect::Kind::Network)),
            Self::Rm(options) => Ok(options.run(engine)),
            Self::Prune(options) => options.run(engine),
            Self::Connect(options) => options.run(engine),
            Self::Disconnect(options) => options.run(engine),
        }
    }
}

/// What `network create` takes.
#[derive(Args)]
pub(crate) struct Create {
    /// The kind of network: bridge is the one that can be made
    #[arg(short, long, default_value = "bridge")]
    driver: String,
    /// Its addresses, such as 172.28.0.0/16
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<Subnet>,
    /// The host's address in it
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// Let nothing lead out of it
    #[arg(long)]
    internal: bool,
    /// Give containers IPv6 addresses too
    #[arg(long)]
    ipv6: bool,
    /// Set an option of the bridge
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    option: Vec<String>,
    /// Set metadata
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Its name
    name: String,
}

impl Create {
    fn run(self, engine: &Engine) -> Result<u8> {
        if self.driver != "bridge" {
            let driver = self.driver;
            return Err(Error::new(format!(
                "could not resolve driver {driver} in registry: bridge is the one that networks can have here"
            )));
        }
        let network = engine.create_network(networks::Request {
            name: self.name,
            subnets: self.subnet,
            gateways: self.gateway,
            internal: self.internal,
            ipv6: self.ipv6,
            options: self.option.iter().map(|text| options::label(text)).collect(),
            labels: options::labels(&self.label)?,
        })?;
        println!("{}", network.id);
        Ok(0)
    }
}

/// What `network ls` takes.
#[derive(Args)]
pub(crate) struct Ls {
    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Show only some: id, name, driver, label, scope, type
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = &[("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")];
const HEADINGS: Columns = &[
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
    ("IPV6", "IPv6"),
    ("INTERNAL", "Internal"),
    ("LABELS", "Labels"),
    ("CREATED AT", "CreatedAt"),
];
const FILTERS: &[&str] = &["id", "name", "driver", "label", "scope", "type"];

impl Ls {
    fn run(self, engine: &Engine) -> Result<u8> {
        let filters =
            self.filter.iter().map(|text| output::filter(text, FILTERS)).collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        for network in engine.networks().list()?.iter().filter(|network| matches(network, &filters)) {
            let id = if self.no_trunc { &network.id } else { network.short_id() };
            if self.quiet {
                println!("{id}");
            } else {
                rows.push(row(network, id));
            }
        }
        if !self.quiet {
            output::list(self.format.as_deref(), COLUMNS, HEADINGS, &rows)?;
        }
        Ok(0)
    }
}

fn row(network: &Network, id: &str) -> Value {
    let labels: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "ID": id,
        "Name": network.name,
        "Driver": network.driver,
        "Scope": network.scope,
        "IPv6": network.enable_ipv6.to_string(),
        "Internal": network.internal.to_string(),
        "Labels": labels.join(","),
        "CreatedAt": network.created,
    })
}

/// Whether a network passes all filters; of those with one key, only labels must all fit.
fn matches(network: &Network, filters: &[(&str, &str)]) -> bool {
    let fits = |key: &str, value: &str| match key {
        "id" => network.id.starts_with(value),
        "name" => network.name.contains(value),
        "driver" => network.driver == value,
        "scope" => network.scope == value,
        "type" => network.is_predefined() == (value == "builtin"),
        _ => match value.split_once('=') {
            Some((label, wanted)) => network.labels.get(label).is_some_and(|value| value == wanted),
            None => network.labels.contains_key(value),
        },
    };
    FILTERS.iter().all(|key| {
        let mut values = filters.iter().filter(|(known, _)| known == key).map(|(_, value)| *value).peekable();
        match values.peek() {
            None => true,
            Some(_) if *key == "label" => values.all(|value| fits(key, value)),
            Some(_) => values.any(|value| fits(key, value)),
        }
    })
}

/// What `network rm` takes.
#[derive(Args)]
pub(crate) struct Rm {
    /// Do not fail for a network that there is not
    #[arg(short, long)]
    force: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Rm {
    fn run(self, engine: &Engine) -> u8 {
        let mut code = 0;
        for text in &self.networks {
            match engine.networks().find(text).and_then(|network| engine.remove_network(&network)) {
                Ok(()) => println!("{text}"),
                // Unlike other commands, Docker's is silent then.
                Err(error) if self.force && error.is_missing() => {}
                Err(error) => {
                    super::report(&error);
                    code = 1;
                }
            }
        }
        code
    }
}

/// What `network prune` takes.
#[derive(Args)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only some: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    fn run(&self, engine: &Engine) -> Result<u8> {
        let conditions = Conditions::read(&self.filter, &["until", "label", "label!"])?;
        let warning = "This will remove all custom networks not used by at least one container.";
        if !self.force && !confirmation::given(warning)? {
            return Ok(0);
        }
        let (removed, failures) =
            engine.prune_networks(|network| conditions.fit(Some(&network.created), &network.labels))?;
        if !removed.is_empty() {
            println!("Deleted Networks:");
            removed.iter().for_each(|network| println!("{}", network.name));
            println!();
        }
        failures.iter().for_each(super::report);
        Ok(u8::from(!failures.is_empty()))
    }
}

/// What `network connect` takes.
#[derive(Args)]
pub(crate) struct Connect {
    /// Another name in the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// An IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<std::net::Ipv4Addr>,
    /// An IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<std::net::Ipv6Addr>,
    /// The network's name or ID
    network: String,
    /// The container's name or ID
    container: String,
}

impl Connect {
    fn run(self, engine: &Engine) -> Result<u8> {
        let addresses = self.ip.map(IpAddr::from).into_iter().chain(self.ip6.map(IpAddr::from)).collect();
        let membership = Membership { aliases: self.alias, addresses, mac_address: None };
        let container = engine.containers().find(&self.container)?;
        engine.connect_network(&engine.networks().find(&self.network)?, &container, &membership)?;
        Ok(0)
    }
}

/// What `network disconnect` takes.
#[derive(Args)]
pub(crate) struct Disconnect {
    /// Do not fail for a container that there is not
    #[arg(short, long)]
    force: bool,
    /// The network's name or ID
    network: String,
    /// The container's name or ID
    container: String,
}

impl Disconnect {
    fn run(&self, engine: &Engine) -> Result<u8> {
        let network = engine.networks().find(&self.network)?;
        let container = engine.containers().find(&self.container);
        let disconnected = container.and_then(|container| engine.disconnect_network(&network, &container));
        disconnected.or_else(|error| super::forgive_missing(error, self.force))?;
        Ok(0)
    }
}
