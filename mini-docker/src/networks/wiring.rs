//! A container's connections: claimed by the command that starts it, made by its shim while the child is busy with its
//! mounts, and given back at the end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use networking::{
    Attachment, Endpoint, Error as NetworkingError, Mac, Mapping, Reservation, Socket, dns, netns, nftables,
};
use nix::errno::Errno;

use super::membership::{Connection, Connections, Membership, PublishedPort};
use super::{Network, Networks, ports};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::names;

/// The table in a container's own namespace that leads to its name server.
const NAMES_TABLE: &str = "mini-docker-names";

/// Connections that have been claimed: nobody else gets the addresses, or the host's ports.
#[derive(Debug)]
pub struct Wiring {
    networks: Networks,
    /// The container's fleeting directory.
    directory: PathBuf,
    plugs: Vec<Plug>,
    /// What is recorded of them.
    pub connections: Connections,
    reservations: Vec<Reservation>,
    /// The name servers that the container's own asks.
    servers: Vec<IpAddr>,
}

/// One connection that is to be made.
#[derive(Debug)]
struct Plug {
    network: Network,
    attachment: Attachment,
}

/// What must be kept while the container runs.
#[derive(Debug, Default)]
pub struct Live {
    /// Its name server, if names are known in one of its networks.
    pub names: Option<dns::Server>,
    /// Sockets that took part in the start, and whose end takes longer than that: they end with this process.
    late: Vec<nftables::Socket>,
}

/// What a new connection depends on besides its network.
struct Place<'a> {
    /// The number of its device.
    index: usize,
    /// Whether the default route is still to be had.
    leads_out: bool,
    container: &'a Container,
    membership: &'a Membership,
}

impl Networks {
    /// Claims what `container` needs of its networks; `None` if it needs nothing. `directory` is its fleeting one.
    pub fn claim(
        &self,
        container: &Container,
        directory: &Path,
        servers: Vec<IpAddr>,
    ) -> Result<Option<Wiring>> {
        if container.networks.is_empty() {
            return Ok(None);
        }
        let mut wiring = Wiring {
            networks: self.clone(),
            directory: directory.to_owned(),
            plugs: Vec::new(),
            connections: Connections::default(),
            reservations: Vec::new(),
            servers,
        };
        match wiring.fill(container) {
            Ok(()) => Ok(Some(wiring)),
            Err(error) => {
                self.release(&container.id, directory)?;
                Err(error)
            }
        }
    }

    /// Connects a running container, the process behind `process`, to one more network.
    pub fn plug(
        &self,
        container: &Container,
        directory: &Path,
        process: BorrowedFd<'_>,
        name: &str,
        membership: &Membership,
    ) -> Result<()> {
        let _lock = hold(directory)?;
        let mut connections = Connections::read(directory)?;
        let taken = |index: &usize| {
            connections.networks.values().any(|connection| connection.interface == format!("eth{index}"))
        };
        // One more than there are is always free.
        let index = (0..=connections.networks.len()).find(|index| !taken(index)).unwrap_or_default();
        let leads_out = connections.networks.values().all(|connection| connection.gateways.is_empty());
        let place = Place { index, leads_out, container, membership };
        let (plug, connection) = self.plan(&self.find(name)?, &place)?;
        connections.networks.insert(plug.network.name.clone(), connection.clone());
        let plugged = connections.write(directory).and_then(|()| {
            let host = Socket::open()?;
            let namespace = netns::of(process)?;
            self.ensure(&host, &plug.network)?;
            plug_in(&plug.attachment, &host, &Socket::open_in(namespace.as_fd())?, namespace.as_fd())
        });
        if plugged.is_err() {
            connections.networks.remove(&plug.network.name);
            // The record is gone if the container has ended meanwhile.
            if directory.exists() {
                connections.write(directory)?;
            }
            self.give_back(&container.id, &connection)?;
        }
        plugged
    }

    /// Takes a running container, the process behind `process`, out of a network. If its default route led there, the
    /// first other network that leads out, by name, gets it, and with it the published ports.
    pub fn unplug(
        &self,
        container: &Container,
        directory: &Path,
        process: BorrowedFd<'_>,
        name: &str,
    ) -> Result<()> {
        let _lock = hold(directory)?;
        let mut connections = Connections::read(directory)?;
        let Some(connection) = connections.networks.remove(name) else { return Ok(()) };
        let heir = if connection.gateways.is_empty() { None } else { self.heir(&mut connections)? };
        let is_theirs =
            |port: &PublishedPort| connection.addresses.iter().any(|(ip, _)| *ip == port.target.ip());
        let (theirs, kept): (Vec<_>, Vec<_>) = connections.ports.drain(..).partition(is_theirs);
        let moved: Vec<_> = theirs.iter().filter_map(|port| port.moved_to(heir.as_ref()?)).collect();
        let (led, gone): (Vec<_>, Vec<_>) =
            theirs.into_iter().partition(|port| moved.iter().any(|moved| moved.is_same(port)));
        self.unpublish(&led)?;
        self.take_back(&gone)?;
        connections.ports = kept;
        connections.ports.extend(moved.iter().cloned());
        // The route goes with the device.
        networking::link::delete(&Socket::open()?, &connection.host_end)?;
        connections.write(directory)?;
        self.give_back(&container.id, &connection)?;
        let Some(Connection { interface, gateways, .. }) = heir else { return Ok(()) };
        let inside = Socket::open_in(netns::of(process)?.as_fd())?;
        networking::attachment::lead_out(&inside, &interface, &gateways)?;
        if moved.is_empty() { Ok(()) } else { self.publish(&moved).map(drop) }
    }

    /// Lets others find a container that runs by the name that it has now.
    pub fn rename(&self, container: &Container, directory: &Path) -> Result<()> {
        if !directory.exists() {
            return Ok(());
        }
        let _lock = hold(directory)?;
        let mut connections = Connections::read(directory)?;
        if !connections.have_names() {
            return Ok(());
        }
        for (name, connection) in connections.networks.iter_mut().filter(|(_, one)| !one.names.is_empty()) {
            let endpoints = self.endpoints(&connection.network_id);
            let known = endpoints.list()?.into_iter().find(|(id, _)| *id == container.id);
            // It may just have given them back.
            let (Some((_, endpoint)), Some(membership)) = (known, container.networks.get(name)) else {
                continue;
            };
            connection.names = known_as(container, membership);
            endpoints.write(&container.id, &Endpoint { names: connection.names.clone(), ..endpoint })?;
        }
        connections.write(directory)
    }

    /// Records which of the connections gets the default route next, if any can have it.
    fn heir(&self, connections: &mut Connections) -> Result<Option<Connection>> {
        for (name, connection) in &mut connections.networks {
            connection.gateways = self.find(name)?.ways_out();
            if !connection.gateways.is_empty() {
                return Ok(Some(connection.clone()));
            }
        }
        Ok(None)
    }

    /// Gives back what a container that has ended had of its networks. Its devices end by themselves, a little later.
    pub fn release(&self, id: &str, directory: &Path) -> Result<()> {
        if !directory.exists() {
            return Ok(());
        }
        let _lock = hold(directory)?;
        let connections = Connections::read(directory)?;
        self.take_back(&connections.ports)?;
        if connections.networks.is_empty() {
            return Ok(());
        }
        let host = Socket::open()?;
        connections.networks.values().try_for_each(|connection| {
            networking::link::down(&host, &connection.host_end)?;
            self.give_back(id, connection)
        })
    }

    /// Lets ports lead to nobody.
    fn take_back(&self, ports: &[PublishedPort]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        for let_in in ports.iter().filter_map(|port| port.let_in) {
            self.outside.as_ref().map_or(Ok(()), |outside| outside.remove(let_in))?;
        }
        self.unpublish(ports)
    }

    /// Lets the firewall forget ports.
    fn unpublish(&self, ports: &[PublishedPort]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let ports: Vec<_> = ports.iter().map(PublishedPort::publication).collect();
        Ok(self.firewall().unpublish(&nftables::Socket::open()?, &ports)?)
    }

    /// Lets ports lead to their container.
    fn publish(&self, ports: &[PublishedPort]) -> Result<nftables::Socket> {
        let ports: Vec<_> = ports.iter().map(PublishedPort::publication).collect();
        let (rules, firewall) = (nftables::Socket::open()?, self.firewall());
        match firewall.publish(&rules, &ports) {
            // Somebody flushed the host's rules.
            Err(NetworkingError::NoFirewall { .. }) => {
                let networks: Vec<_> = self.list()?;
                let bridges = networks.iter().filter(|network| network.driver == "bridge");
                firewall.ensure(&rules, &bridges.map(Network::rules).collect::<Vec<_>>())?;
                firewall.publish(&rules, &ports)?;
            }
            published => published?,
        }
        Ok(rules)
    }

    fn give_back(&self, id: &str, connection: &Connection) -> Result<()> {
        if !connection.names.is_empty() {
            self.endpoints(&connection.network_id).remove(id)?;
        }
        let exists = self.exec.join(&connection.network_id).exists();
        if exists { Ok(self.leases(&connection.network_id).release(id)?) } else { Ok(()) }
    }

    /// Gives back addresses and names of a container whose command was killed before it could record them.
    pub fn forget(&self, id: &str) -> Result<()> {
        let networks = match std::fs::read_dir(&self.exec) {
            Ok(networks) => networks,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::file("read", &self.exec, error)),
        };
        for network in networks {
            let network = network.map_err(|error| Error::file("read", &self.exec, error))?;
            let network = network.file_name().to_string_lossy().into_owned();
            self.endpoints(&network).remove(id)?;
            self.leases(&network).release(id)?;
        }
        Ok(())
    }

    /// Claims addresses in a network.
    fn plan(&self, network: &Network, place: &Place<'_>) -> Result<(Plug, Connection)> {
        check(network, place.membership)?;
        let planned = self.claim_in(network, place);
        if planned.is_err() {
            let id = &place.container.id;
            self.endpoints(&network.id).remove(id)?;
            self.leases(&network.id).release(id)?;
        }
        planned
    }

    fn claim_in(&self, network: &Network, place: &Place<'_>) -> Result<(Plug, Connection)> {
        let &Place { index, leads_out, container, membership } = place;
        let leases = self.leases(&network.id);
        let mut addresses = Vec::new();
        for pool in &network.ipam.config {
            let wanted =
                membership.addresses.iter().find(|address| address.is_ipv4() == pool.subnet.is_ipv4());
            let address = leases.claim(&container.id, pool.subnet, pool.gateway, wanted.copied())?;
            addresses.push(pool.subnet.address(address));
        }
        let mac = match &membership.mac_address {
            Some(mac) => mac.parse()?,
            None => addresses.first().map_or(Mac([0x02, 0x42, 0, 0, 0, 0]), |address| Mac::of(address.ip)),
        };
        let attachment = Attachment {
            host_end: format!("veth{}{index:x}", &container.id[..8]),
            interface: format!("eth{index}"),
            bridge: network.bridge().name,
            mac,
            isolated: network.isolates(),
            mtu: network.mtu(),
            gateways: if leads_out { network.ways_out() } else { Vec::new() },
            addresses,
        };
        let connection = Connection {
            network_id: network.id.clone(),
            endpoint_id: names::random_id()?,
            interface: attachment.interface.clone(),
            host_end: attachment.host_end.clone(),
            mac_address: mac.to_string(),
            addresses: attachment.addresses.iter().map(|address| (address.ip, address.prefix)).collect(),
            gateways: attachment.gateways.clone(),
            names: if network.is_predefined() { Vec::new() } else { known_as(container, membership) },
        };
        if !connection.names.is_empty() {
            let endpoint = Endpoint {
                addresses: attachment.addresses.iter().map(|address| address.ip).collect(),
                mac,
                names: connection.names.clone(),
            };
            self.endpoints(&network.id).write(&container.id, &endpoint)?;
        }
        Ok((Plug { network: network.clone(), attachment }, connection))
    }
}

/// Makes a connection. The host's end is called after the container: one that is there already is left from the last run,
/// whose network the kernel has not taken apart yet.
fn plug_in(attachment: &Attachment, host: &Socket, inside: &Socket, namespace: BorrowedFd<'_>) -> Result<()> {
    match attachment.apply(host, inside, namespace) {
        Err(error) if error.errno() == Some(Errno::EEXIST) => {
            attachment.detach(host)?;
            Ok(attachment.apply(host, inside, namespace)?)
        }
        applied => Ok(applied?),
    }
}

/// Keeps others from changing what a container has of networks.
fn hold(directory: &Path) -> Result<Lock> {
    Lock::create(&directory.join("network.lock"))
}

/// Refuses what a container cannot have of a network, in Docker's words.
pub fn check(network: &Network, membership: &Membership) -> Result<()> {
    if network.driver != "bridge" {
        return Err(Error::new(format!(
            "container cannot be connected to network endpoints of the {} network beside others",
            network.name
        )));
    }
    if network.is_predefined() && !membership.aliases.is_empty() {
        return Err(Error::new("network-scoped aliases are only supported for user-defined networks"));
    }
    if network.is_predefined() && !membership.addresses.is_empty() {
        return Err(Error::new("user specified IP address is supported on user defined networks only"));
    }
    for address in &membership.addresses {
        let pool = network.ipam.config.iter().find(|pool| pool.subnet.is_ipv4() == address.is_ipv4());
        if !pool.is_some_and(|pool| pool.chosen) {
            return Err(Error::new(
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            ));
        }
    }
    Ok(())
}

/// The names that others find a container by.
fn known_as(container: &Container, membership: &Membership) -> Vec<String> {
    let mut names = vec![container.name.clone()];
    let own = [container.short_id().to_owned(), container.config.hostname.clone()];
    for name in membership.aliases.iter().cloned().chain(own) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A container's networks in the order of its devices: the one it was started in, then the others by name.
fn ordered(container: &Container) -> Vec<(&String, &Membership)> {
    let first = &container.host_config.network_mode;
    let mut ordered: Vec<_> = container.networks.iter().collect();
    ordered.sort_by_key(|(name, _)| (*name != first, *name));
    ordered
}

impl Wiring {
    fn fill(&mut self, container: &Container) -> Result<()> {
        for (index, (name, membership)) in ordered(container).into_iter().enumerate() {
            let leads_out = self.plugs.iter().all(|plug| plug.attachment.gateways.is_empty());
            let place = Place { index, leads_out, container, membership };
            let (plug, connection) = self.networks.plan(&self.networks.find(name)?, &place)?;
            self.connections.networks.insert(plug.network.name.clone(), connection);
            self.plugs.push(plug);
            // Each by itself, so that none is lost to a crash.
            self.connections.write(&self.directory)?;
        }
        let host = &container.host_config;
        let exposed = &container.config.exposed_ports;
        for mapping in ports::mappings(&host.port_bindings, host.publish_all_ports, exposed)? {
            self.reserve(container, &mapping)?;
        }
        self.connections.write(&self.directory)
    }

    /// Takes a port of the host's. It leads to the network that has the default route.
    fn reserve(&mut self, container: &Container, mapping: &Mapping) -> Result<()> {
        let refused = |error: &dyn std::fmt::Display| {
            Error::new(format!(
                "driver failed programming external connectivity on endpoint {}: {error}",
                container.name
            ))
        };
        let v4 = mapping.host.is_none_or(|address| address.is_ipv4());
        let out = self.plugs.iter().filter(|plug| !plug.attachment.gateways.is_empty());
        let mut addresses = out.flat_map(|plug| &plug.attachment.addresses);
        let Some(target) = addresses.find(|address| address.ip.is_ipv4() == v4) else {
            // As with Docker, an internal network's ports are not published, and that is no error.
            return if v4 {
                Ok(())
            } else {
                Err(refused(&"the container has no IPv6 address (see network create --ipv6)"))
            };
        };
        let reservation = Reservation::take(mapping).map_err(|error| refused(&error))?;
        let let_in = self.networks.outside.as_ref();
        let let_in = let_in.map(|outside| outside.add(reservation.protocol, reservation.address));
        self.connections.ports.push(PublishedPort {
            protocol: reservation.protocol,
            host: reservation.address,
            target: SocketAddr::new(target.ip, mapping.container.number),
            let_in: let_in.transpose().map_err(|error| refused(&error))?,
        });
        self.connections.write(&self.directory)?;
        self.reservations.push(reservation);
        Ok(())
    }

    /// Descriptors that are the container's for as long as it runs.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.reservations.iter().map(|reservation| reservation.socket.as_fd())
    }

    /// Makes the connections of the network namespace behind `namespace`.
    pub fn connect(&self, namespace: BorrowedFd<'_>) -> Result<Live> {
        let mut live = Live::default();
        let host = Socket::open()?;
        let inside = Socket::open_in(namespace)?;
        for Plug { network, attachment } in &self.plugs {
            live.late.extend(self.networks.ensure(&host, network)?);
            plug_in(attachment, &host, &inside, namespace)?;
        }
        if !self.connections.ports.is_empty() {
            live.late.push(self.networks.publish(&self.connections.ports)?);
        }
        if self.connections.have_names() {
            live.names = Some(name_server(namespace, &self.servers)?);
        }
        Ok(live)
    }
}

/// A name server inside the namespace behind `namespace`.
pub fn name_server(namespace: BorrowedFd<'_>, servers: &[IpAddr]) -> Result<dns::Server> {
    let server = dns::Server::listen_in(namespace, servers)?;
    server.redirect(&nftables::Socket::open_in(namespace)?, NAMES_TABLE)?;
    Ok(server)
}

/// Answers what the name server is asked, from what is known in a container's networks now.
pub fn answer(server: &mut dns::Server, networks: &Networks, directory: &Path) {
    // What cannot be read is not known; the question is then passed on, or is answered at the next try.
    let connections = Connections::read(directory).unwrap_or_default();
    let known: BTreeMap<_, _> = connections
        .networks
        .values()
        .filter(|connection| !connection.names.is_empty())
        .map(|c| (&c.network_id, c))
        .collect();
    let each = || known.keys().map(|id| networks.endpoints(id));
    server.serve(
        &|name| {
            each()
                .find_map(|endpoints| endpoints.resolve(name).ok().filter(|found| !found.is_empty()))
                .unwrap_or_default()
        },
        &|address| each().find_map(|endpoints| endpoints.name_of(address).ok().flatten()),
    );
}
