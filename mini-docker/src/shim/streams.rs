//! The descriptors between a shim and its container.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use runtime::{Streams, console};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

use crate::error::{Error, Result};
use crate::logs::Stream;

pub(super) fn open_null(flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(|errno| Error::kernel("open /dev/null", errno))
}

/// The shim's ends of a container's streams.
pub(super) struct Ends {
    pub(super) input: Option<OwnedFd>,
    pub(super) outputs: Vec<(Stream, OwnedFd)>,
    pub(super) terminal: Option<OwnedFd>,
}

/// Ends that are there, or will come through a socket.
pub(super) enum Pending {
    Here(Ends),
    Coming(UnixStream),
}

impl Pending {
    pub(super) fn take(self) -> Result<Ends> {
        match self {
            Self::Here(ends) => Ok(ends),
            Self::Coming(socket) => {
                let Some(master) = console::receive(&socket)? else {
                    // The child failed before it came to this; its report says why.
                    return Ok(Ends { input: None, outputs: Vec::new(), terminal: None });
                };
                set_nonblocking(&master)?;
                let copy = || master.try_clone().map_err(|error| Error::kernel("copy a descriptor", error));
                Ok(Ends {
                    input: Some(copy()?),
                    outputs: vec![(Stream::Stdout, copy()?)],
                    terminal: Some(master),
                })
            }
        }
    }
}

pub(super) fn terminal_pair(size: Option<(u16, u16)>) -> Result<(Streams, Pending)> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    Ok((Streams::Terminal { socket: theirs, size }, Pending::Coming(ours)))
}

/// Pipes; the child's ends belong to `owner`, if that is not the host's root.
pub(super) fn pipes(open_stdin: bool, owner: Option<(u32, u32)>) -> Result<(Streams, Pending)> {
    let (stdin, input) = if open_stdin {
        let (read, write) = pipe()?;
        set_nonblocking(&write)?;
        (read, Some(write))
    } else {
        (open_null(OFlags::RDONLY)?, None)
    };
    let give = |end: &OwnedFd| match owner {
        None => Ok(()),
        Some((uid, gid)) => {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(end, Some(uid), Some(gid))
                .map_err(|errno| Error::kernel("give a standard stream to the container", errno))
        }
    };
    if open_stdin {
        give(&stdin)?;
    }
    let (output, stdout) = pipe()?;
    let (error_output, stderr) = pipe()?;
    give(&stdout)?;
    give(&stderr)?;
    set_nonblocking(&output)?;
    set_nonblocking(&error_output)?;
    let outputs = vec![(Stream::Stdout, output), (Stream::Stderr, error_output)];
    Ok((Streams::Pipes([stdin, stdout, stderr]), Pending::Here(Ends { input, outputs, terminal: None })))
}

/// A pipe: the end to read from, the end to write to.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::kernel("make a pipe", errno))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(|errno| Error::kernel("set up a pipe", errno))
}
