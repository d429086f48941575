//! Mounts of a test's own, which end with it.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Gives this thread, and what it starts, mounts of its own.
pub fn own() {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("root may make a mount namespace");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
}

/// Keeps what comes into a folder in memory, for this thread and what it starts.
pub fn in_memory(folder: &Path) {
    own();
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .expect("a mount of our own");
}

/// Gives that memory back as soon as nobody uses it.
pub fn forget(folder: &Path) {
    umount2(folder, MntFlags::MNT_DETACH).expect("a mount of our own");
}
