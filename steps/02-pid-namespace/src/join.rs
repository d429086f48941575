//! Entering namespaces that exist.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use chroot::{Error, Result};
use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::process::PidfdFlags;

use crate::namespaces::Namespaces;

/// A descriptor of the process `pid`.
pub fn open(pid: Pid) -> Result<OwnedFd> {
    let raw = rustix::process::Pid::from_raw(pid.as_raw())
        .ok_or_else(|| Error::new("open process", pid, Errno::ESRCH))?;
    rustix::process::pidfd_open(raw, PidfdFlags::empty())
        .map_err(|errno| Error::new("open process", pid, errno))
}

/// Moves this process into `namespaces` of the process behind `pidfd`, all at once (`setns(2)`, Linux 5.8):
/// either every one is joined or none. A descriptor of one namespace, opened in `/proc/PID/ns`, serves too.
///
/// Two kinds take effect only for children: after joining [`Namespaces::PID`] or [`Namespaces::TIME`] a process
/// must still be started to be inside. Joining [`Namespaces::MOUNT`] sets the root and the working directory to
/// that namespace's root.
pub fn join(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    tracing::info!("setns: join the namespaces {namespaces}");
    // SAFETY: setns takes no memory.
    let result = unsafe { libc::setns(pidfd.as_raw_fd(), namespaces.bits() as i32) };
    Errno::result(result).map(drop).map_err(|errno| Error::new("join the namespaces", namespaces, errno))
}
