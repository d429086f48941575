//! What a new file system takes over from the directory that it is mounted on.
//!
//! The directory is an image's, and hostile: everything is opened below a descriptor, without links. Only directories,
//! files and links are taken over.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};

use crate::error::{Error, Result};
use crate::resolve::Rooted;

/// Copies what is in the directory `path` of `root` into `tree`, with its owner and mode.
pub(crate) fn contents(root: Rooted<'_>, path: &Path, tree: &OwnedFd) -> Result<()> {
    let failed = |errno| Error::new("copy into a new file system", path.display(), errno);
    let from = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let to = reopen(tree.as_fd()).map_err(failed)?;
    directory(&from, &to).map_err(failed)
}

/// Gives `tree` the mode of `covered`, the directory at `path` that it is to be mounted on.
pub(crate) fn mode(covered: &OwnedFd, path: &Path, tree: &OwnedFd) -> Result<()> {
    let copy = || {
        rustix::fs::fchmod(reopen(tree.as_fd())?, Mode::from_raw_mode(rustix::fs::fstat(covered)?.st_mode))
    };
    copy().map_err(|errno| Error::new("give a new file system the mode of", path.display(), errno))
}

/// A descriptor to read and change a directory by, from one of a mount.
fn reopen(tree: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(tree, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn directory(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            copy(from, to, name)?;
        }
    }
    own(to, &rustix::fs::fstat(from)?)
}

fn copy(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let (read, write) = (OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::from_raw_mode(0o700));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, write)?;
            let open = |fd| rustix::fs::openat(fd, name, read | OFlags::DIRECTORY, Mode::empty());
            directory(&open(from.as_fd())?, &open(to.as_fd())?)
        }
        FileType::RegularFile => {
            let source = rustix::fs::openat(from, name, read, Mode::empty())?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let target = rustix::fs::openat(to, name, flags, write)?;
            let (mut source, mut target) = (File::from(source), File::from(target));
            std::io::copy(&mut source, &mut target)
                .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
            own(&target.into(), &stat)
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        }
        _ => Ok(()),
    }
}

/// Gives a copy its owner, and then its mode, which a change of owner would take bits from.
fn own(copy: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchown(copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o7777))
}
