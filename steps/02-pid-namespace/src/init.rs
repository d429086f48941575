//! What process 1 owes the others.
//!
//! In a new pid namespace the first process is 1, and 1 is special (`pid_namespaces(7)`):
//!
//! - When a process dies, its children become children of 1. If 1 never waits for them they stay zombies.
//! - A signal that 1 has no handler for is dropped, even SIGTERM: a plain program that runs as 1 ignores
//!   `stop` until it is killed.
//! - When 1 ends, the kernel kills everything else in the namespace.
//!
//! Most programs are not written for this role. [`run`] plays it for them, as `docker run --init` does.

use std::os::fd::AsFd;

use chroot::{Error, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, setpgid};

use crate::clone::{Child, Exit, spawn};
use crate::namespaces::Namespaces;

/// Runs `body` in a child process and, until that child ends, passes every signal on to it and reaps every
/// orphan. Returns how the child ended.
pub fn run(body: impl FnOnce() -> u8) -> Result<Exit> {
    let main = start(body)?;
    attend(main.pid())
}

/// The first half of [`run`]: starts the child, with all signals blocked here and none there that was not before.
pub fn start(body: impl FnOnce() -> u8) -> Result<Child> {
    // Blocked signals wait to be picked up by sigwait, so none is lost between two rounds, and 1 can receive
    // signals at all: a blocked one is not dropped for want of a handler.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
        .map_err(|errno| Error::new("block signals in", "the init process", errno))?;
    spawn(Namespaces::NONE, None, || match lead_terminal().and_then(|()| unblock(&before)) {
        Ok(()) => body(),
        Err(error) => {
            eprintln!("{error}");
            125
        }
    })
}

/// The second half of [`run`]: looks after the child `main` and all orphans, with all signals blocked.
pub fn attend(main: Pid) -> Result<Exit> {
    tracing::info!("process 1 waits: it forwards signals to process {main} and reaps orphans");
    loop {
        let signal = next_signal()?;
        if signal != libc::SIGCHLD {
            // SAFETY: kill takes no memory. By number, since real-time signals have no name.
            match Errno::result(unsafe { libc::kill(main.as_raw(), signal) }) {
                // It has just ended; its SIGCHLD is on the way.
                Ok(_) | Err(Errno::ESRCH) => continue,
                Err(errno) => return Err(Error::new("pass a signal to process", main, errno)),
            }
        }
        // Signals of one kind merge, so one SIGCHLD may stand for many ends.
        while let Some((pid, exit)) = reap()? {
            if pid == main {
                return Ok(exit);
            }
        }
    }
}

/// Waits for a signal; its number.
fn next_signal() -> Result<i32> {
    let mut signal = 0;
    // SAFETY: both pointers lead to values that live until the call returns.
    let errno = unsafe { libc::sigwait(SigSet::all().as_ref(), &raw mut signal) };
    match errno {
        0 => Ok(signal),
        errno => Err(Error::new("wait for signals in", "the init process", Errno::from_raw(errno))),
    }
}

/// Gives a child back the signal mask that its parent had: it would pass on a blocked one to whatever it starts.
fn unblock(before: &SigSet) -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None)
        .map_err(|errno| Error::new("unblock signals in", "a child", errno))
}

/// Waits for one ended child, if there is one.
fn reap() -> Result<Option<(Pid, Exit)>> {
    let mut status = 0;
    // SAFETY: the status lives until the call returns.
    match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
        Ok(0) | Err(Errno::ECHILD) => Ok(None),
        Ok(pid) if libc::WIFSIGNALED(status) => {
            Ok(Some((Pid::from_raw(pid), Exit::Signal(libc::WTERMSIG(status)))))
        }
        Ok(pid) => Ok(Some((Pid::from_raw(pid), Exit::Code(libc::WEXITSTATUS(status) as u8)))),
        Err(errno) => Err(Error::new("wait for", "a child", errno)),
    }
}

/// Puts this process into a group of its own, in the terminal's foreground if there is a terminal: Ctrl-C then
/// reaches the program once, from the terminal, and not a second time through the init process.
fn lead_terminal() -> Result<()> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))
        .map_err(|errno| Error::new("make", "a process group", errno))?;
    let stdin = std::io::stdin();
    match nix::unistd::tcsetpgrp(stdin.as_fd(), nix::unistd::getpid()) {
        // Not a terminal, or not this session's.
        Ok(()) | Err(Errno::ENOTTY | Errno::EBADF | Errno::EINVAL | Errno::ENXIO) => Ok(()),
        Err(errno) => Err(Error::new("take the foreground of", "the terminal", errno)),
    }
}
