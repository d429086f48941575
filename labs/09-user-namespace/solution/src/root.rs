//! A root for one process, as lab 1 made it, and within what root of a user namespace may do: it makes no devices, but
//! binds the host's. Nothing is to be written here.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, fchdir, pivot_root};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// The devices that every program counts on.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Makes the working directory the root of this process, which must be in a mount namespace of its own.
pub fn enter() -> io::Result<()> {
    mount(None::<&Path>, "/", None::<&Path>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&Path>)?;
    let tree = attach()?;
    fchdir(&tree)?;
    furnish()?;
    // Both at the same place: the old root lies on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

/// Makes a mount of the working directory, by no path but ".".
fn attach() -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, ".", flags)?;
    move_mount(&tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(tree)
}

fn furnish() -> io::Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), safe, None::<&Path>)?;
    mount(Some("tmpfs"), "dev", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755,size=64k"))?;
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), Path::new("dev").join(name));
        File::create(&to)?;
        mount(Some(&from), &to, None::<&Path>, MsFlags::MS_BIND, None::<&Path>)?;
    }
    Ok(())
}
