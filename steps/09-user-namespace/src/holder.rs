//! A user namespace in the hand, without a process in it.
//!
//! An id-mapped mount ([`crate::shift`]) takes its map from a user namespace, and that must exist first. A namespace
//! lives as long as something refers to it: a process, a descriptor, or such a mount.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use chroot::Error as KernelError;
use nix::errno::Errno;
use nix::unistd::Pid;
use pid_namespace::Namespaces;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::assign::assign;
use crate::child::enter;
use crate::error::{Error, Result};
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
        let made = assign(child.pid(), maps).and_then(|()| open(&of_process(child.pid())));
        drop(opener);
        child.wait()?;
        Ok(Self { fd: made?, maps: maps.clone() })
    }

    /// The one that `process` is in.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn of(process: Pid) -> Result<Self> {
        let fd = open(&of_process(process))?;
        Ok(Self { fd, maps: IdMaps::of_process(Path::new(&format!("/proc/{process}")))? })
    }

    /// The one that `path` leads to, such as `/run/user-namespace` or `/proc/1/ns/user`. Its maps are those of whoever is in
    /// it: a child goes in, and ends when they are known.
    ///
    /// # Errors
    /// What the kernel refuses: EINVAL for the namespace that this process is in.
    pub fn at(path: &Path) -> Result<Self> {
        let fd = open(path)?;
        let (ours, mut theirs) =
            UnixStream::pair().map_err(|error| KernelError::new("make", "a pair of sockets", error))?;
        let mut ours = Some(ours);
        let child = pid_namespace::spawn(Namespaces::NONE, None, || {
            // The child's copy: with it gone, the connection ends when this process is done.
            ours.take();
            let word = enter(fd.as_fd(), || Ok(())).map_or_else(|error| error.errno() as u8, |()| 0);
            u8::from(theirs.write_all(&[word]).and_then(|()| theirs.read(&mut [0])).is_err())
        })?;
        let mut word = [0];
        let heard = ours.as_mut().expect("only the child has taken it").read_exact(&mut word);
        let maps = match (heard, word) {
            (Err(error), _) => Err(KernelError::new("hear from", "a child", error).into()),
            (Ok(()), [0]) => {
                IdMaps::of_process(Path::new(&format!("/proc/{}", child.pid()))).map_err(|error| {
                    Error::Outside(format!("cannot join {}: {error} (set its maps first)", path.display()))
                })
            }
            (Ok(()), [errno]) => {
                let error = KernelError::new("join", path.display(), Errno::from_raw(errno.into()));
                Err(error.hint("it must be a user namespace, and not the one that this process is in").into())
            }
        };
        drop(ours);
        child.wait()?;
        Ok(Self { fd, maps: maps? })
    }

    /// Its maps.
    pub fn maps(&self) -> &IdMaps {
        &self.maps
    }
}

fn of_process(process: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/ns/user"))
}

fn open(path: &Path) -> Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| KernelError::new("open", path.display(), errno))?)
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
