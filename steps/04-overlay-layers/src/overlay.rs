//! Overlayfs: many read-only directories and at most one writable one, shown as one tree.
//!
//! A name is looked up in the *upper* directory first and then in the *lowers*, topmost first. Writing to a file of a
//! lower copies it up before; deleting one leaves a whiteout in the upper. So containers share the lowers, and
//! the upper is what one of them changed.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::tree::Marks;

/// What is to be mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The read-only directories, topmost first; at least one, and at most 500 (the kernel's limit). Without an upper
    /// directory the kernel wants two or more.
    pub lowers: Vec<PathBuf>,
    /// The writable directory and overlayfs' own empty directory beside it, on one file system; `None` mounts
    /// read-only.
    pub upper: Option<Upper>,
    /// Skip flushing the upper directory: quicker, and not to be trusted again after a crash.
    pub volatile: bool,
    /// How opaque directories are marked.
    pub marks: Marks,
}

/// The writable part of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Holds what is changed.
    pub upper: PathBuf,
    /// Overlayfs prepares files here before it moves them into place.
    pub work: PathBuf,
}

/// One call of `fsconfig(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A key that stands alone.
    Flag(&'static str),
    /// A key and its text.
    Text(&'static str, String),
    /// A key and a directory.
    Directory(&'static str, PathBuf),
}

impl Overlay {
    /// The settings of the mount, in the order they are made: pure, so that it can be shown and tested.
    pub fn plan(&self) -> Vec<Setting> {
        use Setting::{Directory, Flag, Text};
        // Redirects, an index and metadata-only copies make an upper directory that only the same overlay on the same
        // host understands. Ours is read by `changes` and `write_layer`, so whatever the kernel's defaults are: off. For
        // redirects that is spelled `nofollow`: `off` still follows those that it finds, and `userxattr` refuses it.
        let mut plan: Vec<_> =
            [("redirect_dir", "nofollow"), ("index", "off"), ("metacopy", "off"), ("xino", "off")]
                .map(|(key, value)| Text(key, value.to_owned()))
                .into();
        if self.marks == Marks::User {
            plan.push(Flag("userxattr"));
        }
        plan.extend(self.lowers.iter().map(|lower| Directory("lowerdir+", lower.clone())));
        if let Some(Upper { upper, work }) = &self.upper {
            plan.push(Directory("upperdir", upper.clone()));
            plan.push(Directory("workdir", work.clone()));
            if self.volatile {
                plan.push(Flag("volatile"));
            }
        }
        plan
    }

    /// Mounts the overlay detached: it has no place in any tree until the caller gives it one with `move_mount`.
    ///
    /// Each lower is handed over by itself (`lowerdir+`, Linux 6.8), so their number is not bounded by the one page that
    /// mount(2) has for all options. Older kernels get them in that page: see [`Overlay::mount_in_one_string`].
    ///
    /// # Errors
    /// What the kernel refused, with its own explanation.
    pub fn mount(&self) -> Result<OwnedFd> {
        tracing::info!(
            "mounting an overlay of {} read-only directories{}",
            self.lowers.len(),
            if self.upper.is_some() { " with a writable one on top" } else { "" }
        );
        match self.mount_one_by_one() {
            // An old kernel does not know `lowerdir+`, and says so with EINVAL, sooner or later. What has other reasons
            // fails again, and then the explanation is what counts, which only newer kernels give.
            Err(Error::Mount { action, errno: nix::errno::Errno::EINVAL, kernel }) => {
                self.mount_in_one_string().map_err(|second| {
                    let explained = !kernel.is_empty() && !kernel.contains("Legacy");
                    if explained {
                        Error::Mount { action, errno: nix::errno::Errno::EINVAL, kernel }
                    } else {
                        second
                    }
                })
            }
            result => result,
        }
    }

    fn mount_one_by_one(&self) -> Result<OwnedFd> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|e| failure(None, "open an overlay file system (fsopen)", e))?;
        // What `df` shows as its device; without one it is "none".
        rustix::mount::fsconfig_set_string(&context, "source", "overlay")
            .map_err(|e| failure(Some(&context), "name the overlay", e))?;
        // Descriptors that stand for paths must stay open until the kernel has looked them up.
        let mut opened = Vec::new();
        for setting in self.plan() {
            match &setting {
                Setting::Flag(key) => rustix::mount::fsconfig_set_flag(&context, *key),
                Setting::Text(key, value) => {
                    rustix::mount::fsconfig_set_string(&context, *key, value.as_str())
                }
                Setting::Directory(key, path) => {
                    let spelling = spell(path, &mut opened)?;
                    rustix::mount::fsconfig_set_string(&context, *key, spelling.as_path())
                }
            }
            .map_err(|e| failure(Some(&context), format!("set {setting}"), e))?;
        }
        rustix::mount::fsconfig_create(&context)
            .map_err(|e| failure(Some(&context), "create the overlay", e))?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes())
            .map_err(|e| failure(Some(&context), "mount the overlay (fsmount)", e))
    }

    /// The same with mount(2), for kernels before 6.8: all directories in one string, which must fit into a page.
    ///
    /// Directories go in as `/proc/self/fd/N`, so a page holds about 200 of them. mount(2) wants a place to mount on;
    /// the work directory (or the topmost lower) lends itself until the mount is detached from it again.
    ///
    /// # Errors
    /// As [`Overlay::mount`].
    pub fn mount_in_one_string(&self) -> Result<OwnedFd> {
        let mut opened = Vec::new();
        let mut options = Vec::new();
        let mut lowers = Vec::new();
        for setting in self.plan() {
            match setting {
                Setting::Flag(key) => options.push(key.to_owned()),
                Setting::Text(key, value) => options.push(format!("{key}={value}")),
                Setting::Directory("lowerdir+", path) => lowers.push(by_descriptor(&path, &mut opened)?),
                Setting::Directory(key, path) => {
                    options.push(format!("{key}={}", by_descriptor(&path, &mut opened)?));
                }
            }
        }
        options.push(format!("lowerdir={}", lowers.join(":")));
        let options = CString::new(options.join(",")).expect("descriptors and keys hold no NUL");

        let place = self.upper.as_ref().map_or(self.lowers[0].as_path(), |upper| upper.work.as_path());
        let flags = if self.upper.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
        rustix::mount::mount("overlay", place, "overlay", flags, options.as_c_str())
            .map_err(|e| failure(None, "mount the overlay (mount)", e))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(CWD, place, flags)
            .map_err(|e| failure(None, "take the overlay's mount (open_tree)", e));
        rustix::mount::unmount(place, UnmountFlags::DETACH).map_err(Error::system("unmount", place))?;
        mount
    }

    fn attributes(&self) -> MountAttrFlags {
        if self.upper.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY }
    }
}

impl Upper {
    /// Makes `upper` and `work` in a directory, for an overlay over `lower`, its topmost layer.
    ///
    /// The upper directory is the root of what the container sees, so it takes that layer's owner, mode and attributes.
    ///
    /// # Errors
    /// The system call that failed. Directories that exist already stay as they are.
    pub fn make(directory: &Path, lower: &Path) -> Result<Self> {
        let made = Self { upper: directory.join("upper"), work: directory.join("work") };
        for path in [&made.work, &made.upper] {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) if path == &made.upper => {
                    let open = |path: &Path| {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                        rustix::fs::open(path, flags, Mode::empty())
                            .map_err(Error::system("open the directory", path))
                    };
                    Metadata::of(open(lower)?.as_fd(), lower)?.apply(open(path)?.as_fd(), path)?;
                }
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::system("make the directory", path)(e)),
            }
        }
        Ok(made)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => f.write_str(key),
            Self::Text(key, value) => write!(f, "{key}={value}"),
            Self::Directory(key, path) => write!(f, "{key}={}", path.display()),
        }
    }
}

/// A directory as `fsconfig` takes it: its path, or where that is too long (the call takes 255 bytes) or holds what
/// overlayfs would read as more than a path, a descriptor's.
fn spell(path: &Path, opened: &mut Vec<OwnedFd>) -> Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() < 256 && !bytes.iter().any(|byte| b"\\:,".contains(byte)) {
        return Ok(path.to_owned());
    }
    by_descriptor(path, opened).map(PathBuf::from)
}

fn by_descriptor(path: &Path, opened: &mut Vec<OwnedFd>) -> Result<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd =
        rustix::fs::open(path, flags, Mode::empty()).map_err(Error::system("open the directory", path))?;
    let spelling = format!("/proc/self/fd/{}", fd.as_raw_fd());
    opened.push(fd);
    Ok(spelling)
}

/// An error with what the kernel has to say about it: a mount context is also a log that can be read.
fn failure(context: Option<&OwnedFd>, action: impl Into<String>, e: Errno) -> Error {
    let mut kernel = String::new();
    let mut line = [0; 1024];
    while let Some(context) = context
        && let Ok(length @ 1..) = rustix::io::read(context, &mut line)
    {
        // Each line begins with its kind: `e ` for an error, `w ` for a warning.
        let text = String::from_utf8_lossy(&line[..length]);
        kernel.push_str("; the kernel says: ");
        kernel.push_str(text.get(2..).unwrap_or_default().trim());
    }
    Error::Mount { action: action.into(), errno: nix::errno::Errno::from_raw(e.raw_os_error()), kernel }
}
