//! A netlink socket of any protocol: requests in one datagram, and the kernel's answers (`netlink(7)`).

use std::cell::Cell;

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NetlinkBuffer, NlasIterator};
use nix::errno::Errno;

use crate::error::{Result, kernel};

/// What precedes every message.
pub(crate) const HEADER: usize = 16;

/// The text of an extended acknowledgement (`include/uapi/linux/netlink.h`).
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One datagram of answers never exceeds this (`NLMSG_GOODSIZE` and `netlink_dump` in the kernel).
const DATAGRAM: usize = 32 * 1024;

/// A socket that speaks with the kernel, and nobody else.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: netlink_sys::Socket,
    sequence: Cell<u32>,
}

impl Channel {
    /// A socket of the `NETLINK_*` protocol, in this thread's network namespace. It stays there whatever the thread
    /// joins later.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let socket = netlink_sys::Socket::new(protocol).map_err(kernel("open", "a netlink socket"))?;
        // Errors come with a text, and acknowledgements without a copy of the request.
        socket
            .set_ext_ack(true)
            .and_then(|()| socket.set_cap_ack(true))
            .map_err(kernel("set options of", "a netlink socket"))?;
        Ok(Self { socket, sequence: Cell::new(1) })
    }

    /// A number for the next message, by which its answer is known.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.sequence.replace(self.sequence.get().wrapping_add(1))
    }

    /// Sends messages. The kernel has dealt with all of them when this returns, in order, and has queued its answers.
    pub(crate) fn send(&self, messages: &[u8]) -> Result<()> {
        // A socket that was never connected sends to port 0: the kernel.
        self.socket.send(messages, 0).map(drop).map_err(kernel("send", "a netlink request"))
    }

    /// Receives a datagram of answers; `None` if there is none.
    pub(crate) fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut answers = Vec::with_capacity(DATAGRAM);
        match self.socket.recv(&mut answers, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Some(answers)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(kernel("receive", "a netlink answer")(error)),
        }
    }
}

/// One message of an answer.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of a datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = message.length() as usize;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: message.into_inner().get(HEADER..length)?,
        })
    })
}

/// What the kernel says about one request.
pub(crate) struct Verdict {
    /// Why it refused; `None` if it is done.
    pub(crate) errno: Option<Errno>,
    /// The kernel's own words about it.
    pub(crate) text: Option<String>,
}

impl Message<'_> {
    /// The verdict, if this message is one.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        let code = i32::from_ne_bytes(self.payload.get(..4)?.try_into().ok()?);
        let errno = (code != 0).then(|| Errno::from_raw(-code));
        let text = if self.flags & NLM_F_ACK_TLVS == 0 { None } else { self.text() };
        Some(Verdict { errno, text })
    }

    /// The text behind the code and the header of the request, which an uncapped answer repeats whole.
    fn text(&self) -> Option<String> {
        let request = self.payload.get(4..)?;
        let length = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?) as usize;
        let skipped = if self.flags & NLM_F_CAPPED == 0 { length.next_multiple_of(4) } else { HEADER };
        let text = attributes(request.get(skipped..)?).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?.1;
        Some(string(text))
    }
}

/// The attributes of a message, as pairs of type and value.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).filter_map(|attribute| {
        let length = attribute.length() as usize;
        Some((attribute.kind(), attribute.into_inner().get(4..length)?))
    })
}

/// A text that may end with a zero byte.
pub(crate) fn string(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}
