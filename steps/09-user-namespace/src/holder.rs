//! A user namespace in the hand, without a process in it.
//!
//! An id-mapped mount ([`crate::shift`]) takes its map from a user namespace, and that must exist first. A namespace
//! lives as long as something refers to it: a process, a descriptor, or such a mount.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use chroot::Error as KernelError;
use nix::unistd::Pid;
use pid_namespace::Namespaces;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::assign::assign;
use crate::error::Result;
use crate::map::IdMaps;

/// A user namespace, held by a descriptor.
#[derive(Debug)]
pub struct UserNamespace {
    fd: OwnedFd,
    maps: IdMaps,
}

impl UserNamespace {
    /// A new one with `maps`. A child is started in it, and ends once there is a descriptor.
    ///
    /// # Errors
    /// As [`pid_namespace::spawn`], which wants a process with a single thread, and [`assign`].
    pub fn with(maps: &IdMaps) -> Result<Self> {
        let (gate, opener) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| KernelError::new("make", "a pipe", errno))?;
        let mut opener = Some(opener);
        let child = pid_namespace::spawn(Namespaces::USER, None, || {
            // The child's copy: with it gone, the pipe ends when this process does.
            opener.take();
            u8::from(std::fs::File::from(gate).read(&mut [0]).is_err())
        })?;
        let made = assign(child.pid(), maps).and_then(|()| open(child.pid()));
        drop(opener);
        child.wait()?;
        Ok(Self { fd: made?, maps: maps.clone() })
    }

    /// The one that `process` is in.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn of(process: Pid) -> Result<Self> {
        let fd = open(process)?;
        Ok(Self { fd, maps: IdMaps::of_process(Path::new(&format!("/proc/{process}")))? })
    }

    /// Its maps.
    pub fn maps(&self) -> &IdMaps {
        &self.maps
    }
}

fn open(process: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{process}/ns/user");
    Ok(rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| KernelError::new("open", path, errno))?)
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
