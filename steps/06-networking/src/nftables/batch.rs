//! Transactions: messages that all take effect at one instant, or none of them.

use std::os::fd::BorrowedFd;

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::Family;
use crate::channel::{Channel, HEADER, messages};
use crate::error::{Error, Result};
use crate::netns;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// Make an object. One that is there is fine, if it is the same.
pub(crate) const CREATE: u16 = NLM_F_CREATE;
/// With [`CREATE`]: one that is there is an error (EEXIST).
pub(crate) const EXCLUSIVE: u16 = NLM_F_EXCL;
/// With [`CREATE`]: behind the others of its kind.
pub(crate) const APPEND: u16 = NLM_F_APPEND;

/// A connection to the packet filter of one network namespace.
///
/// To close it can take the kernel 8 to 19 milliseconds: it waits until nobody looks at old rules any more. So it is a
/// value that its holder drops when nobody waits.
#[derive(Debug)]
pub struct Socket(Channel);

impl Socket {
    /// A connection to the packet filter of this thread's network namespace.
    pub fn open() -> Result<Self> {
        Channel::open(NETLINK_NETFILTER).map(Self)
    }

    /// A connection to that of another network namespace, given by a descriptor of it or of a process inside.
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self> {
        netns::within(netns, Self::open)
    }
}

/// Messages for one transaction.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Of each message: what is attempted, and on which object.
    objects: Vec<(&'static str, String)>,
}

/// Why nothing of a transaction took effect.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Which message it was because of, counted from 0.
    pub(crate) message: usize,
    /// What the kernel said.
    pub(crate) error: chroot::Error,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error.into()
    }
}

impl Batch {
    /// Adds a message, whose attributes `fill` writes. `attempt` and `object` are for the error.
    pub(crate) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        family: Family,
        (attempt, object): (&'static str, String),
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.objects.push((attempt, object));
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        message(&mut self.bytes, kind, flags, self.objects.len() as u32, (family.number(), 0), fill);
    }

    /// How many messages there are: a number that no earlier one had.
    pub(crate) fn len(&self) -> u32 {
        self.objects.len() as u32
    }

    /// Carries out the transaction.
    pub(crate) fn commit(mut self, socket: &Socket) -> Result<(), Refused> {
        let Some(last) = self.objects.len().checked_sub(1) else { return Ok(()) };
        let failed = |message: usize, error| Refused { message, error };
        let border = |kind| {
            let mut bytes = Vec::new();
            message(&mut bytes, kind, 0, 0, (0, NFNL_SUBSYS_NFTABLES), |_| ());
            bytes
        };
        let mut datagram = border(NFNL_MSG_BATCH_BEGIN);
        let start = datagram.len();
        datagram.append(&mut self.bytes);
        acknowledge_last(&mut datagram[start..]);
        datagram.extend(border(NFNL_MSG_BATCH_END));
        let io = |error: Error| match error {
            Error::Kernel(error) => failed(last, error),
            _ => failed(last, chroot::Error::new("commit", "firewall rules", Errno::EPROTO)),
        };
        socket.0.send(&datagram).map_err(io)?;

        // All answers are there by now. Without an error, there is one: the last message's acknowledgement.
        let mut acknowledged = false;
        let mut refused = None;
        while let Some(answers) = socket.0.receive().map_err(io)? {
            for answer in messages(&answers) {
                let Some(verdict) = answer.verdict() else { continue };
                // Number 0 is the transaction as a whole, such as one by somebody who is not root.
                let message = (answer.sequence as usize).saturating_sub(1).min(last);
                match verdict.errno {
                    None => acknowledged |= message == last,
                    Some(errno) => {
                        let (attempt, object) = &self.objects[message];
                        let error = chroot::Error::new(attempt, object, errno);
                        let error = match verdict.text {
                            Some(text) => error.hint(format!("the kernel says: {text}")),
                            None => error,
                        };
                        refused.get_or_insert(failed(message, error));
                    }
                }
            }
        }
        match refused {
            Some(refused) => Err(refused),
            None if acknowledged => Ok(()),
            None => Err(failed(last, chroot::Error::new("commit", "firewall rules", Errno::ENOBUFS))),
        }
    }
}

/// Asks for an acknowledgement of the last of these messages.
fn acknowledge_last(bytes: &mut [u8]) {
    let (mut start, mut last) = (0, 0);
    while let Some(length) = bytes.get(start..start + 4) {
        last = start;
        start += u32::from_ne_bytes([length[0], length[1], length[2], length[3]]) as usize;
    }
    if let Some(flags) = bytes.get_mut(last + 6..last + 8) {
        flags.copy_from_slice(&(u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK).to_ne_bytes());
    }
}

/// Appends a message: a netlink header, a `struct nfgenmsg` (family, version 0, and a number), and attributes.
fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, number): (u8, u16),
    fill: impl FnOnce(&mut Attributes<'_>),
) {
    let start = bytes.len();
    bytes.extend([0; HEADER]);
    bytes.extend([family, 0]);
    bytes.extend(number.to_be_bytes());
    fill(&mut Attributes(bytes));
    let length = (bytes.len() - start) as u32;
    let header = &mut bytes[start..start + HEADER];
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    header[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    header[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

/// The attributes of a message while it is written: a length, a type, a value, padded to four bytes.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Numbers of this protocol are in network byte order.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat());
    }

    /// An attribute that consists of attributes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.bytes(kind | NLA_F_NESTED, &[]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}
