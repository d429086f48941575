//! A seccomp agent: system calls of containers wait for what it answers (`seccomp_unotify(2)`).

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::errno::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::Value;

/// An agent that answers each call with ENOTTY, which none gives by itself that takes no descriptor. Its threads end with
/// the test's process.
pub struct Agent(Receiver<Value>);

/// `struct seccomp_notif` of linux/seccomp.h.
#[repr(C)]
#[derive(Default)]
pub struct Request {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
pub struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

nix::ioctl_readwrite!(
    /// `SECCOMP_IOCTL_NOTIF_RECV`
    receive_request,
    b'!',
    0,
    Request
);
nix::ioctl_readwrite!(
    /// `SECCOMP_IOCTL_NOTIF_SEND`
    send_answer,
    b'!',
    1,
    Answer
);

impl Agent {
    /// An agent that listens at `path`.
    pub fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a folder of the test's");
        let (sender, told) = channel();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (message, descriptor) = receive(&socket);
                std::thread::spawn(move || answer(&descriptor));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self(told)
    }

    /// What it is told with the next container or process.
    pub fn told(&self) -> Value {
        self.0.recv_timeout(Duration::from_secs(20)).expect("the agent is told")
    }
}

/// The message, which is all that comes, and the descriptor with it.
fn receive(mut socket: &UnixStream) -> (Value, OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    let mut buffers = [IoSliceMut::new(&mut text)];
    let received = rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .expect("a message");
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let mut message = text[..received.bytes].to_vec();
    socket.read_to_end(&mut message).expect("an end");
    (serde_json::from_slice(&message).expect("JSON"), descriptor.expect("a descriptor"))
}

/// Answers until nobody is left to ask.
fn answer(listener: &OwnedFd) {
    loop {
        let mut request = Request::default();
        // SAFETY: the kernel fills in the structure, which lives until the call returns.
        let asked = unsafe { receive_request(listener.as_raw_fd(), &raw mut request) };
        let mut answer = Answer { id: request.id, value: 0, error: -(Errno::ENOTTY as i32), flags: 0 };
        // SAFETY: the kernel reads the structure, which lives until the call returns.
        if asked.and_then(|_| unsafe { send_answer(listener.as_raw_fd(), &raw mut answer) }).is_err() {
            return;
        }
    }
}
