//! Published ports: what `--publish` means, and taking the host's port before anybody else does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use nix::errno::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::{Error, Result};

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of messages.
    Sctp,
}

impl Protocol {
    /// Its number in the header of a packet.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
            Self::Sctp => libc::IPPROTO_SCTP as u8,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::invalid(format!("invalid proto: {text}"))),
        }
    }
}

/// A port of a container: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number, which is not 0.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// One port that is to be published, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The host's address; `None` is every address.
    pub host: Option<IpAddr>,
    /// The host's ports to choose from: 0 lets the kernel choose.
    pub host_ports: RangeInclusive<u16>,
    /// The container's port.
    pub container: Port,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let (first, last) = (*self.host_ports.start(), *self.host_ports.end());
        match (first, last) {
            (0, _) => write!(f, "{} -> {}", SocketAddr::new(host, 0), self.container),
            _ if first == last => write!(f, "{} -> {}", SocketAddr::new(host, first), self.container),
            _ => write!(f, "{}-{last} -> {}", SocketAddr::new(host, first), self.container),
        }
    }
}

/// What `--publish` says, a mapping for each port: `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `127.0.0.1::80`,
/// `8000-8010:80` (the first free one of these), `8000-8002:80-82` (one for each). The rules and the errors are
/// Docker's (docker/go-connections, `ParsePortSpec`).
pub fn parse(text: &str) -> Result<Vec<Mapping>> {
    let mut parts = text.rsplitn(3, ':');
    let (container, host_ports, address) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let (ports, protocol) = split_protocol(container);
    if ports.is_empty() {
        return Err(Error::invalid(format!("no port specified: {text}<empty>")));
    }
    let protocol = protocol.parse()?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let host = match bare {
        "" => None,
        _ => Some(bare.parse().map_err(|_| Error::invalid(format!("invalid IP address: {bare}")))?),
    };
    let (first, last) = range(ports)
        .filter(|(first, _)| *first != 0)
        .ok_or_else(|| Error::invalid(format!("invalid containerPort: {ports}")))?;
    let (host_first, host_last) = match host_ports {
        "" => (0, 0),
        _ => range(host_ports).ok_or_else(|| Error::invalid(format!("invalid hostPort: {host_ports}")))?,
    };
    if first != last && !host_ports.is_empty() && host_last - host_first != last - first {
        return Err(Error::invalid(format!(
            "invalid ranges specified for container and host Ports: {ports} and {host_ports}"
        )));
    }
    let each = |number: u16| {
        let own = host_first + (number - first);
        let host_ports = match (host_first, first == last) {
            (0, _) => 0..=0,
            (_, true) => host_first..=host_last,
            (_, false) => own..=own,
        };
        Mapping { host, host_ports, container: Port { number, protocol } }
    };
    Ok((first..=last).map(each).collect())
}

/// What `--expose` says, or an image's `EXPOSE`: `80`, `80/udp`, `8000-8010/tcp`.
pub fn parse_exposed(text: &str) -> Result<Vec<Port>> {
    if text.contains(':') {
        return Err(Error::invalid(format!("invalid port format for --expose: {text}")));
    }
    let (ports, protocol) = split_protocol(text);
    let protocol = protocol.parse()?;
    let (first, last) = range(ports)
        .filter(|(first, _)| *first != 0)
        .ok_or_else(|| Error::invalid(format!("invalid range format for --expose: {text}")))?;
    Ok((first..=last).map(|number| Port { number, protocol }).collect())
}

fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        None | Some((_, "")) => (text.trim_end_matches('/'), "tcp"),
        Some(both) => both,
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        // `parse` would take a sign.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    (first <= last).then_some((first, last))
}

/// A port of the host that nobody else can have, for as long as the socket is open.
///
/// Packets do not reach the socket: the firewall sends them on before. It is there so that no program of the host takes
/// the port and then wonders, and so that the kernel says which ports are free. Should a packet reach it, it refuses.
#[derive(Debug)]
pub struct Reservation {
    /// The host's address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The socket, bound to them.
    pub socket: OwnedFd,
}

/// How often a port that the kernel chose may be taken by somebody else meanwhile.
const TRIES: usize = 16;

impl Reservation {
    /// Takes the first free one of the ports that `mapping` allows, in this thread's network namespace.
    pub fn take(mapping: &Mapping) -> Result<Self> {
        let host = mapping.host.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let protocol = mapping.container.protocol;
        let reservation = if *mapping.host_ports.start() == 0 && protocol != Protocol::Udp {
            first_free(TRIES, || {
                // Only a port that was asked for by number stays bound to a socket that does not listen.
                let (_chosen, address) = bind(SocketAddr::new(host, 0), protocol)?;
                Self::bind(address, protocol)
            })
        } else {
            let mut ports = mapping.host_ports.clone();
            first_free(ports.len(), || {
                Self::bind(SocketAddr::new(host, ports.next().unwrap_or_default()), protocol)
            })
        }?;
        tracing::info!("reserve {}/{protocol} on the host", reservation.address);
        Ok(reservation)
    }

    fn bind(address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let (socket, address) = bind(address, protocol)?;
        if protocol != Protocol::Udp {
            refuse_connections(&socket).map_err(|errno| explain(address, protocol, errno))?;
        }
        Ok(Self { address, protocol, socket })
    }
}

/// Tries until a port is free.
fn first_free(tries: usize, mut take: impl FnMut() -> Result<Reservation>) -> Result<Reservation> {
    let mut taken = take();
    for _ in 1..tries {
        if !matches!(taken, Err(Error::PortAllocated { .. })) {
            break;
        }
        taken = take();
    }
    taken
}

/// A socket bound to an address, and that address.
fn bind(address: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let bound = || -> rustix::io::Result<_> {
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
        if address.is_ipv6() {
            // Every address of IPv6, and none of IPv4.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        // Connections of an earlier program that are not forgotten yet (TIME_WAIT) do not keep the port.
        sockopt::set_socket_reuseaddr(&socket, protocol != Protocol::Udp)?;
        rustix::net::bind(&socket, &address)?;
        let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        Ok((socket, address))
    };
    bound().map_err(|errno| explain(address, protocol, errno))
}

/// Keeps a port without taking connections: who tries hears at once that nobody is there, instead of waiting for an
/// answer. To listen for a moment is what finds out whether somebody else listens, `SO_REUSEADDR` or not.
fn refuse_connections(socket: &OwnedFd) -> rustix::io::Result<()> {
    rustix::net::listen(socket, 0)?;
    sockopt::set_socket_reuseaddr(socket, false)?;
    rustix::net::shutdown(socket, Shutdown::Read)
}

fn explain(address: SocketAddr, protocol: Protocol, errno: rustix::io::Errno) -> Error {
    let errno = Errno::from_raw(errno.raw_os_error());
    if errno == Errno::EADDRINUSE {
        return Error::PortAllocated { address: address.ip(), port: address.port() };
    }
    let error = chroot::Error::new("bind", format!("{address}/{protocol}"), errno);
    match errno {
        Errno::EADDRNOTAVAIL => error.hint("this host has no such address"),
        Errno::EACCES => error.hint("ports below 1024 need root"),
        Errno::EAFNOSUPPORT => error.hint("IPv6 is off on this host"),
        Errno::EPROTONOSUPPORT => error.hint("this kernel lacks the protocol"),
        _ => error,
    }
    .into()
}
