//! File descriptors do not stay behind in a new process by themselves: a child has a copy of each.
//!
//! A forgotten copy is harmless to look at and bad in three ways. A pipe's reader waits until *every* copy of the
//! writing end is closed. A lock lasts as long as one copy of its descriptor. And a descriptor of a host directory
//! that reaches a container is a door out of it (CVE-2024-21626).

use std::os::fd::{AsRawFd, BorrowedFd};

use chroot::{Error, Result};
use nix::errno::Errno;

/// The standard input, output and error: 0 to 2.
const STANDARD: u32 = 3;

/// Closes every descriptor of this process except the standard three and those in `kept`.
///
/// For a child just after [`crate::spawn`]: the parent's objects that own the others live on in the parent only.
pub fn keep_only(kept: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> =
        kept.iter().map(|fd| fd.as_raw_fd() as u32).filter(|&fd| fd >= STANDARD).collect();
    kept.sort_unstable();
    // close_range(2) takes ranges, so close the gaps between those that stay.
    let mut first = STANDARD;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor but the standard three to be closed by `execve(2)`.
pub fn close_on_exec() -> Result<()> {
    close_on_exec_after(0)
}

/// Marks every descriptor but the standard three, and the `more` after them, to be closed by `execve(2)`.
pub fn close_on_exec_after(more: u32) -> Result<()> {
    close_range(STANDARD.saturating_add(more), u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// `close_range(2)`, Linux 5.9 (the flag: 5.11).
fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: close_range takes no memory. Descriptors that it closes are owned by objects of the parent's, of
    // which a child has copies that it never drops.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(result).map(drop).map_err(|errno| Error::new("close", "inherited descriptors", errno))
}
