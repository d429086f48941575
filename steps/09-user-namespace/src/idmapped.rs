//! Files shown under other owners, without touching one of them.
//!
//! The layers of an image belong to the ids that its maker meant: 0, 33, 999. In a container whose 0 is 100000 outside,
//! all of them would belong to nobody. Giving the container copies that belong to 100000 and up is what engines did for
//! years; it takes the time and the disk of every layer again, for every map. An *id-mapped mount* (Linux 5.12,
//! `mount_setattr(2)`) does the arithmetic on the way instead: the owner 0 on the disk is looked up *inside* a user
//! namespace, and shown as what it is outside.
//!
//! Which file systems can do it: ext4 and fat from 5.12, xfs from 5.13, btrfs from 5.15, overlayfs' layers from 5.19,
//! tmpfs from 6.3. An overlay's own mount cannot be mapped, only its layers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use chroot::mount;

use crate::error::Result;

/// Shows the files of `tree` under the owners that their ids stand for outside of `userns`; with `recursive`, also those
/// of what is mounted below it. New files get the owners back: what a process with the id 100000 makes belongs to 0.
///
/// `tree` must be a copy that is attached nowhere yet ([`mount::clone_tree`]); nobody has it open then.
///
/// # Errors
/// What the kernel refuses.
pub fn shift(tree: &OwnedFd, userns: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    Ok(mount::map_ids(tree, userns.as_fd(), recursive)?)
}
