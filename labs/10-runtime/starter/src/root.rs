//! A root for one process, as lab 1 made it. Nothing is to be written here.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, pivot_root};

/// The devices that every program counts on, by name and number (`mem(4)`, `tty(4)`).
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Makes `rootfs` the root of this process, which must be in a mount namespace of its own.
pub fn enter(rootfs: &Path) -> nix::Result<()> {
    isolate_mounts()?;
    attach(rootfs)?;
    furnish(rootfs)?;
    change_root(rootfs)
}

fn isolate_mounts() -> nix::Result<()> {
    mount(None::<&Path>, "/", None::<&Path>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&Path>)
}

fn attach(rootfs: &Path) -> nix::Result<()> {
    mount(Some(rootfs), rootfs, None::<&Path>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&Path>)
}

fn furnish(rootfs: &Path) -> nix::Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &rootfs.join("proc"), Some("proc"), safe, None::<&Path>)?;
    let dev = rootfs.join("dev");
    mount(Some("tmpfs"), &dev, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755,size=64k"))?;
    for (name, major, minor) in DEVICES {
        mknod(&dev.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))?;
    }
    Ok(())
}

fn change_root(rootfs: &Path) -> nix::Result<()> {
    chdir(rootfs)?;
    // Both at the same place: the old root lies on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
