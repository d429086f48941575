//! Writes what an upper directory changed as a layer's tar: `docker commit`.
//!
//! The same changes give the same bytes on any host: members sorted by name, owners by number, no access or change
//! times, no inode or device numbers, and pax records only where the plain header has no room. A layer's name is its
//! digest, so anything that varied without meaning would make a new layer of an old one.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use tar::EntryType;

use crate::archive::{Archive, Member};
use crate::diff::{self, ChangeKind, Node};
use crate::digest::DiffId;
use crate::error::{Error, Result};
use crate::extract::Owners;
use crate::metadata::{Metadata, proc_path};
use crate::tree::{Marks, open_in_root};
use crate::unpack::{OPAQUE, WHITEOUT};

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest of what was written.
    pub diff_id: DiffId,
    /// Its length in bytes.
    pub tar_size: u64,
}

/// Writes the difference between an upper directory and the layers below it (topmost first) as an uncompressed tar,
/// with deletions as `.wh.NAME` members. With no layers below, that is the whole directory.
///
/// Sockets are left out: tar has no member type for them, and they mean nothing without their process. Holes are
/// written as zeros: where they lie depends on the file system, and would make the bytes differ.
///
/// # Errors
/// The system call that failed, or [`Error::Write`] when `out` does. A container that writes to its files meanwhile
/// can make the result inconsistent; pause it first.
pub fn write_layer(upper: &Path, lowers: &[PathBuf], marks: Marks, out: impl Write) -> Result<Written> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(upper, flags, Mode::empty()).map_err(Error::system("open the directory", upper))?;
    // Sorted by the name in the archive. A directory sorts before what is in it, because its name is a prefix.
    let mut members = BTreeMap::new();
    for node in diff::walk(upper, lowers, marks)? {
        if let Some(name) = member_name(&node) {
            if node.opaque {
                members.insert(node.path.join(OsStr::from_bytes(OPAQUE)).into_os_string(), None);
            }
            members.insert(name, (node.kind != ChangeKind::Deleted).then_some(node.path));
        }
    }
    let mut archive = Archive::new(out);
    let mut links = HashMap::new();
    for (name, path) in members {
        match path {
            Some(path) => {
                if let Some((member, data)) = member(root.as_fd(), &path, &path, &mut links)? {
                    archive.add(&member, data)?;
                }
            }
            None => archive.add(&mark(name), io::empty())?,
        }
    }
    let (diff_id, tar_size) = archive.finish()?;
    Ok(Written { diff_id, tar_size })
}

/// Writes what lies at `start` in a directory, with all that is in it, as an uncompressed tar in which it is called
/// `name`. An empty `start` is the directory itself; an empty `name` leaves the top out, and what is in it begins the
/// names. What `owners` makes of the owners is what the archive says.
///
/// Others may change the tree meanwhile. No symlink below `start` is followed, wherever it comes from; what vanishes is
/// left out. Returns the length in bytes.
///
/// # Errors
/// As [`write_layer`].
pub fn write_tree(
    directory: BorrowedFd<'_>,
    start: &Path,
    name: &Path,
    owners: Owners<'_>,
    out: impl Write,
) -> Result<u64> {
    let mut archive = Archive::new(out);
    let mut links = HashMap::new();
    let mut todo = vec![start.to_owned()];
    while let Some(path) = todo.pop() {
        let inner = path.strip_prefix(start).expect("it was found below the start");
        let is_top = inner.as_os_str().is_empty();
        let name = if is_top { name.to_owned() } else { name.join(inner) };
        let (mut member, data) = match member(directory, &path, &name, &mut links) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) if !is_top && is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        (member.metadata.uid, member.metadata.gid) = owners(member.metadata.uid, member.metadata.gid);
        if !name.as_os_str().is_empty() {
            archive.add(&member, data)?;
        }
        if member.kind == EntryType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match open_in_root(directory, &path, flags) {
                Ok(open) => {
                    todo.extend(diff::names(&open, &path)?.into_iter().rev().map(|name| path.join(name)));
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !is_top => {}
                Err(e) => return Err(Error::system("open the directory", &path)(e)),
            }
        }
    }
    Ok(archive.finish()?.1)
}

/// Whether somebody took the file away, or something on the way to it.
fn is_gone(error: &Error) -> bool {
    use nix::errno::Errno::{ELOOP, ENOENT, ENOTDIR};
    matches!(error, Error::System { errno: ENOENT | ENOTDIR | ELOOP, .. })
}

/// The member for a whiteout or an opaque directory's mark: an empty file whose name says it all.
fn mark(name: OsString) -> Member {
    Member {
        name: name.into_vec(),
        kind: EntryType::Regular,
        link: Vec::new(),
        device: (0, 0),
        metadata: Metadata::default(),
        length: 0,
    }
}

/// The name that a change has in the archive; `None` for a deletion that an opaque directory already says.
fn member_name(node: &Node) -> Option<OsString> {
    if node.kind != ChangeKind::Deleted {
        return Some(node.path.clone().into_os_string());
    }
    if node.implied {
        return None;
    }
    let mut name = OsStr::from_bytes(WHITEOUT).to_owned();
    name.push(node.path.file_name()?);
    Some(node.path.with_file_name(name).into_os_string())
}

/// The member called `name` for a file, directory, link or device at `path`, and its data. `None`: a socket.
///
/// `links` knows the files that have several names, and the name each was written under.
fn member(
    root: BorrowedFd<'_>,
    path: &Path,
    name: &Path,
    links: &mut HashMap<(u64, u64), PathBuf>,
) -> Result<Option<(Member, Box<dyn Read>)>> {
    // What runs in the container may put a symlink here at any time: look inside this directory only.
    let itself =
        open_in_root(root, path, OFlags::PATH | OFlags::NOFOLLOW).map_err(Error::system("open", path))?;
    let stat = rustix::fs::fstat(&itself).map_err(Error::system("look at", path))?;
    let mut member = Member {
        name: name.as_os_str().as_bytes().to_vec(),
        kind: EntryType::Regular,
        link: Vec::new(),
        device: (0, 0),
        metadata: Metadata::with_stat(itself.as_fd(), &stat, path)?,
        length: 0,
    };
    let mut data: Box<dyn Read> = Box::new(io::empty());
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && stat.st_nlink > 1 {
        let first = links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| name.to_owned());
        if first != name {
            member.kind = EntryType::Link;
            member.link = first.as_os_str().as_bytes().to_vec();
            member.metadata.xattrs.clear();
            return Ok(Some((member, data)));
        }
    }
    member.kind = match kind {
        FileType::RegularFile => {
            member.length = stat.st_size.cast_unsigned();
            // The very file that was looked at: under its name there may be a device by now, and to open one is to use it.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::open(proc_path(itself.as_fd()), flags, Mode::empty());
            data = Box::new(File::from(file.map_err(Error::system("open", path))?));
            EntryType::Regular
        }
        FileType::Directory => {
            // Tar's custom, and how readers from before POSIX know a directory.
            member.name.push(b'/');
            EntryType::Directory
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&itself, "", Vec::new());
            member.link = target.map_err(Error::system("read the symlink", path))?.into_bytes();
            EntryType::Symlink
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            member.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            if kind == FileType::BlockDevice { EntryType::Block } else { EntryType::Char }
        }
        FileType::Fifo => EntryType::Fifo,
        FileType::Socket | FileType::Unknown => {
            tracing::warn!("{}: left out, tar has no members for sockets", path.display());
            return Ok(None);
        }
    };
    Ok(Some((member, data)))
}
