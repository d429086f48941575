//! What a container may use, in the units of Docker's command line.

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;

/// Limits of one cgroup. What is `None` or empty is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, at least 6 MiB. More is never had: the kernel reclaims, and then kills.
    pub memory: Option<u64>,
    /// Bytes of memory that are spared when the host runs short; at most `memory`.
    pub memory_reservation: Option<u64>,
    /// Memory and swap together. `None` with `memory` set means twice `memory`, as Docker has it.
    pub memory_swap: Option<Swap>,
    /// How readily anonymous memory is swapped out, 0 to 100. cgroup v1 only.
    pub swappiness: Option<u64>,
    /// Let processes wait for memory instead of killing one. cgroup v1 only.
    pub oom_kill_disable: bool,
    /// Billionths of a processor, at least a hundredth of one: 1.5 processors are `1_500_000_000`. Excludes
    /// `cpu_quota` and `cpu_period`.
    pub nano_cpus: Option<u64>,
    /// Microseconds of processor time in each period, at least 1000.
    pub cpu_quota: Option<u64>,
    /// Microseconds, 1000 to 1 000 000; 100 000 if not given.
    pub cpu_period: Option<u64>,
    /// Share of the processors relative to other cgroups when there are not enough, 2 to 262 144; 1024 is the default
    /// of everybody.
    pub cpu_shares: Option<u64>,
    /// Processors that may be used, as in `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used, as in `0,1`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; zero and less mean no limit.
    pub pids: Option<i64>,
    /// Transfers to and from block devices.
    pub io: Vec<IoLimit>,
    /// Share of the disks relative to other cgroups, 10 to 1000; 500 is in the middle.
    pub io_weight: Option<u64>,
    /// Which devices may be used. If there are any rules, everything is forbidden first, and then the rules apply in
    /// order; if there are none, devices are not restricted.
    pub devices: Vec<DeviceRule>,
}

impl Limits {
    /// Takes out what needs a controller that is missing: the controllers, by their v2 names, and what each would have
    /// limited. Devices need none.
    pub fn take_unavailable(&mut self, hierarchy: &Hierarchy) -> Vec<(&'static str, &'static str)> {
        let mut taken = Vec::new();
        for (controller, what) in [
            ("memory", "memory"),
            ("cpu", "processor time"),
            ("cpuset", "which processors and memory nodes to use"),
            ("pids", "processes"),
            ("io", "disks"),
        ] {
            let name = if controller == "io" { "blkio" } else { controller };
            if hierarchy.has(name) {
                continue;
            }
            let all = self.clone();
            let rest = match controller {
                "memory" => Self {
                    memory: None,
                    memory_reservation: None,
                    memory_swap: None,
                    swappiness: None,
                    oom_kill_disable: false,
                    ..all
                },
                "cpu" => Self { nano_cpus: None, cpu_quota: None, cpu_period: None, cpu_shares: None, ..all },
                "cpuset" => Self { cpuset_cpus: None, cpuset_mems: None, ..all },
                "pids" => Self { pids: None, ..all },
                _ => Self { io: Vec::new(), io_weight: None, ..all },
            };
            if rest != *self {
                *self = rest;
                taken.push((controller, what));
            }
        }
        taken
    }
}

/// A limit of memory and swap together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// As much swap as there is (`-1`).
    Unlimited,
    /// Bytes of memory and swap in all; at least the memory limit.
    Total(u64),
}

/// What may be transferred to and from one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimit {
    /// The device's major and minor number. A whole disk: partitions cannot be limited on their own.
    pub device: (u32, u32),
    /// Bytes read per second.
    pub read_bps: Option<u64>,
    /// Bytes written per second.
    pub write_bps: Option<u64>,
    /// Read operations per second.
    pub read_iops: Option<u64>,
    /// Write operations per second.
    pub write_iops: Option<u64>,
}

impl IoLimit {
    /// No limit yet for the device that this path (`/dev/sda`) names.
    ///
    /// # Errors
    /// When the path is not a block device's.
    pub fn on(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io("look at the device", path))?;
        if !metadata.file_type().is_block_device() {
            return Err(Error::Invalid(format!("{} is not a block device", path.display())));
        }
        let device = metadata.rdev();
        Ok(Self { device: (rustix::fs::major(device), rustix::fs::minor(device)), ..Self::default() })
    }
}

/// The kinds of devices a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `a`: both of the others, and every number.
    All,
    /// `b`
    Block,
    /// `c`
    Char,
}

/// A rule about devices, written as in `c 1:3 rwm` (kernel: admin-guide/cgroup-v1/devices.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or forbids.
    pub allow: bool,
    /// The kind of device.
    pub kind: DeviceKind,
    /// The major number; `None` is any.
    pub major: Option<u32>,
    /// The minor number; `None` is any.
    pub minor: Option<u32>,
    /// To open it for reading.
    pub read: bool,
    /// To open it for writing.
    pub write: bool,
    /// To make device nodes for it.
    pub mknod: bool,
}

impl DeviceRule {
    /// Everything is allowed: what `--privileged` asks for.
    pub const ALL: Self = Self {
        allow: true,
        kind: DeviceKind::All,
        major: None,
        minor: None,
        read: true,
        write: true,
        mknod: true,
    };

    /// A device that may be used in every way.
    const fn usable(major: u32, minor: Option<u32>) -> Self {
        Self { kind: DeviceKind::Char, major: Some(major), minor, ..Self::ALL }
    }

    /// Nodes of this kind may be made; without a rule for it, the device behind one cannot be opened.
    const fn makeable(kind: DeviceKind) -> Self {
        Self { kind, read: false, write: false, ..Self::ALL }
    }

    /// What Docker allows in every container: to make any node, and to use the harmless ones.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::makeable(DeviceKind::Char),
            Self::makeable(DeviceKind::Block),
            Self::usable(1, Some(3)), // null
            Self::usable(1, Some(5)), // zero
            Self::usable(1, Some(7)), // full
            Self::usable(1, Some(8)), // random
            Self::usable(1, Some(9)), // urandom
            Self::usable(5, Some(0)), // tty
            Self::usable(5, Some(1)), // console
            Self::usable(5, Some(2)), // ptmx
            Self::usable(136, None),  // pts/*
        ]
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (set, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if set {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl FromStr for DeviceRule {
    type Err = Error;

    /// Reads a rule that allows, as `--device-cgroup-rule` takes it: `c 42:* rmw`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::Invalid(format!("device rule {text:?}: expected for example \"c 42:* rmw\""));
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(numbers), Some(access), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid());
        };
        let kind = match kind {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Char,
            _ => return Err(invalid()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| invalid()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
        if !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(invalid());
        }
        Ok(Self {
            allow: true,
            kind,
            major: number(major)?,
            minor: number(minor)?,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        })
    }
}
