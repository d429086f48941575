//! The eight kinds of namespace, as a set.

use std::fmt;
use std::ops::BitOr;
use std::path::Path;

use chroot::{Error, Result};

/// A set of kinds of namespace: what a process is to have of its own (`namespaces(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: share everything with the parent.
    pub const NONE: Self = Self(0);
    /// Which file systems are mounted where.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// The host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// System V IPC objects and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Process ids: the first process inside is 1, and sees no process outside.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Which cgroup appears as the root of the cgroup tree.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// Network devices, addresses, routes, ports, firewall rules.
    pub const NET: Self = Self(libc::CLONE_NEWNET as u64);
    /// User and group ids, and what capabilities apply to.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// The monotonic and boot-time clocks (Linux 5.6). Its bit lies among those of the exit signal in the old
    /// `clone(2)`, so only `clone3` and `unshare` can ask for it.
    pub const TIME: Self = Self(0x80);

    /// Each kind with its name in `/proc/PID/ns`.
    const KINDS: [(Self, &'static str); 8] = [
        (Self::CGROUP, "cgroup"),
        (Self::IPC, "ipc"),
        (Self::MOUNT, "mnt"),
        (Self::NET, "net"),
        (Self::PID, "pid"),
        (Self::TIME, "time"),
        (Self::USER, "user"),
        (Self::UTS, "uts"),
    ];

    /// Every kind.
    pub fn all() -> Self {
        Self::KINDS.into_iter().fold(Self::NONE, |set, (kind, _)| set | kind)
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The `CLONE_NEW*` bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The kinds in the set, each by itself.
    pub fn kinds(self) -> impl Iterator<Item = Self> {
        Self::KINDS.into_iter().map(|(kind, _)| kind).filter(move |kind| self.contains(*kind))
    }

    /// The kinds in the set, by their names in `/proc/PID/ns`, in alphabetical order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::KINDS.into_iter().filter(move |(kind, _)| self.contains(*kind)).map(|(_, name)| name)
    }
}

impl BitOr for Namespaces {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespaces({self})")
    }
}

/// The identity of a process's namespaces: the name of each kind and its inode number. Two processes share a
/// namespace exactly if the numbers are equal. `process` is a directory in `/proc`, such as `/proc/self`.
pub fn inodes(process: &Path) -> Result<Vec<(&'static str, u64)>> {
    Namespaces::all()
        .names()
        .map(|name| {
            let link = process.join("ns").join(name);
            // The link is magic: following it leads to the namespace itself, whatever its text says.
            let stat =
                rustix::fs::stat(&link).map_err(|errno| Error::new("look at", link.display(), errno))?;
            Ok((name, stat.st_ino))
        })
        .collect()
}

/// All the ids of one process, outermost namespace first: the `NSpid:` line of `/proc/PID/status`
/// (`proc_pid_status(5)`). A process in a container has at least two.
pub fn pids(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
