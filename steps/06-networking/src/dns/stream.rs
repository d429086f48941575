//! DNS over TCP: each message follows its length in two bytes (RFC 1035, section 4.2.2).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// More than this is not read ahead from a client that sends without reading.
const AHEAD: usize = 64 * 1024 + 2;

/// A connection that nobody waits for.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The other side sends nothing more.
    pub(super) ended: bool,
}

impl Stream {
    /// A connection that was accepted.
    pub(super) fn accepted(socket: TcpStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, input: Vec::new(), output: Vec::new(), ended: false })
    }

    /// A connection that is being made.
    pub(super) fn connect(server: SocketAddr) -> std::io::Result<Self> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Self { socket: socket.into(), input: Vec::new(), output: Vec::new(), ended: false })
    }

    /// Has a message sent, as soon as there is room.
    pub(super) fn send(&mut self, message: &[u8]) {
        self.output.extend((message.len() as u16).to_be_bytes());
        self.output.extend(message);
    }

    /// Whether something is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends and receives what is possible now. An error is the end of the connection.
    pub(super) fn progress(&mut self) -> std::io::Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut piece = [0; 4096];
        while !self.ended && self.input.len() < AHEAD {
            match self.socket.read(&mut piece) {
                Ok(0) => self.ended = true,
                Ok(length) => self.input.extend(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the next message that has arrived whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.input.first()?, *self.input.get(1)?]));
        let message = self.input.get(2..2 + length)?.to_vec();
        self.input.drain(..2 + length);
        Some(message)
    }
}
