//! Owner, mode, times and extended attributes: how they are read off a file and put on one.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::times::Time;

/// Owner, permissions, time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits with setuid, setgid and sticky: 12 bits.
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(OsString, Vec<u8>)>,
}

/// Whether an attribute is overlayfs' own. Such names never travel in archives: out of one, `trusted.overlay.redirect`
/// would let a layer point at files of other layers.
pub(crate) fn is_overlay_xattr(name: &OsStr) -> bool {
    [&b"trusted.overlay."[..], b"user.overlay."].iter().any(|own| name.as_bytes().starts_with(own))
}

impl Metadata {
    /// The metadata of anything that is open, were it only by `O_PATH`; overlay's own attributes left out.
    pub(crate) fn of(file: BorrowedFd<'_>, path: &Path) -> Result<Self> {
        let stat = rustix::fs::fstat(file).map_err(Error::system("look at", path))?;
        Self::with_stat(file, &stat, path)
    }

    /// The same for a file whose `stat` is known.
    pub(crate) fn with_stat(file: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<Self> {
        let mut xattrs = Vec::new();
        for name in xattr_names(file).map_err(Error::system("list the extended attributes of", path))? {
            if is_overlay_xattr(&name) {
                continue;
            }
            let value = xattr(file, &name).map_err(Error::system("read the extended attributes of", path))?;
            // Another process may take an attribute away between the two calls.
            xattrs.extend(value.map(|value| (name, value)));
        }
        xattrs.sort();
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            xattrs,
        })
    }

    /// Applies everything to an open file or directory.
    ///
    /// The order matters: `chown` clears setuid and setgid (chown(2)) and drops file capabilities
    /// (capabilities(7)), so owner first, then mode, then attributes; and the times last.
    pub(crate) fn apply(&self, file: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let owner = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        rustix::fs::fchown(file, owner.0, owner.1).map_err(Error::system("set the owner of", path))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
            .map_err(Error::system("set the mode of", path))?;
        self.set_xattrs(path, |name, value| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
        rustix::fs::futimens(file, &self.mtime.stamps()).map_err(Error::system("set the times of", path))
    }

    /// The same for what cannot be opened: symlinks, devices, fifos.
    pub(crate) fn apply_at(
        &self,
        (parent, name): (BorrowedFd<'_>, &OsStr),
        path: &Path,
        symlink: bool,
    ) -> Result<()> {
        let owner = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, owner.0, owner.1, nofollow)
            .map_err(Error::system("set the owner of", path))?;
        if !symlink {
            // A symlink has no mode, and chmod would change its target's; what else is here was made by us just now.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(Error::system("set the mode of", path))?;
        }
        // There is no setxattr relative to a descriptor before Linux 6.13.
        self.set_xattrs(path, |attribute, value| {
            rustix::fs::lsetxattr(proc_path(parent).join(name), attribute, value, XattrFlags::empty())
        })?;
        rustix::fs::utimensat(parent, name, &self.mtime.stamps(), nofollow)
            .map_err(Error::system("set the times of", path))
    }

    fn set_xattrs(&self, path: &Path, set: impl Fn(&OsStr, &[u8]) -> rustix::io::Result<()>) -> Result<()> {
        for (name, value) in &self.xattrs {
            if is_overlay_xattr(name) {
                tracing::warn!("{}: left out {}, which belongs to overlayfs", path.display(), name.display());
                continue;
            }
            match set(name, value) {
                // As docker: a file system without this kind of attribute can still hold the file.
                Err(Errno::OPNOTSUPP) => {
                    tracing::warn!("{}: this file system cannot keep {}", path.display(), name.display());
                }
                result => result.map_err(Error::system("set the extended attributes of", path))?,
            }
        }
        Ok(())
    }
}

/// An open file as a path: what has no call of its own for a descriptor, or refuses one made by `O_PATH`, takes this.
pub(crate) fn proc_path(file: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The most that the kernel returns for one attribute or for all names (xattr(7), "Filesystem differences").
const XATTR_MAX: usize = 64 * 1024;

fn xattr_names(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    let path = proc_path(file);
    // Most files have none: ask for the length before making room.
    match rustix::fs::listxattr_query(&path) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        result => result?,
    };
    let mut names = Vec::with_capacity(XATTR_MAX);
    rustix::fs::listxattr(&path, rustix::buffer::spare_capacity(&mut names))?;
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsStr::from_bytes(name).to_owned()).collect())
}

/// One attribute of an open file, or `None` where it has none of that name.
pub(crate) fn xattr(file: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(XATTR_MAX);
    match rustix::fs::getxattr(proc_path(file), name, rustix::buffer::spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}
