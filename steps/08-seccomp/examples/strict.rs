//! `strict`: the first seccomp, of 2005. From now on: read, write, exit and return from a signal; all else is death.

use std::io::Write;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

fn main() -> std::io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => strictly(),
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Signaled(_, signal, _) => println!("it was killed by {signal}"),
            other => println!("it lived: {other:?}"),
        },
    }
    Ok(())
}

fn strictly() {
    let mut out = std::io::stdout();
    // SAFETY: neither call takes or gives memory.
    unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT);
        writeln!(out, "write still works").ok();
        libc::syscall(libc::SYS_getpid);
    }
    writeln!(out, "getpid worked too").ok();
}
