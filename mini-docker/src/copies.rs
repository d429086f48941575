//! Files copied into a container, and out of it: `cp`.
//!
//! Both sides are a root and a path below it, the host's root being `/`, and one copies to the other as an archive. What
//! becomes of which name is decided by [`place`], which is pure; it is `cp -r`'s rule, as Docker has it.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chroot::resolve::Rooted;
use nix::errno::Errno;
use overlay_layers::{Owners, Ownership, extract, write_tree};
use rustix::fs::{AtFlags, FileType, OFlags};

use crate::error::{Error, Result};
use crate::pipe;

/// Symbolic links followed before a path counts as a loop, as the kernel does (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    /// Into the destination, which is a directory, under this name; an empty one stands for what is in the source.
    Into(OsString),
    /// The copy is what the destination names.
    As,
}

/// Decides where a copy goes: `source` and `destination` as the user wrote them, and what they are.
pub fn place(source: &Path, kind: Kind, destination: &Path, there: Option<Kind>) -> Result<Placing> {
    if kind == Kind::Other && must_be_directory(source) {
        return Err(Error::new(format!("{}: not a directory", source.display())));
    }
    let wants_directory = must_be_directory(destination);
    match (there, kind) {
        (Some(Kind::Directory), _) => Ok(Placing::Into(name(source))),
        (Some(Kind::Other), _) if wants_directory => {
            Err(Error::new(format!("{}: not a directory", destination.display())))
        }
        (Some(Kind::Other), Kind::Directory) => {
            Err(Error::new(format!("cannot copy directory {} over a file", source.display())))
        }
        (None, Kind::Other) if wants_directory => {
            Err(Error::new(format!("{}: no such directory", destination.display())))
        }
        _ => Ok(Placing::As),
    }
}

/// Whether a path says by its end that it is a directory.
fn must_be_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    [&b"/"[..], b"/.", b"/.."].iter().any(|end| bytes.ends_with(end)) || [&b"."[..], b".."].contains(&bytes)
}

/// The last name of a path; empty for a path that ends in `/.`, and means what is in it.
pub fn name(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    if bytes == b"." || bytes.ends_with(b"/.") {
        return OsString::new();
    }
    path.file_name().unwrap_or_default().to_owned()
}

/// A path below a root, and who is meant in messages.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The root.
    pub root: BorrowedFd<'a>,
    /// An absolute path below it.
    pub path: &'a Path,
    /// The container's name, if it is one.
    pub container: Option<&'a str>,
}

/// What was found: a name in a directory; an empty one is the directory itself.
#[derive(Debug)]
pub struct Found {
    directory: OwnedFd,
    name: OsString,
    kind: Option<Kind>,
}

impl Found {
    /// What it is; `None` if there is nothing.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }
}

impl Side<'_> {
    /// Looks for what is to be copied. With `follow`, or where the path says that it is a directory, the last name may
    /// be a link to it.
    pub fn source(&self, follow: bool) -> Result<Found> {
        match self.find(follow || must_be_directory(self.path)) {
            Ok(found) if found.kind.is_some() => Ok(found),
            Err(error) if !matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => Err(error.into()),
            _ => Err(self.missing()),
        }
    }

    /// Looks for the place that is copied to; the directory above it must be there.
    pub fn destination(&self) -> Result<Found> {
        self.find(true).map_err(|error| match (error.errno(), self.container) {
            (Errno::ENOENT | Errno::ENOTDIR, None) => {
                let parent = self.path.parent().unwrap_or(self.path).display();
                Error::new(format!("invalid output path: directory \"{parent}\" does not exist"))
            }
            (Errno::ENOENT | Errno::ENOTDIR, Some(_)) => self.missing(),
            _ => error.into(),
        })
    }

    fn missing(&self) -> Error {
        let path = self.path.display();
        Error::new(match self.container {
            Some(container) => format!("Could not find the file {path} in container {container}"),
            None => format!("lstat {path}: no such file or directory"),
        })
    }

    /// Resolves all but the last name, and with `follow` that one too, below the root.
    fn find(&self, follow: bool) -> chroot::Result<Found> {
        let root = Rooted::new(&self.root);
        let mut path = self.path.to_owned();
        for _ in 0..MAX_LINKS {
            // A path that ends in `..`, and the root, have no last name.
            let Some(name) = path.file_name() else {
                let directory = root.open(&path, OFlags::PATH | OFlags::DIRECTORY)?;
                return Ok(Found { directory, name: OsString::new(), kind: Some(Kind::Directory) });
            };
            let parent = path.parent().unwrap_or(Path::new("/"));
            let directory = root.open(parent, OFlags::PATH | OFlags::DIRECTORY)?;
            let failed = |errno| chroot::Error::new("look at", path.display(), errno);
            let kind = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => None,
                Err(errno) => return Err(failed(errno)),
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Some(Kind::Directory),
                    FileType::Symlink if follow => {
                        let target = rustix::fs::readlinkat(&directory, name, Vec::new()).map_err(failed)?;
                        path = parent.join(OsStr::from_bytes(target.to_bytes()));
                        continue;
                    }
                    _ => Some(Kind::Other),
                },
            };
            return Ok(Found { name: name.to_owned(), directory, kind });
        }
        Err(chroot::Error::new("resolve", self.path.display(), Errno::ELOOP))
    }
}

/// Writes what was found as a tar, in which it is called `name`; returns its length.
pub fn pack(source: &Found, name: &OsStr, owners: Owners<'_>, out: impl Write) -> Result<u64> {
    Ok(write_tree(source.directory.as_fd(), Path::new(&source.name), Path::new(name), owners, out)?)
}

/// The directory that a copy is extracted in, and the name of its top there.
pub fn target(found: &Found, placing: Placing) -> Result<(OwnedFd, OsString)> {
    match placing {
        Placing::Into(name) => Ok((directory(found)?, name)),
        Placing::As => {
            let directory = found.directory.try_clone();
            Ok((directory.map_err(|error| Error::kernel("copy a descriptor", error))?, found.name.clone()))
        }
    }
}

/// What was found, as the directory that it is.
pub fn directory(found: &Found) -> Result<OwnedFd> {
    let name = if found.name.is_empty() { Path::new(".") } else { Path::new(&found.name) };
    // By now it may be a link.
    Ok(Rooted::new(&found.directory).open_without_links(name, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// Extracts a tar into a directory. See [`extract()`].
pub fn unpack(directory: &OwnedFd, tar: impl Read, ownership: Ownership<'_>, devices: bool) -> Result<()> {
    extract(directory.as_fd(), tar, ownership, devices)?;
    Ok(())
}

/// Copies what was found into a directory, where it is called `name`; returns the bytes that went over.
pub fn copy(
    (source, owners): (&Found, Owners<'_>),
    (directory, name): (&OwnedFd, &OsStr),
    ownership: Ownership<'_>,
    devices: bool,
) -> Result<u64> {
    pipe::through(
        |writer| pack(source, name, owners, writer),
        |reader| unpack(directory, reader, ownership, devices),
    )
    .map(|(length, ())| length)
}

/// `path` below the root directory, links left as they are.
pub fn absolute(path: &str, directory: &Path) -> PathBuf {
    // Not cleaned: what ends in `/.` means something else.
    let mut absolute = directory.as_os_str().to_owned();
    if path.starts_with('/') {
        absolute.clear();
    } else {
        absolute.push("/");
    }
    absolute.push(path);
    PathBuf::from(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_copies_go() {
        use Kind::{Directory, Other};
        let mut table = Vec::new();
        let sources = [
            ("/a/file", Other),
            ("/a/file/", Other),
            ("/a/dir", Directory),
            ("/a/dir/", Directory),
            ("/a/dir/.", Directory),
            ("/", Directory),
        ];
        for (source, kind) in sources {
            for destination in ["/b/x", "/b/x/"] {
                for there in [None, Some(Other), Some(Directory)] {
                    let placed = place(Path::new(source), kind, Path::new(destination), there);
                    let placed =
                        placed.map_or_else(|error| error.to_string(), |placing| format!("{placing:?}"));
                    table.push(format!("{source} -> {destination} ({there:?}): {placed}"));
                }
            }
        }
        insta::assert_snapshot!(table.join("\n"));
    }
}
