//! `seccomp(2)`.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::filter::{FLAG_NEW_LISTENER, FLAG_TSYNC, FLAG_TSYNC_ESRCH};
use crate::instruction::Instruction;

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Installs a filter for this thread. With [`FLAG_NEW_LISTENER`], the result is the listener's descriptor, closed on `execve`.
pub(crate) fn install(instructions: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let Ok(length) = u16::try_from(instructions.len()) else {
        return Err(Error::TooLong(instructions.len()));
    };
    let listened = flags & FLAG_NEW_LISTENER != 0;
    // A positive result cannot be both a listener and a thread that is in the way of the flag for all threads.
    let flags = if listened && flags & FLAG_TSYNC != 0 { flags | FLAG_TSYNC_ESRCH } else { flags };
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: the kernel copies the program, which lives until the call returns, and is as long as it says.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
    };
    match Errno::result(result) {
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        Ok(fd) if listened => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        Ok(0) => Ok(None),
        // With the flag for all threads: the number of one that has filters of its own.
        Ok(_) => Err(refused(Errno::ECANCELED)),
        Err(errno) => Err(refused(errno)),
    }
}

fn refused(errno: Errno) -> Error {
    let hint = match errno {
        Errno::EACCES => "set no_new_privs first, or run it as root",
        Errno::EINVAL => "this kernel has no CONFIG_SECCOMP_FILTER, or does not know a flag of the profile",
        Errno::ENOMEM => "the filters on this process are too many",
        Errno::ENOSYS | Errno::EPERM => "a filter that is on already may forbid it",
        Errno::ECANCELED | Errno::ESRCH => "another thread has a filter of its own",
        Errno::EBUSY => "a filter that is on already has a listener",
        _ => "see seccomp(2)",
    };
    Error::Install { errno, hint }
}
