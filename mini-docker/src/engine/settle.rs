//! What a request means on this engine, settled before anything is made: whose namespaces, which networks, which ids.

use user_namespace::Accounts;

use super::Engine;
use crate::container::Ids;
use crate::create::Request;
use crate::error::{Error, Result};
use crate::networks::wiring;
use crate::sharing::{Share, Sharing};

impl Engine {
    /// Other containers by their IDs, since a name may come to mean another; and the hostname that goes with a shared
    /// network.
    pub(super) fn settle_sharing(&self, request: &mut Request) -> Result<()> {
        let host = &mut request.host_config;
        for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
            if let Some(name) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.containers.find(name)?.id);
            }
        }
        let sharing = Sharing::of(host)?;
        if let Share::Container(id) = &sharing.ipc {
            let donor = self.containers.find(id)?;
            if donor.host_config.ipc_mode != "shareable" {
                return Err(Error::new(format!(
                    "cannot join the IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
        }
        let hostname = &mut request.config.hostname;
        match &sharing.network {
            _ if sharing.uts == Share::Host && !hostname.is_empty() => {
                return Err(Error::new("conflicting options: hostname and the UTS mode"));
            }
            Share::Container(_) if !hostname.is_empty() => {
                return Err(Error::new("conflicting options: hostname and the network mode"));
            }
            Share::Container(id) => self.containers.find(id)?.config.hostname.clone_into(hostname),
            // It is known there by the host's name.
            Share::Host if hostname.is_empty() => {
                *hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
            }
            Share::Own if sharing.uts == Share::Host => {
                *hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
            }
            Share::Own | Share::Host => {}
        }
        Ok(())
    }

    /// Networks by their names; what cannot be had of them is refused before anything is made.
    pub(super) fn settle_networks(&self, request: &mut Request) -> Result<()> {
        let host = &mut request.host_config;
        if matches!(host.network_mode.as_str(), "none" | "host")
            || host.network_mode.starts_with("container:")
        {
            if host.network_mode.starts_with("container:") && !host.port_bindings.is_empty() {
                return Err(Error::new(
                    "conflicting options: port publishing and the container type network mode",
                ));
            }
            if !request.networks.is_empty() {
                return Err(Error::new(format!(
                    "conflicting options: network mode {} and other networks, addresses or aliases",
                    host.network_mode
                )));
            }
            return Ok(());
        }
        if host.network_mode.is_empty() || host.network_mode == "default" {
            "bridge".clone_into(&mut host.network_mode);
        }
        request.networks.entry(host.network_mode.clone()).or_default();
        let asked = std::mem::take(&mut request.networks);
        for (text, membership) in asked {
            let network = self.networks.find(&text)?;
            wiring::check(&network, &membership)?;
            if host.network_mode == text {
                network.name.clone_into(&mut host.network_mode);
            }
            let name = network.name.clone();
            if request.networks.insert(network.name, membership).is_some() {
                return Err(Error::new(format!("network \"{name}\" is specified multiple times")));
            }
        }
        Ok(())
    }

    /// The user ids that the engine gives to its containers, if it gives them others than the host's.
    pub(super) fn settle_ids(&self, request: &mut Request) -> Result<()> {
        let host = &request.host_config;
        if !["", "host"].contains(&host.userns_mode.as_str()) {
            return Err(Error::new(format!("--userns: invalid USER mode: {}", host.userns_mode)));
        }
        let Some(user) = self.remap.as_ref().filter(|_| host.userns_mode != "host") else { return Ok(()) };
        let shared = |what: &str| {
            Error::new(format!(
                "cannot share {what} when user namespaces are enabled (--userns=host gives the container the host's ids)"
            ))
        };
        if host.privileged {
            return Err(Error::new(
                "privileged mode is incompatible with user namespaces: it must run with --userns=host",
            ));
        }
        let sharing = Sharing::of(host)?;
        for (share, kind) in [
            (&sharing.network, "network"),
            (&sharing.pid, "PID"),
            (&sharing.ipc, "IPC"),
            (&sharing.uts, "UTS"),
        ] {
            match share {
                Share::Own => {}
                Share::Host => return Err(shared(&format!("the host's {kind} namespace"))),
                Share::Container(_) => return Err(shared(&format!("another container's {kind} namespace"))),
            }
        }
        request.ids = Some(Ids::of(&Accounts::read()?.remapped(user)?));
        Ok(())
    }
}
