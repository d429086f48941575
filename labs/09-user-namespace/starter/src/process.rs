//! Processes in namespaces of their own, as lab 2 made them, and in a user namespace. Nothing is to be written here.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};

/// The kinds of namespaces that are new.
const NEW: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
/// For how long a parent looks what its child does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes a process in a new user namespace, and in new mount, pid, UTS and IPC namespaces that belong to it. Returns
/// twice, as fork(2) does: with the new process's number in the parent, and with `None` in the new process.
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
        pid => {
            until_it_waits(pid);
            Ok(Some(Pid::from_raw(pid as libc::pid_t)))
        }
    }
}

/// Goes on when a process waits for something or has ended. So a child that does not wait for its parent is always too
/// early, and not only now and then.
fn until_it_waits(pid: libc::c_long) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // Its name is in parentheses, and then comes its state (proc_pid_stat(5)).
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        if state.is_empty() || state.starts_with(['S', 'Z']) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
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

/// What process 1 does until its child `main` ends: it waits for every child that ends, since orphans become its own.
/// Returns the exit code of `main`, as `wait_for` does.
pub fn attend(main: Pid) -> nix::Result<u8> {
    loop {
        let status = waitpid(None, None)?;
        if let (Some(code), true) = (code(status), status.pid() == Some(main)) {
            return Ok(code);
        }
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
