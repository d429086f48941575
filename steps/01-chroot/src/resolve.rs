//! Paths inside a root are hostile.
//!
//! An image is somebody else's file system. It may say that `/proc` is a symbolic link to `/../../etc`, and a
//! program that joins strings and calls `mount(2)` then mounts over the host's `/etc`. So no path inside a root
//! is ever joined to a host path here: it is resolved by the kernel, below a file descriptor of the root, with
//! `openat2(2)` and `RESOLVE_IN_ROOT`, which treats the root as `chroot(2)` would for that one look-up: an
//! absolute link starts again at the root, and `..` stops there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::error::{Error, Result};

/// Symbolic links followed before a path counts as a loop, as the kernel does (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// `RESOLVE_IN_ROOT` answers EAGAIN when something is renamed during the look-up; then it is asked again.
const MAX_RETRIES: usize = 128;

/// A directory that nothing resolved below it can leave.
#[derive(Debug, Clone, Copy)]
pub struct Rooted<'fd> {
    root: BorrowedFd<'fd>,
}

impl<'fd> Rooted<'fd> {
    /// Takes `root`, a descriptor of a directory (`O_PATH` is enough), as the place that paths start from.
    pub fn new(root: &'fd impl AsFd) -> Self {
        Self { root: root.as_fd() }
    }

    /// Opens `path` below the root. Links are followed but cannot lead out; magic links (`/proc/1/root`) are
    /// refused with ELOOP, since they jump to another tree whatever the root is.
    pub fn open(self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path, flags, ResolveFlags::empty())
    }

    /// Opens `path` below the root, and refuses (ELOOP) if any part of it is a symbolic link.
    pub fn open_without_links(self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut retries = 0;
        loop {
            match rustix::fs::openat2(self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN) if retries < MAX_RETRIES => retries += 1,
                Err(errno) => return Err(Error::new("open, inside the root,", path.display(), errno)),
                Ok(fd) => return Ok(fd),
            }
        }
    }

    /// Opens the directory at `path` (`O_PATH`), making it and what is missing above it, mode 0755.
    pub fn make_dir(self, path: &Path) -> Result<OwnedFd> {
        self.make(path, true)
    }

    /// Opens the file at `path` (`O_PATH`), making an empty one, mode 0644, and the directories above it.
    /// Whatever is there already is opened as it is.
    pub fn make_file(self, path: &Path) -> Result<OwnedFd> {
        self.make(path, false)
    }

    /// Makes `path` one component at a time. A link that points at nothing yet (`/var/run -> /run` in a root
    /// without `/run`) is followed by hand, so that its target is made inside the root.
    fn make(self, path: &Path, directory: bool) -> Result<OwnedFd> {
        if let Ok(fd) = self.open(path, OFlags::PATH) {
            return Ok(fd);
        }
        // Most often only the last component is missing, and there is no link on the way.
        let plain = |above: &&Path| {
            above.components().all(|part| part != Component::ParentDir)
                && self.open_without_links(above, OFlags::PATH).is_ok()
        };
        let path = Path::new("/").join(path);
        let mut done = path.parent().filter(plain).unwrap_or(Path::new("/")).to_owned();
        let mut todo: Vec<PathBuf> = components(path.strip_prefix(&done).unwrap_or(&path));
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == Path::new("..") {
                done.pop();
                continue;
            }
            let parent = self.open(&done, OFlags::PATH | OFlags::DIRECTORY)?;
            let made = if directory || !todo.is_empty() {
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755))
            } else {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o644)).map(drop)
            };
            let target = match made {
                Ok(()) => None,
                Err(rustix::io::Errno::EXIST) => link_target(&parent, &name)?,
                Err(errno) => {
                    let path = done.join(&name);
                    return Err(Error::new("make, inside the root,", path.display(), errno));
                }
            };
            let Some(target) = target else {
                done.push(&name);
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::new("resolve, inside the root,", path.display(), Errno::ELOOP));
            }
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            todo.extend(components(&target));
        }
        self.open(&done, OFlags::PATH)
    }
}

/// The normal and `..` components of `path`, last first, ready to be popped.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| PathBuf::from(part.as_os_str()))
        .collect()
}

/// Where the symbolic link `name` in `parent` points; `None` if it is something else or is not there.
fn link_target(parent: &OwnedFd, name: &Path) -> Result<Option<PathBuf>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new())
                .map_err(|errno| Error::new("read the link", name.display(), errno))?;
            Ok(Some(PathBuf::from(OsStr::from_bytes(target.to_bytes()))))
        }
        Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::new("look at", name.display(), errno)),
    }
}
