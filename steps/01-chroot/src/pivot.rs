//! The change of root itself.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use rustix::fs::{AtFlags, StatxFlags};

use crate::error::{Error, Result};
use crate::mount;

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

/// Makes `root`, a mount in this namespace, the root of this process by `chroot(2)`, and covers the old one with it.
///
/// The kernel's first ramfs cannot be pivoted away from, since nothing is below it (`pivot_root(2)`); a host that runs from
/// there has no other way. The host's mounts stay in the namespace, below the new root: a process that may `chroot(2)` finds
/// a way back to them, which is why this is for such hosts only.
pub(crate) fn move_root(root: &impl AsFd) -> Result<()> {
    tracing::info!("the new root covers /, and chroot goes there: the host's tree stays below");
    let failed = |errno| Error::new("look at", "the new root", errno);
    let stat = rustix::fs::statx(root, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(failed)?;
    let mountinfo = mount::mountinfo()?;
    let mounts: Vec<Known> = mountinfo.lines().filter_map(Known::parse).collect();
    for place in revealing(&mounts, stat.stx_mnt_id) {
        hide(&place)?;
    }
    rustix::process::fchdir(root).map_err(|errno| Error::new("enter", "the new root", errno))?;
    let covers = |mount: &Known| mount.id == stat.stx_mnt_id && mount.place == Path::new("/");
    if !mounts.iter().any(covers) {
        nix::mount::mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .map_err(|errno| Error::new("move to /", "the new root", errno))?;
    }
    nix::unistd::chroot(".").map_err(|errno| Error::new("chroot to", "the new root", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::new("enter", "/", errno))
}

/// Takes a mount away, or where that is not allowed, covers it.
fn hide(place: &Path) -> Result<()> {
    match nix::mount::umount2(place, MntFlags::MNT_DETACH) {
        // Gone together with one around it.
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        // A user namespace may not take away what its maker has mounted (mount_namespaces(7)).
        Err(Errno::EINVAL | Errno::EPERM) => {
            nix::mount::mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                .map_err(|errno| Error::new("cover", place.display(), errno))
        }
        Err(errno) => Err(Error::new("detach", place.display(), errno)),
    }
}

/// A line of mountinfo: `36 35 98:0 /root /mount/point options - type source`.
struct Known {
    id: u64,
    parent: u64,
    place: PathBuf,
    is_whole_kernel_filesystem: bool,
}

impl Known {
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (root, place) = (fields.nth(1)?, fields.next()?);
        let kind = filesystem.split(' ').next()?;
        let is_whole_kernel_filesystem = root == "/" && matches!(kind, "proc" | "sysfs");
        Some(Self { id, parent, place: unescape(place), is_whole_kernel_filesystem })
    }
}

/// Where procfs and sysfs are mounted outside the mount `root`. As long as one is in view that nothing covers a part of, the
/// kernel lets who has privileges over the namespace mount another (`mount_too_revealing` in its `fs/namespace.c`), and so
/// see what the container has covered.
fn revealing(mounts: &[Known], root: u64) -> Vec<PathBuf> {
    let mut inside = vec![root];
    // What is mounted in a mount may stand before it.
    while let Some(mount) =
        mounts.iter().find(|mount| inside.contains(&mount.parent) && !inside.contains(&mount.id))
    {
        inside.push(mount.id);
    }
    let outside =
        mounts.iter().filter(|mount| mount.is_whole_kernel_filesystem && !inside.contains(&mount.id));
    outside.map(|mount| mount.place.clone()).collect()
}

/// The kernel writes white space and backslashes in three octal digits (`proc_pid_mountinfo(5)`).
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let digits =
            others.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &others[3..] } else { others };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_file_systems_that_the_host_has() {
        let mountinfo = "22 1 0:20 / /proc rw - proc proc rw\n23 1 0:21 / /sys rw - sysfs sysfs rw\n\
            24 1 0:20 /sys /mnt rw - proc proc rw\n25 1 0:22 / /a\\040place/proc rw - proc proc rw\n\
            1 0 0:1 / / rw - rootfs rootfs rw\n31 30 0:24 / /root/proc rw - proc proc rw\n\
            32 31 0:25 / /root/proc/x rw - sysfs sysfs rw\n30 1 0:23 / /root rw - ext4 /dev/sda rw\n";
        let mounts: Vec<Known> = mountinfo.lines().filter_map(Known::parse).collect();
        assert_eq!(mounts.len(), 8);
        assert_eq!(revealing(&mounts, 30), ["/proc", "/sys", "/a place/proc"].map(PathBuf::from));
    }
}
