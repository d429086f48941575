//! Kernel parameters that a container may have of its own: those of the ipc and the network namespace.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::host_config::HostConfig;

/// Parameters of the ipc namespace (`ipc_namespaces(7)`); those below `fs.mqueue.` are too.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What Docker sets in every network namespace that it makes: ports below 1024 are for root of the *host*, and in a
/// namespace of its own a container can take none of the host's.
const PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");
/// Likewise, everybody may `ping`. In a user namespace that has not all these groups the kernel refuses it.
const PING: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");

/// Reads `NAME=VALUE`.
pub fn parse(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            Err(Error::new(format!("invalid argument \"{text}\" for \"--sysctl\" flag: expected NAME=VALUE")))
        }
    }
}

/// What is set for a container: Docker's defaults, and what the user asks for.
///
/// Parameters that belong to no namespace of the container's would change the host: they are refused.
pub fn plan(
    host: &HostConfig,
    own_network: bool,
    own_ipc: bool,
    own_users: bool,
) -> Result<Vec<(String, String)>> {
    let ping = if own_users { None } else { Some(PING) };
    let defaults = [PORTS].into_iter().chain(ping).filter(|_| own_network);
    let mut plan: BTreeMap<String, String> =
        defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in &host.sysctls {
        let is_network = name.starts_with("net.");
        let is_ipc = name.starts_with("fs.mqueue.") || IPC.contains(&name.as_str());
        if name.split('.').any(|part| part.is_empty() || part.contains('/') || part == "..") {
            return Err(Error::new(format!("invalid sysctl name: '{name}'")));
        }
        if is_network && !own_network {
            return Err(Error::new(format!("sysctl '{name}' not allowed in host network namespace")));
        }
        if is_ipc && !own_ipc {
            return Err(Error::new(format!("sysctl '{name}' not allowed in host ipc namespace")));
        }
        if !is_network && !is_ipc {
            return Err(Error::new(format!("sysctl '{name}' is not in a separate kernel namespace")));
        }
        plan.insert(name.clone(), value.clone());
    }
    Ok(plan.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed() {
        let case = |text: &str, network, ipc| {
            let host = HostConfig { sysctls: [parse(text).unwrap()].into(), ..HostConfig::default() };
            match plan(&host, network, ipc, false) {
                Ok(plan) => format!("{text} {plan:?}\n"),
                Err(error) => format!("{text} {error}\n"),
            }
        };
        let table = [
            case("net.core.somaxconn=1024", true, true),
            case("net.ipv4.ip_unprivileged_port_start=1024", true, true),
            case("net.core.somaxconn=1024", false, true),
            case("kernel.shmmax=1", false, true),
            case("kernel.shmmax=1", true, false),
            case("fs.mqueue.msg_max=20", false, true),
            case("kernel.panic=1", true, true),
            case("net.../../kernel.panic=1", true, true),
            case("net./../x=1", true, true),
        ];
        insta::assert_snapshot!(table.concat());
    }
}
