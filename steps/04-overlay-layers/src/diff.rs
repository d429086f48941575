//! What an upper directory changes about the layers below it: `docker diff`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, Stat};

use crate::error::{Error, Result};
use crate::lowers::{Lowers, is_directory};
use crate::metadata::Metadata;
use crate::tree::{Marks, is_whiteout};

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `A`: it is new.
    Added,
    /// `C`: it, or something in it, is different.
    Changed,
    /// `D`: it is gone. What was in it is not listed.
    Deleted,
}

/// One line of `docker diff`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute, as seen from inside the container.
    pub path: PathBuf,
    /// What happened.
    pub kind: ChangeKind,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{kind} {}", self.path.display())
    }
}

/// Compares an upper directory with the layers below it (topmost first).
///
/// A directory that overlayfs only copied up, because something deep in it was touched, counts when its own metadata is
/// different or when something in it changed. The list is sorted by path, byte by byte, as `docker diff` prints it.
///
/// # Errors
/// The system call that failed, for example because a container is removing files under us.
pub fn changes(upper: &Path, lowers: &[PathBuf], marks: Marks) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    for node in walk(upper, lowers, marks)? {
        found.push(Change { path: Path::new("/").join(node.path), kind: node.kind });
    }
    found.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    Ok(found)
}

/// A change, with what writing a layer has to know about it.
pub(crate) struct Node {
    /// Relative; the root itself is never listed.
    pub(crate) path: PathBuf,
    pub(crate) kind: ChangeKind,
    /// A directory that hides what the layers below have in it.
    pub(crate) opaque: bool,
    /// Deleted by the opaque directory above it, without a whiteout of its own.
    pub(crate) implied: bool,
}

/// All changes, in no particular order.
pub(crate) fn walk(upper: &Path, lowers: &[PathBuf], marks: Marks) -> Result<Vec<Node>> {
    let mut walk = Walk { lowers: Lowers::open(lowers, marks)?, marks, found: Vec::new() };
    let root = rustix::fs::open(upper, DIRECTORY, Mode::empty())
        .map_err(Error::system("open the directory", upper))?;
    walk.directory(&root, Path::new(""), false)?;
    Ok(walk.found)
}

struct Walk {
    lowers: Lowers,
    marks: Marks,
    found: Vec<Node>,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Walk {
    /// Lists the changes inside a directory of the upper.
    fn directory(&mut self, directory: &OwnedFd, path: &Path, opaque: bool) -> Result<()> {
        let names = names(directory, path)?;
        if opaque {
            for name in self.lowers.names(path)? {
                if !names.contains(&name) {
                    self.add(path.join(name), ChangeKind::Deleted, false, true);
                }
            }
        }
        for name in names {
            let path = path.join(&name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(directory, &name, flags, Mode::empty())
                .map_err(Error::system("open", &path))?;
            let stat = rustix::fs::fstat(&file).map_err(Error::system("look at", &path))?;
            let lower = self.lowers.find(&path)?;
            match lower {
                // Nothing is below, so the whiteout hides nothing.
                None if is_whiteout(&stat) => {}
                Some(_) if is_whiteout(&stat) => self.add(path, ChangeKind::Deleted, false, false),
                lower if is_directory(&stat) => {
                    self.subdirectory(directory, &name, &path, &stat, lower, opaque)?;
                }
                None => self.add(path, ChangeKind::Added, false, false),
                Some(_) => self.add(path, ChangeKind::Changed, false, false),
            }
        }
        Ok(())
    }

    fn subdirectory(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
        lower: Option<(OwnedFd, Stat)>,
        opaque: bool,
    ) -> Result<()> {
        let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
            .map_err(Error::system("open the directory", path))?;
        // Overlayfs marks every directory it makes; where nothing is below, there is nothing to hide.
        let marked =
            lower.is_some() && self.marks.is_opaque(&directory).map_err(Error::system("look at", path))?;
        let before = self.found.len();
        self.directory(&directory, path, opaque || marked)?;
        let kind = match lower {
            None => ChangeKind::Added,
            Some((lower, lower_stat)) => {
                let same = is_directory(&lower_stat)
                    && Metadata::with_stat(directory.as_fd(), stat, path)?
                        == Metadata::with_stat(lower.as_fd(), &lower_stat, path)?;
                if same && !marked && self.found.len() == before {
                    return Ok(());
                }
                ChangeKind::Changed
            }
        };
        self.add(path.to_owned(), kind, marked, false);
        Ok(())
    }

    fn add(&mut self, path: PathBuf, kind: ChangeKind, opaque: bool, implied: bool) {
        self.found.push(Node { path, kind, opaque, implied });
    }
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &OwnedFd, path: &Path) -> Result<BTreeSet<OsString>> {
    let read = |e| Error::system("read the directory", path)(e);
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory).map_err(read)? {
        let name = entry.map_err(read)?.file_name().to_bytes().to_owned();
        if name != b"." && name != b".." {
            names.insert(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}
