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
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setpgid};

use crate::clone::{Exit, spawn};
use crate::namespaces::Namespaces;

/// Runs `body` in a child process and, until that child ends, passes every signal on to it and reaps every
/// orphan. Returns how the child ended.
pub fn run(body: impl FnOnce() -> u8) -> Result<Exit> {
    // Blocked signals wait to be picked up by sigwait, so none is lost between two rounds, and 1 can receive
    // signals at all: a blocked one is not dropped for want of a handler.
    let signals = SigSet::all();
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), Some(&mut before))
        .map_err(|errno| Error::new("block signals in", "the init process", errno))?;

    let main = spawn(Namespaces::NONE, None, || match lead_terminal().and_then(|()| unblock(&before)) {
        Ok(()) => body(),
        Err(error) => {
            eprintln!("{error}");
            125
        }
    })?;
    tracing::info!("process 1 waits: it forwards signals to process {} and reaps orphans", main.pid());

    loop {
        let signal =
            signals.wait().map_err(|errno| Error::new("wait for signals in", "the init process", errno))?;
        if signal != Signal::SIGCHLD {
            match kill(main.pid(), signal) {
                // It has just ended; its SIGCHLD is on the way.
                Ok(()) | Err(Errno::ESRCH) => continue,
                Err(errno) => return Err(Error::new("pass a signal to process", main.pid(), errno)),
            }
        }
        // Signals of one kind merge, so one SIGCHLD may stand for many ends.
        while let Some((pid, exit)) = reap()? {
            if pid == main.pid() {
                return Ok(exit);
            }
        }
    }
}

/// Gives a child back the signal mask that its parent had: it would pass on a blocked one to whatever it starts.
fn unblock(before: &SigSet) -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None)
        .map_err(|errno| Error::new("unblock signals in", "a child", errno))
}

/// Waits for one ended child, if there is one.
fn reap() -> Result<Option<(Pid, Exit)>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Ok(Some((pid, Exit::Code(code as u8)))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Ok(Some((pid, Exit::Signal(signal as i32)))),
        Ok(_) | Err(Errno::ECHILD) => Ok(None),
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
