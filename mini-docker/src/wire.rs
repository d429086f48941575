//! What a command and a shim say to each other: frames over a Unix socket.
//!
//! A frame is one byte of kind, three of zero, the payload's length as 32 bits, big-endian, and the payload: the
//! layout of Docker's attach stream, whose kinds 0 to 2 are the same.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::unistd::Pid;
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags};

use crate::error::{Error, Result};

/// A frame's longest payload, in bytes. What is longer was not sent by us.
const MAX_PAYLOAD: usize = 1 << 16;
/// Bytes of a frame before its payload.
const HEADER: usize = 8;
/// Bytes waiting to be sent beyond which the sender should stop taking in more.
const CROWDED: usize = 1 << 18;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// To the shim: input for the container.
    Stdin(Vec<u8>),
    /// To the shim: this command has no more input. The container's ends with that if it was made to have one feeder only.
    StdinEnd,
    /// To the shim: the terminal has changed its size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
    /// To the shim: send the container's first process this signal.
    Signal(u8),
    /// To the shim: send me output from now on.
    Attach,
    /// To the shim: the container is in other networks now. If names are known there, it needs a name server, which asks
    /// these.
    Names(Vec<IpAddr>),
    /// To the shim: the same, and the container is not to be started again by itself when it ends. SIGKILL wakes one
    /// that is frozen.
    Stop(u8),
    /// To the shim: freeze the container's processes, or let them go on. The answer is [`Frame::Done`] or
    /// [`Frame::Failed`].
    Freeze(bool),
    /// To the shim: freeze them until I say otherwise or am gone. The answer is the same.
    FreezeForMe,
    /// From the shim: what was asked for is done.
    Done,
    /// From the shim: the container runs.
    Started,
    /// From the shim: the container could not be started.
    Failed {
        /// The exit code for it.
        code: u8,
        /// Why.
        message: String,
    },
    /// From the shim: what the container wrote to its standard output, or terminal.
    Stdout(Vec<u8>),
    /// From the shim: what the container wrote to its standard error.
    Stderr(Vec<u8>),
    /// From the shim: the container has ended, with this code, and is as tidy as it will get.
    Exited(u8),
}

impl Frame {
    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Stdin(bytes) => (0, bytes.clone()),
            Self::Stdout(bytes) => (1, bytes.clone()),
            Self::Stderr(bytes) => (2, bytes.clone()),
            Self::StdinEnd => (3, Vec::new()),
            Self::Resize { rows, columns } => (4, [rows.to_be_bytes(), columns.to_be_bytes()].concat()),
            Self::Signal(signal) => (5, vec![*signal]),
            Self::Attach => (6, Vec::new()),
            Self::Started => (7, Vec::new()),
            Self::Failed { code, message } => (8, [&[*code], message.as_bytes()].concat()),
            Self::Exited(code) => (9, vec![*code]),
            Self::Stop(signal) => (13, vec![*signal]),
            Self::Freeze(frozen) => (11, vec![u8::from(*frozen)]),
            Self::Done => (12, Vec::new()),
            Self::FreezeForMe => (14, Vec::new()),
            Self::Names(servers) => {
                (10, servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").into_bytes())
            }
        }
    }

    fn from_parts(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (0, bytes) => Self::Stdin(bytes.to_vec()),
            (1, bytes) => Self::Stdout(bytes.to_vec()),
            (2, bytes) => Self::Stderr(bytes.to_vec()),
            (3, []) => Self::StdinEnd,
            (4, &[a, b, c, d]) => {
                Self::Resize { rows: u16::from_be_bytes([a, b]), columns: u16::from_be_bytes([c, d]) }
            }
            (5, &[signal]) => Self::Signal(signal),
            (6, []) => Self::Attach,
            (7, []) => Self::Started,
            (8, [code, message @ ..]) => {
                Self::Failed { code: *code, message: String::from_utf8_lossy(message).into_owned() }
            }
            (9, &[code]) => Self::Exited(code),
            (13, &[signal]) => Self::Stop(signal),
            (11, &[frozen]) => Self::Freeze(frozen != 0),
            (12, []) => Self::Done,
            (14, []) => Self::FreezeForMe,
            (10, servers) => {
                let servers = std::str::from_utf8(servers).ok()?.split_whitespace();
                Self::Names(servers.map(|server| server.parse().ok()).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

/// One end of a conversation. It never blocks: what cannot be sent at once waits.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
}

/// What a look at the socket brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// These frames, perhaps none.
    Frames(Vec<Frame>),
    /// These were the last: the other end has closed.
    Closed(Vec<Frame>),
}

impl Connection {
    /// The process at the other end, if that listened for connections.
    pub fn peer(&self) -> Result<Pid> {
        let peer = rustix::net::sockopt::socket_peercred(&self.socket)
            .map_err(|errno| Error::kernel("ask who is at the other end", errno))?;
        Ok(Pid::from_raw(peer.pid.as_raw_nonzero().get()))
    }

    /// Takes over one end of a socket.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, incoming: Vec::new(), outgoing: VecDeque::new() }
    }

    /// Puts a frame in the queue and sends what can be sent. Output larger than a frame is cut into several.
    pub fn send(&mut self, frame: &Frame) -> Result<()> {
        let (kind, payload) = frame.parts();
        let mut rest = payload.as_slice();
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(MAX_PAYLOAD));
            self.outgoing.extend([kind, 0, 0, 0]);
            self.outgoing.extend((chunk.len() as u32).to_be_bytes());
            self.outgoing.extend(chunk);
            rest = after;
            if rest.is_empty() {
                return self.flush();
            }
        }
    }

    /// Sends what waits, as far as the socket takes it. If the other end has closed, there is nobody to send it to;
    /// that is no error here, for [`Connection::receive`] tells it, after what was still said.
    pub fn flush(&mut self) -> Result<()> {
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match rustix::net::send(&self.socket, front, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => self.outgoing.clear(),
                Err(errno) => return Err(Error::kernel("write to the other end", errno)),
            }
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether so much waits that no more should be taken in.
    pub fn is_crowded(&self) -> bool {
        self.outgoing.len() > CROWDED
    }

    /// Takes what has arrived.
    pub fn receive(&mut self) -> Result<Received> {
        // Behind what is there, and without filling the room with zeros first: most messages are short.
        self.incoming.reserve(MAX_PAYLOAD);
        let room = spare_capacity(&mut self.incoming);
        let closed = match rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) => true,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(errno) => return Err(Error::kernel("read from the other end", errno)),
        };
        let mut frames = Vec::new();
        while let Some(frame) = self.next()? {
            frames.push(frame);
        }
        Ok(if closed { Received::Closed(frames) } else { Received::Frames(frames) })
    }

    /// The first complete frame among the bytes that have arrived.
    fn next(&mut self) -> Result<Option<Frame>> {
        let Some(&[kind, _, _, _, a, b, c, d]) = self.incoming.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let broken = || {
            Error::new(format!("the other end sent something that is no frame (kind {kind}, {length} bytes)"))
        };
        if length > MAX_PAYLOAD {
            return Err(broken());
        }
        if self.incoming.len() < HEADER + length {
            return Ok(None);
        }
        let frame = Frame::from_parts(kind, &self.incoming[HEADER..HEADER + length]).ok_or_else(broken)?;
        self.incoming.drain(..HEADER + length);
        Ok(Some(frame))
    }

    /// Waits until everything is sent. That the other end has gone meanwhile is no error: it does not care.
    pub fn finish(mut self) -> Result<()> {
        self.socket.set_nonblocking(false).map_err(|error| Error::kernel("wait for the other end", error))?;
        let (front, back) = self.outgoing.as_slices();
        for bytes in [front, back] {
            match std::io::Write::write_all(&mut self.socket, bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return Ok(());
                }
                result => result.map_err(|error| Error::kernel("write to the other end", error))?,
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Connection::new(ours), Connection::new(theirs));
        let frames = [
            Frame::Stdin(b"in".to_vec()),
            Frame::Stdout(Vec::new()),
            Frame::Stderr(vec![0; 100]),
            Frame::StdinEnd,
            Frame::Resize { rows: 24, columns: 300 },
            Frame::Signal(15),
            Frame::Attach,
            Frame::Started,
            Frame::Failed { code: 127, message: "no".to_owned() },
            Frame::Exited(3),
            Frame::Names(vec![IpAddr::from([127, 0, 0, 53]), "fd00::1".parse().unwrap()]),
            Frame::Names(Vec::new()),
        ];
        for frame in &frames {
            ours.send(frame).unwrap();
        }
        drop(ours);
        let Received::Frames(mut seen) = theirs.receive().unwrap() else { panic!("not closed yet") };
        let Received::Closed(rest) = theirs.receive().unwrap() else { panic!("closed") };
        seen.extend(rest);
        assert_eq!(seen, frames);
    }

    #[test]
    fn what_does_not_fit_waits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Connection::new(ours), Connection::new(theirs));
        let sent = vec![7; 1 << 20];
        ours.send(&Frame::Stdout(sent.clone())).unwrap();
        assert!(ours.is_crowded());
        let mut got = Vec::new();
        while got.len() < sent.len() {
            ours.flush().unwrap();
            if let Received::Frames(frames) = theirs.receive().unwrap() {
                for frame in frames {
                    let Frame::Stdout(bytes) = frame else { panic!("{frame:?}") };
                    got.extend(bytes);
                }
            }
        }
        assert_eq!(got, sent);
        assert!(!ours.is_waiting());
    }

    #[test]
    fn nonsense_is_refused() {
        let (mut raw, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut raw, &[5, 0, 0, 0, 0xff, 0, 0, 0]).unwrap();
        let error = Connection::new(theirs).receive().unwrap_err();
        insta::assert_snapshot!(error, @"the other end sent something that is no frame (kind 5, 4278190080 bytes)");
    }
}
