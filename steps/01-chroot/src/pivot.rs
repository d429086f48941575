//! The change of root itself.

use std::os::fd::AsFd;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

use crate::error::{Error, Result};

/// Gives this process a mount namespace of its own: a copy of the mounts it had (`mount_namespaces(7)`).
pub fn private_mounts() -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|errno| Error::new("make", "a mount namespace", errno))
}

/// Stops mounts and unmounts from travelling between this namespace and the one it was copied from.
///
/// A new mount namespace copies the host's mounts *with* their peer groups, and systemd makes them all shared:
/// without this, every mount made for the container would appear on the host as well.
pub(crate) fn isolate_mounts() -> Result<()> {
    tracing::info!("make all mounts private: nothing mounted from here on shows on the host");
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| Error::new("make private", "the mounts of this namespace", errno))
}

/// Makes `root`, a mount in this namespace, the root of the namespace, and drops all others from it.
///
/// `pivot_root(".", ".")` stacks the old root on top of the new one at `/`, so that no directory inside the
/// image is needed to hold it (`pivot_root(2)`, "NOTES"); detaching what is then on top leaves the new root.
/// Afterwards the namespace holds no mount of the host's: there is nowhere to escape to, which is what tells
/// this from `chroot(2)`, where the old root is still there, one `..` away (`examples/escape.rs`).
pub(crate) fn pivot(root: &impl AsFd) -> Result<()> {
    tracing::info!("pivot_root: the new root becomes /, the host's tree is detached");
    rustix::process::fchdir(root).map_err(|errno| Error::new("enter", "the new root", errno))?;
    nix::unistd::pivot_root(".", ".").map_err(|errno| {
        Error::new("pivot_root to", "the new root", errno)
            .hint("the current root must not be the kernel's initial ramfs: use switch_root first")
    })?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH)
        .map_err(|errno| Error::new("detach", "the old root", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::new("enter", "/", errno))
}
