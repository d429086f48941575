//! Containers and networks: claims at the start, and changes while they run.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use pid_namespace::Namespaces;
use runtime::network::Network as Ahead;

use super::Engine;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::etc;
use crate::events::Event;
use crate::networks::membership::{Connections, Membership};
use crate::networks::wiring::{self, Wiring};
use crate::networks::{self, Network};
use crate::rootless::{self, Rootless};
use crate::sharing::{Share, Sharing};
use crate::wire::Frame;

/// Begins to make a network namespace for a container of which nothing is known yet, if this is root; an ordinary user's
/// belongs to a user namespace, which comes first. If it cannot be begun, [`Engine::make_network`] tries again, and says so.
pub fn network_ahead() -> Option<Ahead> {
    if nix::unistd::geteuid().is_root() { Ahead::begin().ok() } else { None }
}

impl Engine {
    /// Begins to make the network namespace of a container that is about to be created, for the network that the user asks
    /// for (empty without a choice), if it is likely to need one and that has not `begun` yet. Whether it does, its record
    /// says.
    pub fn make_network(&self, mode: &str, begun: Option<Ahead>) -> Result<Option<Ahead>> {
        if mode == "host" || mode.starts_with("container:") || self.remap.is_some() {
            // So that its thread is gone. Whether it could be made is of no interest then.
            drop(begun.map(Ahead::get));
            return Ok(None);
        }
        Ok(Some(begun.map_or_else(Ahead::begin, Ok)?))
    }

    /// The name server to ask in place of the host's own, where those may be at an address that cannot be reached: from an
    /// ordinary user's network.
    fn name_server_outside(&self, container: &Container) -> Option<IpAddr> {
        let connected = self.rootless.as_ref().filter(|_| !container.networks.is_empty());
        connected.map(|_| rootless::NAME_SERVER.into())
    }

    /// The name servers that a container's own asks.
    fn servers(&self, container: &Container) -> Result<Vec<IpAddr>> {
        match self.name_server_outside(container) {
            Some(outside) if container.host_config.dns.is_empty() => Ok(vec![outside]),
            _ => etc::servers(&container.host_config),
        }
    }

    /// Claims what a container needs of its networks, and writes the files that depend on it.
    pub(super) fn wire(&self, container: &Container) -> Result<Option<Wiring>> {
        let directory = self.containers.exec_directory(&container.id);
        let mut servers = Vec::new();
        if !container.networks.is_empty() {
            self.rootless.as_ref().map_or(Ok(()), Rootless::warn_if_unconnected)?;
            self.enter_network()?;
            servers = self.servers(container)?;
        }
        let wiring = self.networks.claim(container, &directory, servers)?;
        // A container in another's network has that one's files.
        if !container.host_config.network_mode.starts_with("container:") {
            let connections = wiring.as_ref().map(|wiring| wiring.connections.clone()).unwrap_or_default();
            let outside = self.name_server_outside(container);
            let own = self.containers.directory(&container.id);
            if let Err(error) = etc::write(container, &own, &connections, outside) {
                self.networks.release(&container.id, &directory)?;
                return Err(error);
            }
        }
        Ok(wiring)
    }

    /// From here on, an ordinary user's *host* is the network that its containers are connected in.
    pub(super) fn enter_network(&self) -> Result<()> {
        self.rootless.as_ref().map_or(Ok(()), Rootless::enter_network)
    }

    /// Creates a network.
    pub fn create_network(&self, request: networks::Request) -> Result<Network> {
        self.enter_network()?;
        let network = self.networks.create(request)?;
        self.tell_network(&network, "create");
        Ok(network)
    }

    /// Removes a network, unless a container runs in it.
    pub fn remove_network(&self, network: &Network) -> Result<()> {
        self.enter_network()?;
        let mut active = Vec::new();
        for container in self.containers.list()? {
            let connections = Connections::read(&self.containers.exec_directory(&container.id))?;
            if connections.networks.contains_key(&network.name) {
                active.push(format!("name:\"{}\" id:\"{}\"", container.name, container.short_id()));
            }
        }
        if !active.is_empty() {
            return Err(Error::new(format!(
                "error while removing network: network {} has active endpoints ({})",
                network.name,
                active.join(", ")
            )));
        }
        self.networks.remove(network)?;
        self.tell_network(network, "destroy");
        Ok(())
    }

    /// Records what has happened to a network.
    fn tell_network(&self, network: &Network, action: &str) {
        let attributes = [("name", network.name.as_str()), ("type", network.driver.as_str())];
        self.journal.record(&[Event::new("network", action, &network.id, &attributes)]);
    }

    /// Records that a container that runs is in a network, or not any more.
    fn tell_connection(&self, network: &Network, container: &Container, action: &str) -> Result<()> {
        if self.state(container)?.status.has_process() {
            let attributes = [
                ("container", container.id.as_str()),
                ("name", network.name.as_str()),
                ("type", network.driver.as_str()),
            ];
            self.journal.record(&[Event::new("network", action, &network.id, &attributes)]);
        }
        Ok(())
    }

    /// Removes all `wanted` networks that no container is to be in, running or not. One that cannot be removed does not keep the
    /// others from it; what was removed is returned, and the reasons.
    pub fn prune_networks(&self, wanted: impl Fn(&Network) -> bool) -> Result<(Vec<Network>, Vec<Error>)> {
        self.enter_network()?;
        let containers = self.containers.list()?;
        let mut networks = self.networks.list()?;
        networks.retain(|network| {
            !network.is_predefined()
                && wanted(network)
                && containers.iter().all(|container| !container.networks.contains_key(&network.name))
        });
        let mut failures = Vec::new();
        networks.retain(|network| match self.networks.remove(network) {
            Ok(()) => {
                self.tell_network(network, "destroy");
                true
            }
            Err(error) => {
                failures.push(error);
                false
            }
        });
        Ok((networks, failures))
    }

    /// Puts a container into one more network, at once if it runs.
    pub fn connect_network(
        &self,
        network: &Network,
        container: &Container,
        membership: &Membership,
    ) -> Result<()> {
        if container.networks.is_empty() && Sharing::of(&container.host_config)?.network != Share::Own {
            return Err(Error::new(format!(
                "container {} shares the network of another, or of the host, and cannot be connected to one",
                container.name
            )));
        }
        wiring::check(network, membership)?;
        self.enter_network()?;
        let lock = self.networks.lock()?;
        let container = self.containers.amend(&container.id, |container| {
            if container.networks.contains_key(&network.name) {
                return Err(Error::new(format!(
                    "endpoint with name {} already exists in network {}",
                    container.name, network.name
                )));
            }
            container.networks.insert(network.name.clone(), membership.clone());
            if container.host_config.network_mode == "none" {
                network.name.clone_into(&mut container.host_config.network_mode);
            }
            Ok(())
        })?;
        drop(lock);
        self.with_running(&container, |process, directory| {
            let plugged = self.networks.plug(&container, directory, process, &network.name, membership);
            if plugged.is_err() {
                self.forget_network(&container, &network.name)?;
            }
            plugged
        })?;
        self.tell_connection(network, &container, "connect")
    }

    /// Takes a container out of a network, at once if it runs.
    pub fn disconnect_network(&self, network: &Network, container: &Container) -> Result<()> {
        if !container.networks.contains_key(&network.name) {
            return Err(Error::new(format!(
                "container {} is not connected to network {}",
                container.id, network.name
            )));
        }
        self.enter_network()?;
        self.forget_network(container, &network.name)?;
        self.with_running(container, |process, directory| {
            self.networks.unplug(container, directory, process, &network.name)
        })?;
        self.tell_connection(network, container, "disconnect")
    }

    /// Records that a container is not to be in a network.
    fn forget_network(&self, container: &Container, name: &str) -> Result<()> {
        let _lock = self.networks.lock()?;
        let change = |container: &mut Container| {
            container.networks.remove(name);
            if container.networks.is_empty() {
                "none".clone_into(&mut container.host_config.network_mode);
            }
            Ok(())
        };
        self.containers.amend(&container.id, change).map(drop)
    }

    /// Does something with a running container's process, and has the shim and the files in its `/etc` follow what has
    /// become of its networks. One that does not run needs nothing.
    fn with_running(
        &self,
        container: &Container,
        act: impl FnOnce(BorrowedFd<'_>, &Path) -> Result<()>,
    ) -> Result<()> {
        let state = self.state(container)?;
        if !state.status.has_process() {
            return Ok(());
        }
        let neighbour = self.neighbour(container, Namespaces::NET)?;
        let directory = self.containers.exec_directory(&container.id);
        act(neighbour.as_fd(), &directory)?;
        if let Some(mut connection) = self.connect(container)? {
            connection.send(&Frame::Names(self.servers(container)?))?;
            connection.finish()?;
        }
        let container = self.containers.find(&container.id)?;
        let outside = self.name_server_outside(&container);
        etc::write(
            &container,
            &self.containers.directory(&container.id),
            &Connections::read(&directory)?,
            outside,
        )
    }

    /// Gives back what a container that does not run any more still has of networks, because its shim was killed, or the
    /// command that was about to start it.
    pub(super) fn release_networks(&self, container: &Container) -> Result<()> {
        let directory = self.containers.exec_directory(&container.id);
        if !Connections::read(&directory)?.networks.is_empty() {
            self.enter_network()?;
            self.networks.release(&container.id, &directory)?;
        }
        if container.networks.is_empty() { Ok(()) } else { self.networks.forget(&container.id) }
    }
}
