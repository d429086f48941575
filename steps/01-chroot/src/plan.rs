//! What a container's root consists of, decided before anything is done.
//!
//! Everything here is plain data: it can be printed, compared, and tested without privileges.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::devices::{self, Device};
use crate::mount::{Attributes, Change, Propagation};

/// One mount inside the new root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside the root.
    pub target: PathBuf,
    /// What.
    pub source: Source,
    /// With which flags. A bind mount adds them to those its source has.
    pub attributes: Attributes,
    /// Whether later mounts travel in or out.
    pub propagation: Propagation,
    /// Whether `target` may be, or lead through, a symbolic link of the image's. It is followed inside the root.
    pub follow: bool,
    /// What few mounts need.
    pub finer: Finer,
}

/// What few mounts need: the finer points that an OCI config may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finer {
    /// Other flags of the mount itself.
    pub change: Change,
    /// Other flags of it and of all that is mounted in it.
    pub change_all: Change,
    /// Whether the propagation is of the mount itself only, and not of what is mounted in it.
    pub flat: bool,
    /// Whether what is in the directory below is copied into the new file system.
    pub copy_up: bool,
    /// Which of the trees it is that somebody with more rights has made beforehand, counted from 0. The source only says
    /// what that was made of.
    pub given: Option<usize>,
    /// Which part of a bound tree is shown, if not all of it: a path from its top, which no link leads out of.
    pub part: Option<PathBuf>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file system made for this container.
    Filesystem {
        /// Its type, such as `proc`.
        fstype: Cow<'static, str>,
        /// What stands first in a line of `/proc/mounts`: a device, or by custom the type once more (`None`).
        device: Option<String>,
        /// Its options; one without a value is a flag.
        options: Vec<(String, Option<String>)>,
    },
    /// A piece of the host's tree.
    Bind {
        /// The host path of a directory or file.
        from: PathBuf,
        /// Whether what is mounted below it comes along.
        recursive: bool,
    },
    /// What is there already: its flags become those of [`Finer::change`], and others do not stay.
    Remount {
        /// Options of the file system that change too, wherever else it is mounted; `None` if it is left alone.
        options: Option<Vec<(String, Option<String>)>>,
        /// Whether the propagation changes too.
        propagate: bool,
    },
}

/// A root: its mounts in order, the contents of `/dev`, and what is hidden or read-only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Mounts, in the order in which they are made; one inside another comes after it.
    pub mounts: Vec<Mount>,
    /// Devices to make in `/dev`, which must be one of the mounts; if empty, `/dev` is left as it is.
    pub devices: Vec<Device>,
    /// Files and directories that the container must not read.
    pub masked_paths: Vec<PathBuf>,
    /// Files and directories that the container must not write.
    pub readonly_paths: Vec<PathBuf>,
    /// Whether the root itself is read-only. Mounts inside it are not affected.
    pub readonly: bool,
    /// Whether mounts made later below the root itself travel in or out.
    pub propagation: Propagation,
    /// Whether the root is moved to its place instead of pivoted to: for a host that runs from the kernel's first ramfs.
    pub no_pivot: bool,
}

/// Files that tell about the host or act on it: masked unless asked otherwise. Most are root-only on the host,
/// but the container's root user would pass that check (the list that OCI engines share).
pub const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Parts of `/proc` that may be read but not written: `sysrq-trigger` reboots the host, `sys` tunes its kernel.
pub const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Plan {
    /// What every container gets: its own `/proc`, `/dev` and their like, a read-only `/sys`, and the standard
    /// masks. `mountinfo` is the host's ([`crate::mount::mountinfo`]); it tells which cgroup version to show.
    pub fn container(mountinfo: &str) -> Self {
        let mut mounts = vec![
            filesystem("/proc", "proc", &[], Attributes::DATA),
            filesystem(
                "/dev",
                "tmpfs",
                &["mode=755", "size=65536k"],
                Attributes { nosuid: true, ..Attributes::default() },
            ),
            filesystem(
                "/dev/pts",
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
                Attributes { nodev: false, ..Attributes::DATA },
            ),
            filesystem("/dev/shm", "tmpfs", &["mode=1777", "size=67108864"], Attributes::DATA),
            filesystem("/dev/mqueue", "mqueue", &[], Attributes::DATA),
            filesystem("/sys", "sysfs", &[], Attributes::DATA.read_only()),
        ];
        mounts.extend(cgroups(mountinfo, CGROUPS, Attributes::DATA.read_only()));
        Self {
            mounts,
            devices: devices::standard(),
            masked_paths: MASKED_PATHS.iter().map(PathBuf::from).collect(),
            readonly_paths: READONLY_PATHS.iter().map(PathBuf::from).collect(),
            readonly: false,
            propagation: Propagation::Private,
            no_pivot: false,
        }
    }

    /// Shows what is masked otherwise, and lets it be written.
    pub fn unmask(&mut self) {
        self.masked_paths.clear();
        self.readonly_paths.clear();
    }

    /// Lets `/sys` and what is mounted in it be written: a container that may tune the kernel and divide its own
    /// cgroup.
    pub fn unlock_sys(&mut self) {
        for mount in self.mounts.iter_mut().filter(|mount| mount.target.starts_with("/sys")) {
            mount.attributes.readonly = false;
        }
    }
}

/// Where control groups are shown.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The control groups of step 3, to be shown at `place`.
///
/// One tree where the host has cgroup v2 at `/sys/fs/cgroup`; on a host with v1, a tmpfs with one directory per
/// hierarchy, as there.
pub fn cgroups(mountinfo: &str, place: &str, attributes: Attributes) -> Vec<Mount> {
    let hierarchies: Vec<Hierarchy> = mountinfo.lines().filter_map(Hierarchy::parse).collect();
    if hierarchies.iter().any(|hierarchy| hierarchy.name.is_none()) {
        return vec![filesystem(place, "cgroup2", &[], attributes)];
    }
    if hierarchies.is_empty() {
        return Vec::new();
    }
    let mut mounts = vec![filesystem(place, "tmpfs", &["mode=755"], attributes)];
    for Hierarchy { name, options } in hierarchies {
        let target = format!("{place}/{}", name.unwrap_or_default());
        let fstype = if options.is_empty() { "cgroup2" } else { "cgroup" };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        mounts.push(filesystem(&target, fstype, &options, attributes));
    }
    mounts
}

/// One mounted cgroup hierarchy of the host.
struct Hierarchy {
    /// Its directory below `/sys/fs/cgroup`; `None` where it is mounted on that itself.
    name: Option<String>,
    /// What tells a v1 hierarchy from others, such as `memory` or `name=systemd`; empty for v2.
    options: Vec<String>,
}

impl Hierarchy {
    /// Reads a line of mountinfo: `36 35 98:0 /root /mount/point opts - type source superopts`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let target = Path::new(mount.split(' ').nth(4)?);
        let name = target.strip_prefix(CGROUPS).ok()?;
        let name = (name != Path::new("")).then(|| name.display().to_string());
        let mut fields = filesystem.split(' ');
        let options = match fields.next()? {
            "cgroup2" => Vec::new(),
            "cgroup" => {
                let all = fields.nth(1)?.split(',');
                let named: Vec<String> =
                    all.filter(|option| !is_generic(option)).map(str::to_owned).collect();
                // A hierarchy without a controller has a name, and must be told that it wants none.
                if named.iter().any(|option| option.starts_with("name=")) {
                    named.into_iter().chain(["none".to_owned()]).collect()
                } else {
                    named
                }
            }
            _ => return None,
        };
        Some(Self { name, options })
    }
}

/// Options of a cgroup v1 superblock that do not say which hierarchy it is.
fn is_generic(option: &str) -> bool {
    ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"].contains(&option)
        || option.starts_with("release_agent=")
}

/// A file system mount at exactly `target`; options are written `key=value` or `flag`.
pub fn filesystem(target: &str, fstype: &'static str, options: &[&str], attributes: Attributes) -> Mount {
    let options = options.iter().map(|option| match option.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => ((*option).to_owned(), None),
    });
    Mount {
        target: PathBuf::from(target),
        source: Source::Filesystem { fstype: fstype.into(), device: None, options: options.collect() },
        attributes,
        propagation: Propagation::Private,
        follow: false,
        finer: Finer::default(),
    }
}

/// A recursive bind mount of the host's `from` at `target`.
pub fn bind(from: impl Into<PathBuf>, target: impl Into<PathBuf>, attributes: Attributes) -> Mount {
    Mount {
        target: target.into(),
        source: Source::Bind { from: from.into(), recursive: true },
        attributes,
        propagation: Propagation::Private,
        follow: true,
        finer: Finer::default(),
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Filesystem { fstype, options, .. } => {
                write!(f, "{fstype} on {} ({}", self.target.display(), self.attributes)?;
                for (key, value) in options {
                    write!(f, ",{key}")?;
                    if let Some(value) = value {
                        write!(f, "={value}")?;
                    }
                }
                f.write_str(")")
            }
            Source::Remount { .. } => write!(f, "{} with other flags", self.target.display()),
            Source::Bind { from, .. } => {
                write!(f, "the host's {} on {} ({})", from.display(), self.target.display(), self.attributes)
            }
        }
    }
}
