//! What a container finds in `/dev`: six devices and a few links, and nothing of the host's.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev};

use crate::error::{Error, Result};
use crate::resolve::Rooted;

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, inside the root, such as `/dev/null`.
    pub path: PathBuf,
    /// How it is read and written.
    pub kind: Kind,
    /// Which driver (`Documentation/admin-guide/devices.txt` of the kernel).
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// The ids of its user and group.
    pub owner: (u32, u32),
}

/// How a device is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As a stream of bytes.
    Char,
    /// In blocks, at any place: a disk.
    Block,
    /// No device at all, but a pipe with a name, which an OCI config may list among them.
    Fifo,
}

impl Kind {
    /// What `mknod(2)` calls it.
    pub const fn file_type(self) -> FileType {
        match self {
            Self::Char => FileType::CharacterDevice,
            Self::Block => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
        }
    }
}

/// The devices every container has (OCI runtime spec, "Default Devices"). `/dev/console` comes with a terminal,
/// `/dev/ptmx` is a link into the container's own devpts.
pub fn standard() -> Vec<Device> {
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        .into_iter()
        .map(|(name, major, minor)| Device {
            path: Path::new("/dev").join(name),
            kind: Kind::Char,
            major,
            minor,
            mode: 0o666,
            owner: (0, 0),
        })
        .collect()
}

/// Links in `/dev`, name and target (OCI runtime spec, "Dev symbolic links").
pub const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Makes `devices`, and the standard links in the root's `/dev`, which must be a file system of our own: a node made in
/// the image's `/dev` would end up in its writable layer.
pub(crate) fn populate(root: Rooted<'_>, devices: &[Device]) -> Result<()> {
    // mknod(2) takes the umask off the mode. A chmod(2) afterwards would go by the name once more, and where the parent
    // is a volume, another container may have put a link to a file of the host's in the node's place.
    let umask = rustix::process::umask(Mode::empty());
    let made = devices.iter().try_for_each(|device| make(root, device));
    rustix::process::umask(umask);
    made?;
    let dev = root.open_without_links(Path::new("/dev"), OFlags::PATH | OFlags::DIRECTORY)?;
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(*target, &dev, *name) {
            // Where `/dev` is the image's own, it may have them.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(Error::new("make the link", format!("/dev/{name}"), errno)),
        }
    }
    Ok(())
}

fn make(root: Rooted<'_>, device: &Device) -> Result<()> {
    let path = device.path.display();
    tracing::info!("make the device {path} ({}:{})", device.major, device.minor);
    let failed = |errno: rustix::io::Errno| Error::new("make the device", path.to_string(), errno);
    let (Some(parent), Some(name)) = (device.path.parent(), device.path.file_name()) else {
        return Err(failed(rustix::io::Errno::INVAL));
    };
    let parent = root.make_dir(parent)?;
    let kind = device.kind.file_type();
    let mode = Mode::from_raw_mode(device.mode);
    match rustix::fs::mknodat(&parent, name, kind, mode, makedev(device.major, device.minor)) {
        // Another run of the same bundle, in an image's own `/dev`, has made it.
        Err(rustix::io::Errno::EXIST) if is_there(&parent, name, kind, device) => return Ok(()),
        made => made.map_err(failed)?,
    }
    if device.owner != (0, 0) {
        let (user, group) = device.owner;
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        rustix::fs::chownat(&parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed)?;
    }
    Ok(())
}

/// Whether `name` in `parent` is `device` already.
fn is_there(parent: &OwnedFd, name: &OsStr, kind: FileType, device: &Device) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == kind
            && (kind == FileType::Fifo || stat.st_rdev == makedev(device.major, device.minor))
    })
}
