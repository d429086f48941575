//! A running container whose namespaces another one joins: `--network container:web` and its like.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use chroot::mount;
use chroot::resolve::Rooted;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use pid_namespace::{Namespaces, join};
use rustix::fs::{Mode, OFlags};

use crate::container::{Container, State};
use crate::error::{Error, Result};

/// Its first process, and which of its namespaces are joined.
#[derive(Debug)]
pub struct Neighbour {
    /// A pidfd: it cannot come to mean another process.
    process: OwnedFd,
    namespaces: Namespaces,
}

impl Neighbour {
    /// The running `container`, of which `namespaces` are to be joined; `shim` is the process that holds it.
    pub fn find(container: &Container, state: &State, shim: Pid, namespaces: Namespaces) -> Result<Self> {
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
        Ok(Self { process, namespaces })
    }

    /// Joins the process ids: what this process starts from now on is among them, itself it is not.
    pub fn join_pid(&self) -> Result<()> {
        if self.namespaces.contains(Namespaces::PID) {
            join::join(self.process.as_fd(), Namespaces::PID)?;
        }
        Ok(())
    }

    /// Joins all but the process ids.
    pub fn join_others(&self) -> Result<()> {
        let others = self.namespaces.without(Namespaces::PID);
        if others != Namespaces::NONE {
            join::join(self.process.as_fd(), others)?;
        }
        Ok(())
    }

    /// A copy of its `/dev/shm`, if its shared memory is joined, attached nowhere.
    ///
    /// A mount can be copied only from inside its mount namespace, so this process, which must have one thread, goes
    /// there and comes back. The container may have made anything of its `/dev/shm`: links are not followed.
    pub fn shared_memory(&self) -> Result<Option<OwnedFd>> {
        if !self.namespaces.contains(Namespaces::IPC) {
            return Ok(None);
        }
        let open = |path: &str| {
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| Error::file("open", Path::new(path), errno))
        };
        let home = open("/proc/self/ns/mnt")?;
        join::join(self.process.as_fd(), Namespaces::MOUNT)?;
        let copied = open("/").and_then(|root| {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let shm = Rooted::new(&root).open_without_links(Path::new("/dev/shm"), flags)?;
            Ok(mount::clone_tree_at(shm.as_fd(), Path::new(""), false)?)
        });
        join::join(home.as_fd(), Namespaces::MOUNT)?;
        copied.map(Some)
    }
}

impl AsFd for Neighbour {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.process.as_fd()
    }
}

fn has_ended(process: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let ready =
        poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look at a process", errno))?;
    Ok(ready > 0)
}
