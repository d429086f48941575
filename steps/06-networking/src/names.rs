//! The texts of `/etc/hosts` and `/etc/resolv.conf` in a container, as Docker writes them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::dns;
use crate::error::{Error, Result};

/// The names that every host knows itself by.
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Where a container asks if the host has no name server that it could reach (moby, `resolvconf`).
const PUBLIC: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];

/// A line that the user adds to `/etc/hosts`: what `--add-host` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address; `None` is the host's own, as the container sees it (`host-gateway`).
    pub address: Option<IpAddr>,
}

impl ExtraHost {
    /// Reads `NAME:ADDRESS` or `NAME=ADDRESS`. An IPv6 address may stand in brackets, and `host-gateway` for an address.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::invalid(format!("bad format for add-host: {text:?}"));
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(invalid)?;
        if name.is_empty() {
            return Err(invalid());
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => None,
            _ => Some(
                bare.parse()
                    .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?,
            ),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

/// The text of `/etc/hosts`: local names, `extra` ones, and `own` addresses, each with the container's names (the
/// hostname first). `gateway` is the host, as the container sees it.
pub fn hosts(extra: &[ExtraHost], own: &[(IpAddr, Vec<String>)], gateway: Option<IpAddr>) -> Result<String> {
    let mut text = LOCAL.to_owned();
    for ExtraHost { name, address } in extra {
        let address = address.or(gateway).ok_or_else(|| {
            Error::invalid(
                "unable to derive the IP value for host-gateway: the container has no way to the host",
            )
        })?;
        line(&mut text, address, name);
    }
    for (address, names) in own {
        line(&mut text, *address, &names.join(" "));
    }
    Ok(text)
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    let _infallible = writeln!(text, "{address}\t{names}");
}

/// What `resolv.conf(5)` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Whom to ask, in order.
    pub servers: Vec<IpAddr>,
    /// Domains that are tried behind a short name.
    pub search: Vec<String>,
    /// Options such as `ndots:1`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a file. Lines that it does not understand, or addresses with a zone (`fe80::1%eth0`), which mean nothing in
    /// another namespace, are passed over.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last line counts.
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => resolver.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        resolver
    }

    /// What the user asked for (`--dns`, `--dns-search`, `--dns-option`) instead of what the host has. A search domain
    /// `.` is none. A loopback address that was asked for is meant, so this comes after
    /// [`Resolver::without_loopback`].
    #[must_use]
    pub fn or_user(self, user: &Self) -> Self {
        let choose = |user: &[String], host: Vec<String>| {
            if user.is_empty() { host } else { user.to_vec() }
        };
        let mut search = choose(&user.search, self.search);
        if search == ["."] {
            search.clear();
        }
        Self {
            servers: if user.servers.is_empty() { self.servers } else { user.servers.clone() },
            search,
            options: choose(&user.options, self.options),
        }
    }

    /// For a container without a name server of its own: those of the host's at loopback addresses are not there, and
    /// with none left, public ones take their place. Without IPv6 in the container, those of IPv6 are useless, too.
    #[must_use]
    pub fn without_loopback(self, ipv6: bool) -> Self {
        let usable = |server: &IpAddr| !server.is_loopback() && (ipv6 || server.is_ipv4());
        let mut servers: Vec<IpAddr> = self.servers.into_iter().filter(usable).collect();
        if servers.is_empty() {
            servers = PUBLIC.to_vec();
        }
        Self { servers, ..self }
    }

    /// For a container with a name server of its own ([`dns::Server`]), which asks the others. Names without a point go
    /// to it before the search domains are tried, so that a container is found by its name (`ndots:0`).
    #[must_use]
    pub fn internal(self) -> Self {
        let mut options = self.options;
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:0".to_owned());
        }
        Self { servers: vec![dns::ADDRESS.into()], options, ..self }
    }
}

impl std::fmt::Display for Resolver {
    /// The text of the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}
