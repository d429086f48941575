//! Network namespaces, and doing something inside one without staying there.
//!
//! A socket belongs to the namespace its maker was in, for ever. So whoever holds sockets of two namespaces can work
//! in both, and nobody has to run inside a container to furnish it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};

use crate::error::{Result, kernel};

/// The calling thread's network namespace. Descriptors keep a namespace alive.
pub fn own() -> Result<OwnedFd> {
    // Of the thread: /proc/self is the main thread, which may be elsewhere.
    let path = "/proc/thread-self/ns/net";
    Ok(File::open(path).map_err(kernel("open", path))?.into())
}

/// The network namespace of the process behind a pidfd.
pub fn of(pidfd: BorrowedFd<'_>) -> Result<OwnedFd> {
    within(pidfd, own)
}

/// Does something with the calling thread inside the namespace behind `netns`: a descriptor of it, or of a process in
/// it (a pidfd, Linux 5.8). Other threads stay where they are.
///
/// What `body` opens (sockets, files of `/proc/sys/net`) belongs to that namespace.
pub fn within<T>(netns: BorrowedFd<'_>, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = own()?;
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(kernel("join", "a network namespace"))?;
    let result = body();
    setns(home.as_fd(), CloneFlags::CLONE_NEWNET).map_err(kernel("return to", "the network namespace"))?;
    result
}
