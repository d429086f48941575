//! The three files in `/etc` that depend on the container and not on its image: `hostname`, `hosts` and
//! `resolv.conf`. They lie in the container's directory and are mounted over the image's.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use networking::names::{self, ExtraHost, Resolver};

use crate::container::Container;
use crate::error::{Error, Result};
use crate::host_config::HostConfig;
use crate::networks::membership::{Connection, Connections};

/// Writes the files for `container` into its `directory`.
///
/// `outside` is the name server to ask in place of the host's own, if those cannot be reached.
pub fn write(
    container: &Container,
    directory: &Path,
    connections: &Connections,
    outside: Option<IpAddr>,
) -> Result<()> {
    let host = &container.host_config;
    let files = [
        ("hostname", format!("{}\n", container.config.hostname)),
        ("hosts", hosts(container, connections)?),
        ("resolv.conf", resolver(host, connections, outside)?.to_string()),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Error::file("write", &path, error))?;
        if let Some(ids) = &container.ids {
            let (uid, gid) = ids.maps()?.root()?;
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                .map_err(|error| Error::file("give away", &path, error))?;
        }
    }
    Ok(())
}

/// The name servers that a container's own server asks: the user's, or the host's, which are asked from the host.
pub fn servers(host: &HostConfig) -> Result<Vec<IpAddr>> {
    Ok(of_the_host()?.or_user(&of_the_user(host)).servers)
}

fn hosts(container: &Container, connections: &Connections) -> Result<String> {
    let host = &container.host_config;
    let extra = host.extra_hosts.iter().map(|text| ExtraHost::parse(text)).collect::<Result<Vec<_>, _>>()?;
    // A container that shares the host's network is known there as the host is.
    if host.network_mode == "host" {
        let line = |ExtraHost { name, address }| {
            format!("{}\t{name}\n", address.unwrap_or(IpAddr::from([127, 0, 0, 1])))
        };
        return Ok(read("/etc/hosts")? + &extra.into_iter().map(line).collect::<String>());
    }
    let (hostname, domain) = (&container.config.hostname, &container.config.domainname);
    let known_as = match hostname.split_once('.') {
        _ if !domain.is_empty() => vec![format!("{hostname}.{domain}"), hostname.clone()],
        Some((host, _)) if !host.is_empty() => vec![hostname.clone(), host.to_owned()],
        _ => vec![hostname.clone()],
    };
    let own = |connection: &Connection| {
        connection.addresses.iter().map(|(ip, _)| (*ip, known_as.clone())).collect::<Vec<_>>()
    };
    let own: Vec<_> = connections.networks.values().flat_map(own).collect();
    let mut gateways = connections.networks.values().flat_map(|connection| &connection.gateways);
    Ok(names::hosts(&extra, &own, gateways.next().copied())?)
}

fn resolver(host: &HostConfig, connections: &Connections, outside: Option<IpAddr>) -> Result<Resolver> {
    let (mut hosts, user) = (of_the_host()?, of_the_user(host));
    hosts.servers = outside.map_or(hosts.servers, |server| vec![server]);
    let mut addresses = connections.networks.values().flat_map(|connection| &connection.addresses);
    Ok(if connections.have_names() {
        hosts.or_user(&user).internal()
    } else if host.network_mode == "host" {
        hosts.or_user(&user)
    } else {
        hosts.without_loopback(addresses.any(|(ip, _)| ip.is_ipv6())).or_user(&user)
    })
}

fn of_the_user(host: &HostConfig) -> Resolver {
    Resolver { servers: host.dns.clone(), search: host.dns_search.clone(), options: host.dns_options.clone() }
}

fn of_the_host() -> Result<Resolver> {
    Ok(Resolver::parse(&read("/etc/resolv.conf")?))
}

/// The host's own file, or nothing if it has none.
fn read(path: &str) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::file("read", Path::new(path), error)),
    }
}
