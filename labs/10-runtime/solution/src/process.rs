//! Processes: in namespaces of their own, as lab 2 made them, and by number or descriptor. Nothing is to be written here.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};

/// The kinds of namespaces that are new.
const NEW: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

/// Makes a process in new mount, pid, UTS and IPC namespaces. Returns twice, as fork(2) does: with the new process's
/// number in the parent, and with `None` in the new process.
pub fn spawn() -> nix::Result<Option<Pid>> {
    // SAFETY: all fields are numbers, and 0 in each means "not this".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = NEW as u64;
    // What the parent is told at the end, without which it could not wait as for any other child.
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has a copy of everything; this process has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(pid as libc::pid_t))),
    }
}

/// Gives the host that this process sees another name.
pub fn name_host(name: &str) -> nix::Result<()> {
    sethostname(name)
}

/// Waits for the end of `child`, and returns its exit code: its own, or 128 and the number of the signal that killed it.
pub fn wait_for(child: Pid) -> nix::Result<u8> {
    loop {
        if let Some(code) = code(waitpid(child, None)?) {
            return Ok(code);
        }
    }
}

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
pub struct Stat {
    /// `R` runs, `S` sleeps, `Z` has ended, and waits for its parent to look.
    pub state: char,
    /// In clock ticks since the host's start.
    pub start_time: u64,
}

/// What there is to know about a process; none if there is none of this number.
pub fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // It has ended since the file was opened.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        text => text?,
    };
    // Its name is in parentheses, and may have some itself.
    let mut fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next().and_then(|field| field.chars().next());
    let start_time = fields.nth(18).and_then(|field| field.parse().ok());
    let found = state.zip(start_time).map(|(state, start_time)| Stat { state, start_time });
    found.map(Some).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// A process by a descriptor, which never means another one (pidfd_open(2)).
pub struct Handle(OwnedFd);

impl Handle {
    pub fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: only numbers are passed.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub fn send(&self, signal: Signal) -> io::Result<()> {
        let information = std::ptr::null::<libc::siginfo_t>();
        let fd = self.0.as_raw_fd();
        // SAFETY: no memory is passed but a null `siginfo_t`, which stands for that of kill(2).
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, information, 0) };
        Errno::result(sent)?;
        Ok(())
    }
}

/// The exit code, if this is an end.
fn code(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(code as u8),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as u8),
        _ => None,
    }
}
