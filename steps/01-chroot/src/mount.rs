//! Mounts by file descriptor: the mount API of Linux 5.2 and 5.12.
//!
//! `mount(2)` takes two path names and does everything at once: it looks up both names, makes the file system,
//! and attaches it. Between a check of a name and the call, somebody may change what the name means. The newer
//! calls take the work apart, and pass descriptors from one part to the next:
//!
//! | call | what it does |
//! |---|---|
//! | `fsopen`, `fsconfig`, `fsmount` | make a file system that is not attached anywhere yet |
//! | `open_tree` | take a copy of a piece of an existing tree (a *bind* mount), also not attached |
//! | `mount_setattr` | set its flags and propagation, of one mount or of a whole tree |
//! | `move_mount` | attach it, on a descriptor |

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, move_mount,
    open_tree,
};

use crate::error::{Error, Result};
use crate::resolve::Rooted;

/// Per-mount flags, `MOUNT_ATTR_*` of `mount_setattr(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Nothing can be written through this mount.
    pub readonly: bool,
    /// Set-user-id bits and file capabilities have no effect.
    pub nosuid: bool,
    /// Device nodes cannot be opened.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
}

impl Attributes {
    /// No device, no privilege, no program: what a kernel file system needs.
    pub const DATA: Self = Self { readonly: false, nosuid: true, nodev: true, noexec: true };

    /// The same flags, read-only.
    pub const fn read_only(self) -> Self {
        Self { readonly: true, ..self }
    }

    const fn flags(self) -> MountAttrFlags {
        let mut bits = 0;
        if self.readonly {
            bits |= MountAttrFlags::MOUNT_ATTR_RDONLY.bits();
        }
        if self.nosuid {
            bits |= MountAttrFlags::MOUNT_ATTR_NOSUID.bits();
        }
        if self.nodev {
            bits |= MountAttrFlags::MOUNT_ATTR_NODEV.bits();
        }
        if self.noexec {
            bits |= MountAttrFlags::MOUNT_ATTR_NOEXEC.bits();
        }
        MountAttrFlags::from_bits_retain(bits)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.readonly { "ro" } else { "rw" })?;
        for (set, name) in [(self.nosuid, ",nosuid"), (self.nodev, ",nodev"), (self.noexec, ",noexec")] {
            if set {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

/// A change of mount flags beyond [`Attributes`], as bits of `MOUNT_ATTR_*` (`mount_setattr(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Flags to set.
    pub set: u64,
    /// Flags to clear, before the others are set. All of `MOUNT_ATTR__ATIME` is cleared before any of it is set.
    pub clear: u64,
}

/// How many bytes the value of an option may have (`fsconfig(2)`).
const LONGEST: usize = 255;

/// The flags that `mount(2)` takes off at `MS_REMOUNT` unless it is told to set them: read-only, no set-user-ID, no devices, no
/// programs, no symbolic links. How access times are kept stays as it is.
const RESET: u64 = 0x0020_000f;

impl Change {
    /// The same, with what it does not set taken off.
    #[must_use]
    pub const fn alone(self) -> Self {
        Self { set: self.set, clear: self.clear | RESET & !self.set }
    }

    /// Makes the change to `tree`, or with `recursive` to all mounts in it.
    pub fn apply(self, tree: &impl AsFd, recursive: bool) -> Result<()> {
        if self == Self::default() {
            return Ok(());
        }
        let attr = MountAttr { attr_set: self.set, attr_clr: self.clear, ..MountAttr::default() };
        mount_setattr(tree.as_fd(), recursive, &attr).map_err(|errno| {
            let error = Error::new("change the flags of", "a mount", errno);
            match errno {
                Errno::EPERM => error.hint("in a user namespace, flags that came from outside are locked"),
                _ => error,
            }
        })
    }
}

/// Whether mounts made later on one side show up on the other (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Neither way. The default, and what every container root is.
    #[default]
    Private,
    /// From the host into the container only.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and it cannot be bound elsewhere.
    Unbindable,
}

impl Propagation {
    const fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A file system being configured, between `fsopen` and `fsmount`.
#[derive(Debug)]
pub struct Context {
    fstype: String,
    fd: OwnedFd,
}

impl Context {
    /// Asks the kernel for a file system of type `fstype`, such as `proc` or `tmpfs`.
    pub fn open(fstype: &str) -> Result<Self> {
        Self::of_device(fstype, fstype)
    }

    /// Likewise, of one that lies on `device`, or has another name in `/proc/mounts`.
    pub fn of_device(fstype: &str, device: &str) -> Result<Self> {
        let fd = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| Error::new("open the file system type", fstype, errno))?;
        let context = Self { fstype: fstype.to_owned(), fd };
        // What stands first in a line of /proc/mounts, where there is no device: by custom, the type once more.
        context.set("source", Some(device))?;
        Ok(context)
    }

    /// Sets an option with a value (`size=64k`), or without one (`newinstance`).
    pub fn set(&self, key: &str, value: Option<&str>) -> Result<()> {
        match value {
            // For mount(2), a page had room for all of it.
            Some(list) if list.len() > LONGEST && key == "lowerdir" => {
                return layers(list).iter().try_for_each(|layer| self.set("lowerdir+", Some(layer)));
            }
            Some(value) if value.len() > LONGEST => {
                return Err(Error::new("set an option of", &self.fstype, Errno::EINVAL)
                    .hint(format!("{key} has more than {LONGEST} bytes")));
            }
            Some(value) => fsconfig_set_string(self.fd.as_fd(), key, value),
            None => fsconfig_set_flag(self.fd.as_fd(), key),
        }
        .map_err(|errno| self.explained("set an option of", errno))
    }

    /// Makes the file system and a mount of it that is attached nowhere.
    pub fn mount(self, attributes: Attributes) -> Result<OwnedFd> {
        fsconfig_create(self.fd.as_fd()).map_err(|errno| self.explained("make", errno))?;
        fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags())
            .map_err(|errno| self.explained("mount", errno))
    }

    /// The kernel leaves its reason in the context as text lines, `e overlay: …`, read like a file.
    fn explained(&self, attempt: &'static str, errno: rustix::io::Errno) -> Error {
        let mut message = [0; 512];
        let reason = match rustix::io::read(&self.fd, &mut message) {
            Ok(length) => String::from_utf8_lossy(&message[..length]).trim_end().to_owned(),
            // ENODATA: the kernel had nothing to say.
            Err(_) => String::new(),
        };
        let error = Error::new(attempt, &self.fstype, errno);
        match reason.split_once(' ') {
            Some((_severity, text)) => error.hint(format!("the kernel says: {text}")),
            None => error,
        }
    }
}

/// The layers in an overlay's list, which may be given one by one, too (Linux 6.5; kernel: overlayfs.rst).
fn layers(list: &str) -> Vec<String> {
    let mut layers = vec![String::new()];
    let mut characters = list.chars();
    while let Some(character) = characters.next() {
        match (character, layers.last_mut()) {
            (':', _) => layers.push(String::new()),
            // A colon that belongs to a name has one before it.
            ('\\', Some(layer)) => layer.extend(characters.next()),
            (character, Some(layer)) => layer.push(character),
            (_, None) => {}
        }
    }
    layers
}

/// Changes options of the file system that is mounted at `target`, which is called `name`.
pub fn reconfigure(target: &impl AsFd, name: &Path, options: &[(String, Option<String>)]) -> Result<()> {
    let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
    let fd = fspick(target.as_fd(), "", flags).map_err(|errno| match errno {
        rustix::io::Errno::INVAL => Error::new("change the file system at", name.display(), errno)
            .hint("nothing is mounted exactly there"),
        errno => Error::new("change the file system at", name.display(), errno),
    })?;
    let context = Context { fstype: name.display().to_string(), fd };
    options.iter().try_for_each(|(key, value)| context.set(key, value.as_deref()))?;
    fsconfig_reconfigure(context.fd.as_fd()).map_err(|errno| context.explained("change", errno))
}

/// Copies the tree at `path`, a host path, as a mount attached nowhere: the first half of a bind mount.
/// With `recursive`, what is mounted below it comes along.
pub fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_tree_at(rustix::fs::CWD, path, recursive)
}

/// [`clone_tree`] of what `part` leads to, below `path`: the way there is looked for as if `path` was the root.
pub fn clone_part(path: &Path, part: Option<&Path>, recursive: bool) -> Result<OwnedFd> {
    let Some(part) = part else { return clone_tree(path, recursive) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::new("open", path.display(), errno))?;
    let whole = || path.join(part).display().to_string();
    let part = Rooted::new(&top)
        .open(part, OFlags::PATH)
        .map_err(|error| Error::new("open", whole(), error.errno()))?;
    clone_tree_at(part.as_fd(), Path::new(""), recursive)
}

/// [`clone_tree`] of `path` below `directory`; an empty path means the descriptor itself.
pub fn clone_tree_at(directory: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(directory, path, flags).map_err(|errno| Error::new("bind", path.display(), errno))
}

/// Attaches the unattached `tree` on top of `target`, a descriptor of a directory or file.
pub fn attach(tree: &impl AsFd, target: &impl AsFd, name: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree.as_fd(), "", target.as_fd(), "", flags)
        .map_err(|errno| Error::new("attach a mount on", name.display(), errno))
}

/// Adds `attributes` to the mount `tree`, or with `recursive` to all mounts in it.
pub fn set_attributes(tree: &impl AsFd, attributes: Attributes, recursive: bool) -> Result<()> {
    let attr = MountAttr { attr_set: u64::from(attributes.flags().bits()), ..MountAttr::default() };
    mount_setattr(tree.as_fd(), recursive, &attr)
        .map_err(|errno| Error::new("set the mount flags", attributes, errno))
}

/// Sets the propagation of `tree`, or with `recursive` of all mounts in it.
pub fn set_propagation(tree: &impl AsFd, propagation: Propagation, recursive: bool) -> Result<()> {
    let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
    mount_setattr(tree.as_fd(), recursive, &attr)
        .map_err(|errno| Error::new("set the mount propagation to", format!("{propagation:?}"), errno))
}

/// Shows the files of `tree`, or with `recursive` of all mounts in it, under other owners: the ids on the disk are taken
/// as ids in the user namespace `userns`, and shown as what they are outside (`MOUNT_ATTR_IDMAP`, step 9). The tree
/// must be attached nowhere, and must not be mapped already.
pub fn map_ids(tree: &impl AsFd, userns: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = MountAttr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: userns.as_raw_fd() as u64,
        ..MountAttr::default()
    };
    mount_setattr(tree.as_fd(), recursive, &attr).map_err(|errno| {
        let error = Error::new("map the owners of", "a mount's files", errno);
        match errno {
            Errno::EINVAL => error.hint("its file system, on this kernel, cannot: ext4, xfs and btrfs can"),
            Errno::EPERM => error.hint("this needs the host's root, and a mount that is not mapped yet"),
            _ => error,
        }
    })
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(2)` (Linux 5.12), for which no library here has a wrapper.
fn mount_setattr(tree: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a `struct mount_attr` of the size passed beside it, and
    // the kernel only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// The mounts of this process's mount namespace, as `/proc/self/mountinfo` lists them (`proc_pid_mountinfo(5)`).
pub fn mountinfo() -> Result<String> {
    // With room for some dozens of mounts the kernel writes it once.
    let mut text = String::with_capacity(16 * 1024);
    std::fs::File::open("/proc/self/mountinfo")
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| Error::new("read", "/proc/self/mountinfo", error))?;
    Ok(text)
}
