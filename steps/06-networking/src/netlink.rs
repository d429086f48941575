//! Links, addresses and routes are asked for over a `NETLINK_ROUTE` socket (`rtnetlink(7)`), as `ip` does it.

use std::os::fd::BorrowedFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE,
    NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::channel::{Channel, Verdict, messages};
use crate::error::Result;
use crate::netns;

/// A socket that sees the links, addresses and routes of one network namespace.
#[derive(Debug)]
pub struct Socket(Channel);

/// One thing asked of the kernel.
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
    attempt: &'static str,
    object: String,
    accepted: Option<Errno>,
}

impl Request {
    /// A request; `attempt` and `object` are for the error, which begins with "cannot".
    pub(crate) fn new(
        attempt: &'static str,
        object: impl std::fmt::Display,
        message: RouteNetlinkMessage,
    ) -> Self {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        Self { message, flags, attempt, object: object.to_string(), accepted: None }
    }

    /// What it makes must not exist yet.
    pub(crate) fn create(mut self) -> Self {
        self.flags |= NLM_F_CREATE | NLM_F_EXCL;
        self
    }

    /// This refusal is as good as success: things are already as they should be.
    pub(crate) fn accept(mut self, errno: Errno) -> Self {
        self.accepted = Some(errno);
        self
    }

    fn judge(&self, verdict: Verdict) -> Result<()> {
        match verdict.errno {
            None => Ok(()),
            Some(errno) if self.accepted == Some(errno) => Ok(()),
            Some(errno) => Err(refusal(self.attempt, &self.object, errno, verdict.text)),
        }
    }
}

fn refusal(
    attempt: &'static str,
    object: impl std::fmt::Display,
    errno: Errno,
    text: Option<String>,
) -> crate::Error {
    let error = chroot::Error::new(attempt, object, errno);
    text.map_or(error.clone(), |text| error.hint(format!("the kernel says: {text}"))).into()
}

impl Socket {
    /// A socket for this thread's network namespace.
    pub fn open() -> Result<Self> {
        Channel::open(NETLINK_ROUTE).map(Self)
    }

    /// A socket for another network namespace, given by a descriptor of it or of a process inside (a pidfd).
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self> {
        netns::within(netns, Self::open)
    }

    /// Makes several requests in one datagram, and checks the answer to each. The kernel goes on after a refusal; the
    /// first one is returned.
    pub(crate) fn request(&self, requests: &[Request]) -> Result<()> {
        let first = self.send(requests.iter().map(|request| (&request.message, request.flags)))?;
        let mut answered = 0;
        let mut refused = Ok(());
        while answered < requests.len() {
            let Some(answers) = self.0.receive()? else { return Err(lost()) };
            for message in messages(&answers) {
                let Some(verdict) = message.verdict() else { continue };
                let Some(request) = requests.get(message.sequence.wrapping_sub(first) as usize) else {
                    continue;
                };
                answered += 1;
                refused = refused.and_then(|()| request.judge(verdict));
            }
        }
        refused
    }

    /// Asks for one object, and hands its message to `read`; `None` if the kernel knows no such object.
    pub(crate) fn get<T>(
        &self,
        what: &'static str,
        question: &RouteNetlinkMessage,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        self.send([(question, NLM_F_REQUEST)])?;
        let Some(answers) = self.0.receive()? else { return Err(lost()) };
        let Some(answer) = messages(&answers).next() else { return Err(lost()) };
        match answer.verdict() {
            None => Ok(read(answer.payload)),
            Some(Verdict { errno: Some(Errno::ENODEV), .. }) => Ok(None),
            Some(Verdict { errno, text }) => {
                Err(refusal("look up", what, errno.unwrap_or(Errno::EPROTO), text))
            }
        }
    }

    /// Asks for all objects of a kind, and hands each message to `read`.
    pub(crate) fn list<T>(
        &self,
        what: &'static str,
        question: &RouteNetlinkMessage,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        'again: loop {
            self.send([(question, NLM_F_REQUEST | NLM_F_DUMP)])?;
            let mut found = Vec::new();
            let mut torn = false;
            loop {
                let Some(answers) = self.0.receive()? else { return Err(lost()) };
                for answer in messages(&answers) {
                    // Something changed while the kernel listed it: the list may have gaps.
                    torn |= answer.flags & NLM_F_DUMP_INTR != 0;
                    match (answer.kind, answer.verdict()) {
                        (NLMSG_DONE, _) if torn => continue 'again,
                        (NLMSG_DONE, _) => return Ok(found),
                        (_, Some(Verdict { errno, text })) => {
                            return Err(refusal("list", what, errno.unwrap_or(Errno::EPROTO), text));
                        }
                        (_, None) => found.extend(read(answer.payload)),
                    }
                }
            }
        }
    }

    /// Sends messages in one datagram; returns the sequence number of the first.
    fn send<'a>(&self, all: impl IntoIterator<Item = (&'a RouteNetlinkMessage, u16)>) -> Result<u32> {
        let mut datagram = Vec::new();
        let mut first = None;
        for (message, flags) in all {
            let mut message = NetlinkMessage::from(message.clone());
            message.header.flags = flags;
            message.header.sequence_number = self.0.next_sequence();
            first.get_or_insert(message.header.sequence_number);
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len(), 0);
            message.serialize(&mut datagram[start..]);
        }
        self.0.send(&datagram)?;
        Ok(first.unwrap_or_default())
    }
}

/// The kernel queues its answers before `send(2)` returns, so an empty queue means that it had no memory for one.
fn lost() -> crate::Error {
    refusal("read", "the kernel's answer", Errno::ENOBUFS, None)
}
