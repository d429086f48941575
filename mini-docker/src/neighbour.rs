//! A running container whose namespaces another one joins: `--network container:web` and its like.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use pid_namespace::{Namespaces, join};
use runtime::Join;
use rustix::fs::{Mode, OFlags};

use crate::container::{Container, State};
use crate::error::{Error, Result};

/// The running `container`, of which `namespaces` are to be joined; `shim` is the process that holds it.
pub fn find(container: &Container, state: &State, shim: Pid, namespaces: Namespaces) -> Result<Join> {
    let attempt = format!("join the {namespaces} namespace of");
    Ok(Join::new(process(container, state, shim, &attempt)?, namespaces))
}

/// The root of the running `container`'s first process: everything that is mounted in it is seen through it.
pub fn root(container: &Container, state: &State, shim: Pid) -> Result<OwnedFd> {
    let attempt = "look into";
    let process = process(container, state, shim, attempt)?;
    let path = format!("/proc/{}/root", state.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new(&path), errno))?;
    // It is that process's only if nobody else can have its number yet.
    if has_ended(&process)? { Err(gone(container, attempt)) } else { Ok(root) }
}

fn gone(container: &Container, attempt: &str) -> Error {
    Error::new(format!("cannot {attempt} container {}: it is not running", container.id))
}

/// The first process of the running `container`; `attempt` is what for.
fn process(container: &Container, state: &State, shim: Pid, attempt: &str) -> Result<OwnedFd> {
    let gone = || gone(container, attempt);
    if state.pid == 0 {
        return Err(gone());
    }
    let process = join::open(Pid::from_raw(state.pid)).map_err(|_| gone())?;
    // Its number may have come to mean another process by now. That one is not the shim's child; and if the process
    // behind the descriptor still lives after the look, the look was at that one.
    let status = std::fs::read_to_string(format!("/proc/{}/status", state.pid)).map_err(|_| gone())?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim);
    if parent != Some(shim.to_string().as_str()) || has_ended(&process)? {
        return Err(gone());
    }
    Ok(process)
}

fn has_ended(process: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let ready =
        poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look at a process", errno))?;
    Ok(ready > 0)
}
