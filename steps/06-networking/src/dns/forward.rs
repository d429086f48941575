//! Questions about other names, passed on to the host's name servers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use rustix::rand::GetRandomFlags;

use super::message::{self, Failure, Query};
use super::stream::Stream;

/// How long a server has for its answer. A program asks again, or gives up, after five seconds (`resolv.conf(5)`).
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ROUNDS: usize = 2;

/// The largest datagram that is passed on whole. Few servers send more than 1232 bytes (DNS flag day 2020).
pub(super) const LARGEST: usize = 4096;

/// Where a question came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A datagram.
    Datagram(SocketAddr),
    /// One of the connections, by its number.
    Connection(u64),
}

/// A question that waits for another server's answer.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) client: Client,
    query: Vec<u8>,
    /// How many times it was sent, to one server after another.
    sent: usize,
    /// By which the answer is known, together with the port of a socket of its own: who cannot read the question cannot
    /// forge an answer.
    number: u16,
    route: Option<Route>,
    pub(super) deadline: Instant,
}

#[derive(Debug)]
enum Route {
    Datagram(UdpSocket),
    Stream(Stream),
}

impl Forward {
    /// Passes a question on; it must be a valid [`Query`].
    pub(super) fn new(query: Vec<u8>, client: Client, servers: &[SocketAddr]) -> Self {
        let mut forward = Self { client, query, sent: 0, number: 0, route: None, deadline: Instant::now() };
        forward.send(servers);
        forward
    }

    /// Sends the question to the next server that can be sent to.
    fn send(&mut self, servers: &[SocketAddr]) {
        self.route = None;
        while self.route.is_none() && self.sent < servers.len() * ROUNDS {
            let server = servers[self.sent % servers.len()];
            self.sent += 1;
            self.deadline = Instant::now() + PATIENCE;
            // No server at all is better than one that answers to everybody's guess.
            let mut number = [0; 2];
            if rustix::rand::getrandom(&mut number, GetRandomFlags::empty()).is_err() {
                continue;
            }
            self.number = u16::from_be_bytes(number);
            let mut query = self.query.clone();
            query[..2].copy_from_slice(&number);
            self.route = match self.client {
                Client::Datagram(_) => datagram(&query, server).map(Route::Datagram).ok(),
                Client::Connection(_) => Stream::connect(server)
                    .map(|mut stream| {
                        stream.send(&query);
                        Route::Stream(stream)
                    })
                    .ok(),
            };
        }
    }

    /// The answer, if it is there or if there will be none.
    pub(super) fn poll(&mut self, now: Instant, servers: &[SocketAddr]) -> Option<Vec<u8>> {
        loop {
            let last = self.sent >= servers.len() * ROUNDS;
            let received = match &mut self.route {
                None => return self.give_up(),
                Some(route) => route.receive(),
            };
            match received {
                Ok(Some(mut answer)) => {
                    let is_it = Query::parse(&self.query)
                        .is_ok_and(|query| query.is_answered_by(&answer, self.number));
                    if is_it && (last || !message::is_failure(&answer)) {
                        answer[..2].copy_from_slice(&self.query[..2]);
                        if answer.len() == LARGEST && matches!(self.client, Client::Datagram(_)) {
                            message::truncated(&mut answer);
                        }
                        return Some(answer);
                    }
                    if is_it {
                        self.send(servers);
                    }
                }
                Ok(None) if now < self.deadline => return None,
                // Too late, or nobody is there (the error is that of an ICMP message).
                Ok(None) | Err(_) => self.send(servers),
            }
        }
    }

    fn give_up(&self) -> Option<Vec<u8>> {
        Query::parse(&self.query).ok().map(|query| query.fail(Failure::Server))
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.route.as_ref()? {
            Route::Datagram(socket) => Some((socket.as_fd(), PollFlags::POLLIN)),
            Route::Stream(stream) if stream.is_sending() => {
                Some((stream.socket.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT))
            }
            Route::Stream(stream) => Some((stream.socket.as_fd(), PollFlags::POLLIN)),
        }
    }
}

impl Route {
    /// A message that has arrived.
    fn receive(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            Self::Datagram(socket) => {
                let mut buffer = [0; LARGEST];
                match socket.recv(&mut buffer) {
                    Ok(length) => Ok(Some(buffer[..length].to_vec())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Self::Stream(stream) => {
                stream.progress()?;
                match stream.next() {
                    None if stream.ended => Err(ErrorKind::UnexpectedEof.into()),
                    message => Ok(message),
                }
            }
        }
    }
}

/// Sends a datagram from a port of its own, to which only `server` can answer.
fn datagram(query: &[u8], server: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    socket.send(query)?;
    Ok(socket)
}
