//! A look into a container, running or not.
//!
//! What runs in it may change every name in it at any time, and so nothing of it is ever reached by a path of the host's
//! (CVE-2018-15664), nor is any program of ours run among its files (CVE-2019-14271): there is a descriptor of its root,
//! and the kernel resolves paths below that one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use chroot::mount;
use nix::sched::{CloneFlags, unshare};
use pid_namespace::{Namespaces, join};
use rustix::fs::{Mode, OFlags};
use user_namespace::IdMaps;

use super::Engine;
use crate::container::{Container, Ids, MountKind, Status};
use crate::error::{Error, Result};
use crate::{neighbour, volumes};

/// How much of a container is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Its layers, with what is mounted in them.
    Everything,
    /// Its layers alone.
    Layers,
}

/// A container's files.
#[derive(Debug)]
pub struct View {
    root: OwnedFd,
    maps: Option<IdMaps>,
    /// The device of files that are stored under the ids that they have inside, if there is one: the layers of a container
    /// that does not run.
    stored: Option<u64>,
}

impl View {
    /// Its root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Who a file's owner is in the container. Ids that mean nothing there are left as they are.
    pub fn owners_inside(&self) -> impl Fn(u32, u32) -> (u32, u32) + Sync {
        move |uid, gid| match &self.maps {
            Some(maps) => (maps.uids.to_inside(uid).unwrap_or(uid), maps.gids.to_inside(gid).unwrap_or(gid)),
            None => (uid, gid),
        }
    }

    /// Who owns a file in `directory` that belongs to somebody in the container.
    pub fn owners_in(&self, directory: BorrowedFd<'_>) -> Result<impl Fn(u32, u32) -> (u32, u32) + Sync> {
        let device = device(directory)?;
        let maps = self.maps.as_ref().filter(|_| self.stored != Some(device));
        Ok(move |uid, gid| match maps {
            Some(maps) => {
                (maps.uids.to_outside(uid).unwrap_or(uid), maps.gids.to_outside(gid).unwrap_or(gid))
            }
            None => (uid, gid),
        })
    }

    /// Calls `make`, which makes files in it, as somebody who can: where owners are shown as others, the host's root is
    /// nobody.
    pub fn with_files_of_root<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.maps {
            Some(maps) if self.stored.is_none() => {
                let (uid, gid) = maps.root()?;
                user_namespace::overlay::with_files_of(uid, gid, make)?
            }
            _ => make(),
        }
    }

    /// Whether `directory` is part of the layers, and not of something that is mounted.
    pub fn is_layers(&self, directory: BorrowedFd<'_>) -> Result<bool> {
        Ok(device(directory)? == device(self.root.as_fd())?)
    }
}

fn device(file: BorrowedFd<'_>) -> Result<u64> {
    let stat = rustix::fs::fstat(file).map_err(|errno| Error::kernel("look at a directory", errno))?;
    Ok(stat.st_dev)
}

impl Engine {
    /// Shows a container's files to `work`. One that does not run cannot be started meanwhile.
    pub fn with_view<T: Send>(
        &self,
        container: &Container,
        extent: Extent,
        work: impl FnOnce(&View) -> Result<T> + Send,
    ) -> Result<T> {
        loop {
            match self.state(container)?.status {
                Status::Running | Status::Paused => {
                    if let Some(view) = self.running(container, extent)? {
                        return work(&view);
                    }
                }
                Status::Restarting => {
                    return Err(Error::new(format!(
                        "Container {} is restarting, wait until the container is running",
                        container.id
                    )));
                }
                Status::Created | Status::Exited => {
                    if let Some(_held) = self.hold_resting(container)? {
                        return self.with_resting(container, extent, work);
                    }
                }
            }
        }
    }

    /// A running container's files; `None` if it has ended.
    fn running(&self, container: &Container, extent: Extent) -> Result<Option<View>> {
        let Some(shim) = self.connect(container)? else { return Ok(None) };
        let state = self.state(container)?;
        let root = match extent {
            Extent::Everything => neighbour::root(container, &state, shim.peer()?)?,
            Extent::Layers => {
                let process = neighbour::find(container, &state, shim.peer()?, Namespaces::MOUNT)?;
                bare_root(process.as_fd())?
            }
        };
        let maps = container.ids.as_ref().map(Ids::maps).transpose()?;
        Ok(Some(View { root, maps, stored: None }))
    }

    /// The files of a container that does not run, and that we hold: in mounts that nobody else sees, and that end with
    /// the thread that makes them.
    fn with_resting<T: Send>(
        &self,
        container: &Container,
        extent: Extent,
        work: impl FnOnce(&View) -> Result<T> + Send,
    ) -> Result<T> {
        let launch = self.launch(container)?;
        let base = launch.plan.base;
        // Its memory is made when it starts, and so are the kernel's file systems.
        let mut plan = chroot::Plan { readonly: launch.plan.root.readonly, ..chroot::Plan::default() };
        if extent == Extent::Everything {
            let of_the_host = |mount: &chroot::Mount| {
                let mut own = container.mounts.iter().filter(|own| own.kind != MountKind::Tmpfs);
                own.any(|own| own.destination == mount.target)
            };
            plan.mounts = launch.plan.root.mounts.into_iter().filter(of_the_host).collect();
            for mount in &mut plan.mounts {
                // Here is no cgroup in the way.
                mount.finer.given = None;
                volumes::look_up(mount)?;
            }
        }
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS)
                .map_err(|errno| Error::kernel("make a mount namespace", errno))?;
            let root = base.mount()?;
            chroot::build(&root, &launch.plan.stage, &plan, &[])?;
            let stored = Some(device(root.as_fd())?);
            let maps = container.ids.as_ref().map(Ids::maps).transpose()?;
            work(&View { root, maps, stored })
        })
    }
}

/// A copy of the root of `process`'s mount namespace, attached nowhere, without what is mounted in it.
fn bare_root(process: BorrowedFd<'_>) -> Result<OwnedFd> {
    // A mount can be copied only from inside its mount namespace, and there /proc is another: so somebody goes there for
    // us, and does not come back.
    on_a_thread(|| {
        // A thread shares its root with the others, and could not change it alone (setns(2)).
        unshare(CloneFlags::CLONE_FS).map_err(|errno| Error::kernel("take a root of its own", errno))?;
        join::join(process, Namespaces::MOUNT)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty())
            .map_err(|errno| Error::file("open", Path::new("/"), errno))?;
        Ok(mount::clone_tree_at(root.as_fd(), Path::new(""), false)?)
    })
}

/// Does what changes the caller's namespaces.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
