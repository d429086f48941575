//! An overlay for a container whose root is not the host's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use chroot::{Error as KernelError, mount};
use nix::unistd::{Gid, Uid};
use overlay_layers::{Overlay, Upper};

use crate::error::{Error, Result};
use crate::holder::UserNamespace;
use crate::idmapped::shift;
use crate::scaffold::Scaffold;

/// Mounts `overlay` detached, like [`Overlay::mount`], with everything in it shown under the owners that ids have
/// outside of `userns`. On the disk nothing changes: the layers stay shared with containers of any map, and what this
/// container writes into the upper directory is stored under the ids that it has inside, so that [`overlay_layers`]
/// makes a layer of it as of any other.
///
/// Each lower is mapped, and so is the directory that holds the upper and the work directory: overlayfs wants those two
/// on one mount, so they must lie in one directory. The overlay itself belongs to this process's user namespace, the
/// host's, and so keeps its marks in `trusted.overlay.*`, out of the container's reach.
///
/// Needs Linux 5.19. Before 6.2 such an overlay has no POSIX ACLs.
///
/// # Errors
/// What the kernel refuses, upper directories that do not lie side by side, and a map without 0.
pub fn shifted_overlay(
    overlay: &Overlay,
    userns: &UserNamespace,
    scaffold: &mut Scaffold,
) -> Result<OwnedFd> {
    tracing::info!("map the owners in {} layers of an overlay", overlay.lowers.len());
    let mut show = |path: &Path| -> Result<PathBuf> {
        let tree = mount::clone_tree(path, false)?;
        shift(&tree, userns.as_fd(), false)?;
        scaffold.show(&tree)
    };
    let lowers = overlay.lowers.iter().map(|lower| show(lower)).collect::<Result<_>>()?;
    let upper = match &overlay.upper {
        None => None,
        Some(Upper { upper, work }) => {
            let (directory, [upper, work]) = side_by_side(upper, work)?;
            let shown = show(directory)?;
            Some(Upper { upper: shown.join(upper), work: shown.join(work) })
        }
    };
    let (uid, gid) = userns.maps().root()?;
    let overlay = Overlay { lowers, upper, ..overlay.clone() };
    let tree = with_files_of(uid, gid, || overlay.mount())??;
    if overlay.upper.is_some() {
        refuse_read_only(&tree)?;
    }
    Ok(tree)
}

/// When overlayfs cannot work in its work directory, it says so in the kernel's log, and mounts read-only.
fn refuse_read_only(tree: &OwnedFd) -> Result<()> {
    let state = rustix::fs::fstatvfs(tree)
        .map_err(|errno| KernelError::new("look at", "the overlay's mount", errno))?;
    if state.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(Error::Overlay("it can only be read (`dmesg` has the kernel's reason)".to_owned()));
    }
    Ok(())
}

/// Calls `action` as somebody whose new files belong to `uid` and `gid`, with all the privileges of before.
///
/// Overlayfs works with the credentials of who mounted it: it makes its work directory, whiteouts and copies as that
/// user. The host's root has no id on an id-mapped mount where it is not mapped, and could not make one file there
/// (EOVERFLOW; overlayfs then gives up writing, and the mount is read-only). The user that is meant is the container's
/// root; `setfsuid(2)` changes the owner of new files, and nothing else.
///
/// # Errors
/// What the kernel refuses.
pub fn with_files_of<T>(uid: u32, gid: u32, action: impl FnOnce() -> T) -> Result<T> {
    let before = rustix::thread::capabilities(None)
        .map_err(|errno| KernelError::new("look at", "this process's capabilities", errno))?;
    let group = nix::unistd::setfsgid(Gid::from_raw(gid));
    let user = nix::unistd::setfsuid(Uid::from_raw(uid));
    // A change from 0 to others takes CAP_DAC_OVERRIDE and its like out of the effective set (capabilities(7), "Effect
    // of user ID changes on capabilities"), but not out of the permitted one.
    let kept = rustix::thread::set_capabilities(None, before);
    let done = kept.map(|()| action());
    nix::unistd::setfsuid(user);
    nix::unistd::setfsgid(group);
    Ok(done.map_err(|errno| KernelError::new("keep", "capabilities across a change of user", errno))?)
}

/// The directory that holds both, and their names in it.
fn side_by_side<'a>(upper: &'a Path, work: &'a Path) -> Result<(&'a Path, [&'a Path; 2])> {
    match (upper.parent(), upper.file_name(), work.parent(), work.file_name()) {
        (Some(directory), Some(upper), Some(other), Some(work)) if directory == other => {
            Ok((directory, [Path::new(upper), Path::new(work)]))
        }
        _ => Err(Error::Overlay(format!(
            "{} and {} must lie in one directory",
            upper.display(),
            work.display()
        ))),
    }
}
