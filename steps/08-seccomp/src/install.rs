//! `seccomp(2)`.

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::instruction::Instruction;

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Installs a filter for this thread.
pub(crate) fn install(instructions: &[Instruction], flags: u32) -> Result<()> {
    let Ok(length) = u16::try_from(instructions.len()) else {
        return Err(Error::TooLong(instructions.len()));
    };
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: the kernel copies the program, which lives until the call returns, and is as long as it says.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
    };
    match Errno::result(result) {
        Ok(0) => Ok(()),
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
        Errno::ECANCELED => "another thread has a filter of its own",
        _ => "see seccomp(2)",
    };
    Error::Install { errno, hint }
}
