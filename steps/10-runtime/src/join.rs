//! Namespaces that exist already, and that a container joins.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use chroot::mount;
use chroot::resolve::Rooted;
use pid_namespace::{Namespaces, join};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// Where shared memory is.
pub(crate) const SHM: &str = "/dev/shm";

/// A process and which of its namespaces are joined, or one namespace.
#[derive(Debug)]
pub struct Join {
    process: OwnedFd,
    namespaces: Namespaces,
}

impl Join {
    /// `namespaces` of the process behind `process`, a pidfd.
    pub fn new(process: OwnedFd, namespaces: Namespaces) -> Self {
        Self { process, namespaces }
    }

    /// The namespace of one kind that `path` leads to, such as `/run/netns/x` or `/proc/1/ns/net`.
    ///
    /// # Errors
    /// What the kernel refuses; and the mount namespace that this process is in, whose root would be replaced.
    pub fn open(kind: Namespaces, path: &Path) -> Result<Self> {
        let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::file("open the namespace", path, errno))?;
        if kind == Namespaces::MOUNT {
            let inode = |stat: rustix::io::Result<rustix::fs::Stat>| {
                stat.map(|stat| stat.st_ino).map_err(|errno| Error::file("look at", path, errno))
            };
            if inode(rustix::fs::fstat(&namespace))? == inode(rustix::fs::stat("/proc/self/ns/mnt"))? {
                return Err(Error::new(format!(
                    "cannot join the mount namespace {}: it is this process's own, and its root would be replaced",
                    path.display()
                )));
            }
        }
        Ok(Self::new(namespace, kind))
    }

    /// Which are joined.
    pub fn namespaces(&self) -> Namespaces {
        self.namespaces
    }

    /// Joins all but the process ids, in which one has to begin.
    pub(crate) fn join_others(&self) -> Result<()> {
        let others = self.namespaces.without(Namespaces::PID);
        if others != Namespaces::NONE {
            join::join(self.as_fd(), others)?;
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
        join::join(self.as_fd(), Namespaces::MOUNT)?;
        let copied = open("/").and_then(|root| {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let shm = Rooted::new(&root).open_without_links(Path::new(SHM), flags)?;
            Ok(mount::clone_tree_at(shm.as_fd(), Path::new(""), false)?)
        });
        join::join(home.as_fd(), Namespaces::MOUNT)?;
        copied.map(Some)
    }
}

impl AsFd for Join {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
