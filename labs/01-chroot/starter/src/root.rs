//! A root for one process. The four functions are called in this order.

use std::path::Path;

use nix::errno::Errno;

/// Gives this process a mount namespace of its own, in which no mount or unmount travels to or from the host.
pub fn own_mounts() -> nix::Result<()> {
    // Yours: unshare(2), and mount(2) with MS_REC and MS_PRIVATE. ENOSYS stands for "not written yet".
    Err(Errno::ENOSYS)
}

/// Makes `rootfs` a mount: only a mount can become a root.
pub fn attach(_rootfs: &Path) -> nix::Result<()> {
    // Yours: mount(2) with MS_BIND.
    Err(Errno::ENOSYS)
}

/// Gives the root below `rootfs` a /proc, and a /dev with null, zero, full, random, urandom and tty.
pub fn furnish(_rootfs: &Path) -> nix::Result<()> {
    // Yours: mount(2) of a proc and a tmpfs, and mknod(2), or binds of the host's devices.
    Err(Errno::ENOSYS)
}

/// Makes the mount at `rootfs` the root, and lets go of the host's tree.
pub fn change_root(_rootfs: &Path) -> nix::Result<()> {
    // Yours: pivot_root(2), umount2(2) with MNT_DETACH, and chdir(2).
    Err(Errno::ENOSYS)
}
