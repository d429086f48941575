//! Unpacks one layer's tar into a directory that overlayfs can use.
//!
//! An image layer is a tar of what changed. What it removed stands in it as *whiteouts*: empty files named
//! `.wh.NAME`, or `.wh..wh..opq` for "nothing below this directory counts" (OCI image spec, "Whiteouts"; the names come
//! from AUFS). Overlayfs has its own marks for the same: a character device 0/0, and an attribute on the directory.

use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::entries::{Entries, Entry, Kind};
use crate::error::{Error, Result};
use crate::tree::{Marks, Tree, member_path};

/// The prefix of a whiteout's name.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The name of the file that makes its directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of other files that AUFS kept for itself; they are no part of the layer.
const AUFS: &[u8] = b".wh..wh.";

/// What unpacking found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The members of the archive.
    pub members: u64,
    /// Bytes that the files and symlinks hold, counted once however many hard links there are.
    pub size: u64,
    /// Directories that the archive has no member for, sorted; the empty path is the layer's root. They were made with
    /// mode 0755, owner 0 and time 0.
    pub implied: Vec<PathBuf>,
}

/// Unpacks an uncompressed tar into an empty directory, and reads the stream to its very end.
///
/// Owners, modes with setuid bits, times, extended attributes, hard links, sparse files and device nodes are kept, so
/// the caller must be root of the user namespace that owns the file system.
///
/// # Errors
/// Archives that are damaged or that try to leave the directory, and whatever the kernel refuses. What was unpacked
/// until then stays; the caller removes the directory.
pub fn unpack(directory: BorrowedFd<'_>, tar: impl BufRead, marks: Marks) -> Result<Contents> {
    let mut tree = Tree::new(directory, marks);
    let mut entries = Entries::new(tar);
    let mut members = 0;
    while let Some(entry) = entries.next()? {
        members += 1;
        place(&mut tree, &mut entries, entry)?;
    }
    entries.drain()?;
    let (implied, size) = tree.finish()?;
    Ok(Contents { members, size, implied })
}

/// Puts one member where it belongs.
fn place<R: BufRead>(tree: &mut Tree<'_>, entries: &mut Entries<R>, entry: Entry) -> Result<()> {
    let path = member_path(&entry.path)?;
    if path.iter().any(|name| name.as_bytes().starts_with(WHITEOUT)) {
        return mark(tree, &path, &entry.path);
    }
    put(tree, entries, entry, path)
}

/// Makes what a member describes at `path`.
pub(crate) fn put<R: BufRead>(
    tree: &mut Tree<'_>,
    entries: &mut Entries<R>,
    entry: Entry,
    path: PathBuf,
) -> Result<()> {
    if entry.kind == Kind::Directory {
        return tree.member_directory(path, entry.metadata);
    }
    let (parent, name) = tree.place(&path)?;
    let at = (parent.as_fd(), name);
    let metadata = &entry.metadata;
    let node = |kind, device| move || rustix::fs::mknodat(at.0, at.1, kind, Mode::empty(), device);
    match &entry.kind {
        Kind::File => {
            let file = tree.replacing(at, &path, "create the file", || create(at))?;
            fill(&file, entries, &entry, &path)?;
            tree.grow(entry.length);
            metadata.apply(file.as_fd(), &path)
        }
        Kind::HardLink(target) => hard_link(tree, at, &path, target),
        Kind::Symlink(target) => {
            tree.replacing(at, &path, "make the symlink", || rustix::fs::symlinkat(target, at.0, at.1))?;
            tree.grow(target.len() as u64);
            metadata.apply_at(at, &path, true)
        }
        // Containers have devices of their own in `/dev`; those of an image are of no use to them.
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } if !tree.takes_devices() => {
            tracing::info!("{} is a device, and left out", path.display());
            Ok(())
        }
        Kind::CharDevice { major, minor } => {
            let device = rustix::fs::makedev(*major, *minor);
            tree.replacing(at, &path, "make the device", node(FileType::CharacterDevice, device))?;
            metadata.apply_at(at, &path, false)
        }
        Kind::BlockDevice { major, minor } => {
            let device = rustix::fs::makedev(*major, *minor);
            tree.replacing(at, &path, "make the device", node(FileType::BlockDevice, device))?;
            metadata.apply_at(at, &path, false)
        }
        Kind::Fifo => {
            tree.replacing(at, &path, "make the fifo", node(FileType::Fifo, 0))?;
            metadata.apply_at(at, &path, false)
        }
        Kind::Directory => unreachable!("handled above"),
    }
}

/// A member whose name says that it is a mark and not a file.
fn mark(tree: &mut Tree<'_>, path: &Path, member: &OsStr) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    if parent.iter().any(|name| name.as_bytes().starts_with(AUFS)) || is_aufs_own(name) {
        return Ok(());
    }
    if parent.iter().any(|name| name.as_bytes().starts_with(WHITEOUT)) {
        return Err(Error::member(member, "a whiteout cannot hold anything"));
    }
    if name.as_bytes() == OPAQUE {
        return tree.opaque(parent);
    }
    // The name after the prefix is as hostile as any path: `.wh...` would be the parent directory.
    match name.as_bytes().strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") | None => Err(Error::member(member, "a whiteout of nothing")),
        Some(hidden) => tree.whiteout(&parent.join(OsStr::from_bytes(hidden))),
    }
}

fn is_aufs_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(AUFS) && name.as_bytes() != OPAQUE
}

/// Creates a file that must not exist yet: an existing name is never opened, so no symlink is ever followed.
fn create((parent, name): (BorrowedFd<'_>, &OsStr)) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Writes a file's data, leaving its holes.
fn fill<R: BufRead>(file: &OwnedFd, entries: &mut Entries<R>, entry: &Entry, path: &Path) -> Result<()> {
    let write = |mut data: &[u8], mut offset: Option<u64>| -> Result<()> {
        while !data.is_empty() {
            let written = match offset {
                None => rustix::io::write(file, data),
                Some(offset) => rustix::io::pwrite(file, data, offset),
            };
            match written {
                Ok(written) => {
                    data = &data[written..];
                    offset = offset.map(|offset| offset + written as u64);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::system("write to", path)(e)),
            }
        }
        Ok(())
    };
    let Some(sparse) = &entry.sparse else {
        return entries.data(|piece| write(piece, None));
    };
    rustix::fs::ftruncate(file, sparse.length).map_err(Error::system("set the length of", path))?;
    let mut segments = sparse.segments.iter().copied();
    let (mut offset, mut length) = (0, 0);
    entries.data(|mut piece| {
        while !piece.is_empty() {
            while length == 0 {
                (offset, length) =
                    segments.next().expect("the map accounts for all data: checked when it was read");
            }
            let (now, later) = piece.split_at(piece.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
            write(now, Some(offset))?;
            offset += now.len() as u64;
            length -= now.len() as u64;
            piece = later;
        }
        Ok(())
    })
}

/// Another name for a file that the archive brought before.
///
/// The target is a path from the layer's root. It is resolved there, and its last component is not followed, so the
/// link cannot become a name for a file of the host.
fn hard_link(tree: &mut Tree<'_>, at: (BorrowedFd<'_>, &OsStr), path: &Path, target: &OsStr) -> Result<()> {
    let target = member_path(target)?;
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Error::member(path, "a hard link to the layer's root"));
    };
    let missing = |e| match e {
        Errno::NOENT | Errno::NOTDIR => {
            Error::member(path, format!("its hard link's target {} is not in this layer", target.display()))
        }
        e => Error::system("make the hard link", path)(e),
    };
    let parent = tree.existing(parent).map_err(missing)?;
    // Look before anything gives way: a link to itself must not remove the file.
    let existing = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(missing)?;
    if let Ok(taken) = rustix::fs::statat(at.0, at.1, AtFlags::SYMLINK_NOFOLLOW)
        && (taken.st_dev, taken.st_ino) == (existing.st_dev, existing.st_ino)
    {
        return Ok(());
    }
    tree.replacing(at, path, "make the hard link", || {
        rustix::fs::linkat(&parent, name, at.0, at.1, AtFlags::empty())
    })
}
