//! What a container finds in `/dev`: six devices and a few links, and nothing of the host's.

use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev};

use crate::error::{Error, Result};
use crate::resolve::Rooted;

/// A character device: its name in `/dev`, and its major and minor number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Name below `/dev`.
    pub name: &'static str,
    /// Which driver (`Documentation/admin-guide/devices.txt` of the kernel).
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// The devices every container has (OCI runtime spec, "Default Devices"). `/dev/console` comes with a terminal,
/// `/dev/ptmx` is a link into the container's own devpts.
pub const STANDARD: &[Device] = &[
    Device { name: "null", major: 1, minor: 3 },
    Device { name: "zero", major: 1, minor: 5 },
    Device { name: "full", major: 1, minor: 7 },
    Device { name: "random", major: 1, minor: 8 },
    Device { name: "urandom", major: 1, minor: 9 },
    Device { name: "tty", major: 5, minor: 0 },
];

/// Links in `/dev`, name and target (OCI runtime spec, "Dev symbolic links").
pub const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Makes `devices` and the standard links in the root's `/dev`, which must be a file system of our own: a node
/// made in the image's `/dev` would end up in its writable layer.
pub(crate) fn populate(root: Rooted<'_>, devices: &[Device]) -> Result<()> {
    let dev = root.open_without_links(Path::new("/dev"), OFlags::PATH | OFlags::DIRECTORY)?;
    for device in devices {
        tracing::info!("make the device /dev/{} ({}:{})", device.name, device.major, device.minor);
        let number = makedev(device.major, device.minor);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&dev, device.name, FileType::CharacterDevice, mode, number)
            // mknod(2) takes the umask off the mode; chmod does not.
            .and_then(|()| rustix::fs::chmodat(&dev, device.name, mode, rustix::fs::AtFlags::empty()))
            .map_err(|errno| Error::new("make the device", format!("/dev/{}", device.name), errno))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(*target, &dev, *name)
            .map_err(|errno| Error::new("make the link", format!("/dev/{name}"), errno))?;
    }
    Ok(())
}
