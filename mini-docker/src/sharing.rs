//! Which namespaces a container has of its own, and which it shares with the host or with another container.

use pid_namespace::Namespaces;

use crate::error::{Error, Result};
use crate::host_config::HostConfig;

/// Whose namespace of one kind a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Share {
    /// One of its own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// That of the container with this ID, or until it has been looked up, this name.
    Container(String),
}

/// Whose namespaces of each kind a container is in. Its mounts are always its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Process ids.
    pub pid: Share,
    /// Shared memory and message queues.
    pub ipc: Share,
    /// Host and domain name.
    pub uts: Share,
    /// Devices, addresses and ports.
    pub network: Share,
    /// The root of the cgroup tree.
    pub cgroup: Share,
}

impl Share {
    /// Reads the value of an option such as `--pid`; the words in `own` mean a namespace of its own.
    fn parse(option: &str, value: &str, own: &[&str], containers: bool) -> Result<Self> {
        match value.split_once(':') {
            _ if value.is_empty() || own.contains(&value) => Ok(Self::Own),
            None if value == "host" => Ok(Self::Host),
            Some(("container", name)) if containers && !name.is_empty() => {
                Ok(Self::Container(name.to_owned()))
            }
            _ => Err(Error::new(format!("--{option}: invalid {option} mode: {value}"))),
        }
    }
}

impl Sharing {
    /// What `host` says.
    pub fn of(host: &HostConfig) -> Result<Self> {
        let network = match host.network_mode.as_str() {
            "host" => Share::Host,
            other => other
                .strip_prefix("container:")
                .map_or(Share::Own, |container| Share::Container(container.to_owned())),
        };
        Ok(Self {
            pid: Share::parse("pid", &host.pid_mode, &[], true)?,
            ipc: Share::parse("ipc", &host.ipc_mode, &["private", "shareable", "none"], true)?,
            uts: Share::parse("uts", &host.uts_mode, &[], false)?,
            network,
            cgroup: Share::parse("cgroupns", &host.cgroupns_mode, &["private"], false)?,
        })
    }

    /// The kinds that are made before the child begins. The cgroup namespace is not among them: its root is the cgroup of the process that
    /// makes it, so the child makes it, inside its cgroup.
    pub fn own(&self) -> Namespaces {
        self.kinds().into_iter().fold(Namespaces::MOUNT, |set, (kind, share)| match share {
            Share::Own => set | kind,
            Share::Host | Share::Container(_) => set,
        })
    }

    /// The cgroup namespace, if that is its own.
    pub fn own_cgroup(&self) -> Namespaces {
        if self.cgroup == Share::Own { Namespaces::CGROUP } else { Namespaces::NONE }
    }

    /// The kinds that are another container's, and whose.
    pub fn joined(&self) -> Vec<(Namespaces, &str)> {
        self.kinds()
            .into_iter()
            .filter_map(|(kind, share)| match share {
                Share::Container(name) => Some((kind, name.as_str())),
                Share::Own | Share::Host => None,
            })
            .collect()
    }

    fn kinds(&self) -> [(Namespaces, &Share); 4] {
        [
            (Namespaces::PID, &self.pid),
            (Namespaces::IPC, &self.ipc),
            (Namespaces::UTS, &self.uts),
            (Namespaces::NET, &self.network),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let table: String = [
            ("", "", "", "bridge", ""),
            ("host", "host", "host", "host", "host"),
            ("container:web", "container:web", "", "container:web", "private"),
            ("", "shareable", "", "none", ""),
            ("private", "", "", "", ""),
            ("container:", "", "", "", ""),
            ("", "", "container:web", "", ""),
            ("", "odd", "", "", ""),
        ]
        .into_iter()
        .map(|(pid, ipc, uts, network, cgroup)| {
            let host = HostConfig {
                pid_mode: pid.to_owned(),
                ipc_mode: ipc.to_owned(),
                uts_mode: uts.to_owned(),
                network_mode: network.to_owned(),
                cgroupns_mode: cgroup.to_owned(),
                ..HostConfig::default()
            };
            match Sharing::of(&host) {
                Ok(sharing) => format!("own {}; joined {:?}\n", sharing.own(), sharing.joined()),
                Err(error) => format!("{error}\n"),
            }
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
