//! The name server of a container: at 127.0.0.11, as in Docker, inside its network namespace.
//!
//! Names of containers are answered from what the caller knows; everything else is passed on to the host's name
//! servers. The server has no thread: its owner waits for [`Server::descriptors`] with `poll(2)`, among others, and calls
//! [`Server::serve`].
//!
//! It does not use port 53: a name server that runs in the container wants that for itself, at all addresses. The
//! packet filter sends what is for 127.0.0.11:53 on to the real ports ([`Server::redirect`]).

mod forward;
mod message;
mod stream;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::error::{Result, kernel};
use crate::netns;
use crate::nftables::expression::{Expression as E, Meta, Payload, Register};
use crate::nftables::{Chain, Family, Hook, Rule, Ruleset, Socket};
use crate::ports::Protocol;
use forward::{Client, Forward, LARGEST};
use message::{DATAGRAM, Failure, Query};
use stream::Stream;

/// Where programs find it: the address in `/etc/resolv.conf`.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Bounds on what a container can make the server hold.
const MAX_FORWARDS: usize = 64;
const MAX_CONNECTIONS: usize = 16;
/// After one that did not move for so long, a connection is closed.
const IDLE: Duration = Duration::from_secs(10);
/// How many datagrams are answered before others get their turn.
const BURST: usize = 32;

/// A name server for one container.
#[derive(Debug)]
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    servers: Vec<SocketAddr>,
    connections: Vec<Connection>,
    forwards: Vec<Forward>,
    /// The number of the next connection.
    next: u64,
    /// Counts answers, so that the addresses of a name take turns.
    turn: usize,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    stream: Stream,
    deadline: Instant,
}

impl Server {
    /// A server inside the namespace behind `netns` (or of the process, for a pidfd), whose loopback device must be on.
    /// What it does not know itself it asks `servers`, from the namespace in which [`Server::serve`] is called.
    pub fn listen_in(netns: BorrowedFd<'_>, servers: &[IpAddr]) -> Result<Self> {
        let (udp, tcp) = netns::within(netns, || {
            let refused = || kernel("listen at", ADDRESS);
            let udp = UdpSocket::bind((ADDRESS, 0)).map_err(refused())?;
            let tcp = TcpListener::bind((ADDRESS, 0)).map_err(refused())?;
            udp.set_nonblocking(true).and_then(|()| tcp.set_nonblocking(true)).map_err(refused())?;
            Ok((udp, tcp))
        })?;
        tracing::info!("name server at {ADDRESS} for the container, asks {servers:?}");
        Ok(Self {
            udp,
            tcp,
            servers: servers.iter().map(|server| SocketAddr::new(*server, 53)).collect(),
            connections: Vec::new(),
            forwards: Vec::new(),
            next: 0,
            turn: 0,
        })
    }

    /// Asks servers at these addresses and ports instead.
    #[must_use]
    pub fn with_servers(self, servers: Vec<SocketAddr>) -> Self {
        Self { servers, ..self }
    }

    /// Has what the container's programs send to port 53 of [`ADDRESS`] sent on to this server, by a table of the
    /// container's own namespace. It ends with the namespace.
    pub fn redirect(&self, filter: &Socket, table: &str) -> Result<()> {
        let refused = || kernel("look at", "the name server's socket");
        let udp = self.udp.local_addr().map_err(refused())?.port();
        let tcp = self.tcp.local_addr().map_err(refused())?.port();
        tracing::info!("nftables: {ADDRESS} port 53 is udp port {udp} and tcp port {tcp}");
        redirection(table, udp, tcp).ensure(filter)
    }

    /// What to wait for. It changes with every [`Server::serve`].
    pub fn descriptors(&self) -> Vec<PollFd<'_>> {
        let own = [self.udp.as_fd(), self.tcp.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let forwards = self.forwards.iter().filter_map(Forward::descriptor);
        let connections = self.connections.iter().filter_map(|Connection { stream, .. }| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, !stream.ended);
            events.set(PollFlags::POLLOUT, stream.is_sending());
            // One that waits for neither would only report, again and again, that it is closed.
            (!events.is_empty()).then(|| (stream.socket.as_fd(), events))
        });
        let others = forwards.chain(connections).map(|(fd, events)| PollFd::new(fd, events));
        own.into_iter().chain(others).collect()
    }

    /// After which time to call [`Server::serve`] even if nothing happens; `None` is never.
    pub fn timeout(&self) -> Option<Duration> {
        let forwards = self.forwards.iter().map(|forward| forward.deadline);
        let connections = self.connections.iter().map(|connection| connection.deadline);
        let first = forwards.chain(connections).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// Does what can be done now, and waits for nothing.
    ///
    /// `addresses` gives the addresses of a name, which is in lower case and has no point at its end; none, if it is not
    /// ours. `name` gives the name of an address of ours.
    pub fn serve(
        &mut self,
        addresses: &dyn Fn(&str) -> Vec<IpAddr>,
        name: &dyn Fn(IpAddr) -> Option<String>,
    ) {
        let known = Known { addresses, name };
        self.datagrams(&known);
        self.connections(&known);
        self.answers();
        let now = Instant::now();
        let forwards = &self.forwards;
        self.connections.retain(|connection| {
            let client = Client::Connection(connection.number);
            let waits =
                connection.stream.is_sending() || forwards.iter().any(|forward| forward.client == client);
            now < connection.deadline && (waits || !connection.stream.ended)
        });
    }

    /// Questions that came as datagrams.
    fn datagrams(&mut self, known: &Known<'_>) {
        let mut buffer = [0; LARGEST];
        for _ in 0..BURST {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, peer)) => {
                    let query = buffer[..length].to_vec();
                    if let Some(answer) = self.answer(query, Client::Datagram(peer), known) {
                        self.deliver(Client::Datagram(peer), &answer);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    /// Connections, new and old, and the questions in them.
    fn connections(&mut self, known: &Known<'_>) {
        for _ in 0..BURST {
            let Ok((socket, _)) = self.tcp.accept() else { break };
            let Ok(stream) = Stream::accepted(socket) else { continue };
            if self.connections.len() == MAX_CONNECTIONS {
                self.connections.remove(0);
            }
            self.connections.push(Connection { number: self.next, stream, deadline: Instant::now() + IDLE });
            self.next += 1;
        }
        self.connections.retain_mut(|connection| connection.stream.progress().is_ok());
        for index in 0..self.connections.len() {
            while let Some((query, client)) = self.connections[index].question() {
                if let Some(answer) = self.answer(query, client, known) {
                    self.deliver(client, &answer);
                }
            }
        }
    }

    /// Answers of other servers, or that there are none.
    fn answers(&mut self) {
        let now = Instant::now();
        let Self { forwards, servers, .. } = self;
        let mut answers = Vec::new();
        forwards.retain_mut(|forward| match forward.poll(now, servers) {
            Some(answer) => {
                answers.push((forward.client, answer));
                false
            }
            None => true,
        });
        for (client, answer) in answers {
            self.deliver(client, &answer);
        }
    }

    /// The answer to a query, if it is known here or if there is none; otherwise it is passed on.
    fn answer(&mut self, bytes: Vec<u8>, client: Client, known: &Known<'_>) -> Option<Vec<u8>> {
        let query = match Query::parse(&bytes) {
            Ok(query) => query,
            Err(failure) => return failure.map(|failure| message::refuse(&bytes, failure)),
        };
        if query.is_internet() {
            if let Some(name) = query.reverse().and_then(known.name) {
                return Some(query.pointer(&name));
            }
            let mut addresses = query.name().map(|name| (known.addresses)(&name)).unwrap_or_default();
            if !addresses.is_empty() {
                self.turn = self.turn.wrapping_add(1);
                let first = self.turn % addresses.len();
                addresses.rotate_left(first);
                let limit =
                    if matches!(client, Client::Datagram(_)) { DATAGRAM } else { usize::from(u16::MAX) };
                return Some(query.addresses(&addresses, limit));
            }
        }
        if self.servers.is_empty() || self.forwards.len() >= MAX_FORWARDS {
            return Some(query.fail(Failure::Server));
        }
        self.forwards.push(Forward::new(bytes, client, &self.servers));
        None
    }

    /// Sends an answer to whom it is for, if it is still there. What does not fit into the socket is lost, as datagrams
    /// may be.
    fn deliver(&mut self, client: Client, answer: &[u8]) {
        match client {
            Client::Datagram(peer) => drop(self.udp.send_to(answer, peer)),
            Client::Connection(number) => {
                let found = self.connections.iter_mut().find(|connection| connection.number == number);
                if let Some(connection) = found {
                    connection.deadline = Instant::now() + IDLE;
                    connection.stream.send(answer);
                    // Most answers fit at once. If the connection has ended, the next round finds out as well.
                    connection.stream.ended |= connection.stream.progress().is_err();
                }
            }
        }
    }
}

impl Connection {
    /// The next question. While an answer waits for the client to read, none is taken.
    fn question(&mut self) -> Option<(Vec<u8>, Client)> {
        if self.stream.is_sending() {
            return None;
        }
        let query = self.stream.next()?;
        self.deadline = Instant::now() + IDLE;
        Some((query, Client::Connection(self.number)))
    }
}

/// What the owner of a server knows.
struct Known<'a> {
    addresses: &'a dyn Fn(&str) -> Vec<IpAddr>,
    name: &'a dyn Fn(IpAddr) -> Option<String>,
}

/// The rules that lead from port 53 to the ports of a server.
pub fn redirection(table: &str, udp: u16, tcp: u16) -> Ruleset {
    let to = |protocol: Protocol, port: u16| Rule {
        text: format!("ip daddr {ADDRESS} {protocol} dport 53 dnat to {ADDRESS}:{port}"),
        expressions: vec![
            E::Payload(Payload::destination(Family::Ip), Register(0)),
            E::Equal(Register(0), ADDRESS.octets().to_vec()),
            E::Meta(Meta::Protocol, Register(0)),
            E::Equal(Register(0), vec![protocol.number()]),
            E::Payload(Payload::DESTINATION_PORT, Register(0)),
            E::Equal(Register(0), 53_u16.to_be_bytes().to_vec()),
            E::Constant(ADDRESS.octets().to_vec(), Register(0)),
            E::Constant(port.to_be_bytes().to_vec(), Register(1)),
            E::Redirect(Family::Ip, Register(0), Register(1)),
        ],
    };
    let rules = vec![to(Protocol::Udp, udp), to(Protocol::Tcp, tcp)];
    Ruleset {
        family: Family::Ip,
        table: table.to_owned(),
        sets: Vec::new(),
        chains: vec![Chain { name: "names", hook: Some(Hook::NatOutgoing), rules, drop: None }],
    }
}
