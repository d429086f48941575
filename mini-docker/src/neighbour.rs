//! A running container whose namespaces another one joins: `--network container:web` and its like.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use pid_namespace::{Namespaces, join};
use runtime::Join;

use crate::container::{Container, State};
use crate::error::{Error, Result};

/// The running `container`, of which `namespaces` are to be joined; `shim` is the process that holds it.
pub fn find(container: &Container, state: &State, shim: Pid, namespaces: Namespaces) -> Result<Join> {
    let gone = || {
        Error::new(format!(
            "cannot join the {namespaces} namespace of container {}: it is not running",
            container.id
        ))
    };
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
    Ok(Join::new(process, namespaces))
}

fn has_ended(process: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let ready =
        poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look at a process", errno))?;
    Ok(ready > 0)
}
