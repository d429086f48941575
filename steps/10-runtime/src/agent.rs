//! Whoever decides about system calls in a container's place (`seccomp_unotify(2)`), and how that one gets to know of it.
//!
//! The kernel makes the descriptor of a filter's listener when the filter is installed: in the child, which from then on may
//! wait for an answer at every call. So nothing else is asked of it than to send the descriptor off, through a connection
//! that its parent has made beforehand. That takes `sendmsg(2)` and `shutdown(2)`, which is why no profile may have a listener
//! for those.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use seccomp::profile::Listener;
use serde::Serialize;
use serde_json::Value;

use crate::confinement::Confinement;
use crate::error::{Error, Result};
use crate::hooks::OCI_VERSION;
use crate::own_program;

/// What the listener's descriptor is called in the message that it comes with.
const DESCRIPTOR: &str = "seccompFd";

/// A connection to the agent, and what it is told.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: UnixStream,
    metadata: String,
    /// The process that is spoken of, as those outside know it.
    pid: i32,
}

/// runtime-spec, `config-linux.md`, "The Container Process State".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: Value,
}

impl Agent {
    /// Connects to the agent that `confinement` names, if its profile asks one.
    ///
    /// # Errors
    /// If nobody listens there.
    pub(crate) fn of(confinement: &Confinement) -> Result<Option<Self>> {
        let Some(Listener { path, metadata }) = confinement.listener() else { return Ok(None) };
        let socket = UnixStream::connect(path)
            .map_err(|error| Error::file("connect to the seccomp listener", path, error))?;
        Ok(Some(Self { socket, metadata: metadata.clone(), pid: 0 }))
    }

    /// Lets it speak of this process, by the number that those outside know. To be called while the host's `/proc` is
    /// there, whose `self` says that to a process in a pid namespace of its own, too.
    pub(crate) fn introduce(&mut self) -> Result<()> {
        let path = Path::new("/proc/self");
        let link = std::fs::read_link(path).map_err(|error| Error::file("read", path, error))?;
        let number = link.to_str().and_then(|number| number.parse().ok());
        self.pid = number.ok_or_else(|| Error::new("/proc/self does not lead to a process"))?;
        Ok(())
    }

    /// What the agent is told of this process, which is in the container with this `state`.
    pub(crate) fn message(&self, state: &str) -> String {
        let Self { metadata, pid, .. } = self;
        let state: Value = serde_json::from_str(state).expect("it was made as JSON");
        let message =
            ProcessState { oci_version: OCI_VERSION, fds: [DESCRIPTOR], pid: *pid, metadata, state };
        serde_json::to_string(&message).expect("texts and numbers are always JSON")
    }

    /// Sends the descriptor `listener`, and whose it is. Until that is done no memory may be asked for, which can take a
    /// system call that the agent would be asked about.
    pub(crate) fn hand_over(&self, listener: &OwnedFd, message: &str) -> Result<()> {
        own_program::send(&self.socket, message.as_bytes(), &[listener.as_fd()])?;
        // Whoever reads all of it reads to an end.
        self.socket
            .shutdown(Shutdown::Write)
            .map_err(|error| Error::kernel("finish with the seccomp listener", error))
    }
}

impl AsFd for Agent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
