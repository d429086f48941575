//! Where this host keeps its cgroups, and which of the two kinds they are.
//!
//! cgroup v1 has a tree for each controller; a process is somewhere in each of them. cgroup v2 has one tree, in which
//! controllers are switched on from the top down. On a *hybrid* host the controllers are in v1 trees and a v2 tree
//! without any serves only to keep processes in groups; for limits that is v1.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The controllers this crate knows how to use, as v1 names them. v2 calls `blkio` `io`, and does the work of `cpuacct`,
/// `devices` and `freezer` without a controller.
const V1: [&str; 12] = [
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "net_prio",
    "pids", "rdma",
];

/// The controllers that are switched on for containers in v2.
pub(crate) const V2: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The cgroup trees of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree.
    V2 {
        /// Where it is mounted.
        root: PathBuf,
        /// The controllers that it has to give.
        controllers: BTreeSet<String>,
    },
    /// A tree for each controller.
    V1 {
        /// Where each is mounted. Controllers that are mounted together have one path.
        controllers: BTreeMap<String, PathBuf>,
    },
}

impl Hierarchy {
    /// Finds them in `/proc/self/mountinfo`.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`], or what the kernel refuses.
    pub fn detect() -> Result<Self> {
        let path = Path::new("/proc/self/mountinfo");
        Self::detect_in(&fs::read(path).map_err(Error::io("read", path))?)
    }

    /// Finds them in the text of `/proc/self/mountinfo`, for those who have read it already: the kernel takes a tenth of
    /// a millisecond to write it.
    ///
    /// # Errors
    /// As [`Hierarchy::detect`].
    pub fn detect_in(mountinfo: &[u8]) -> Result<Self> {
        match Self::from_mountinfo(mountinfo)? {
            Self::V2 { root, .. } => {
                let path = root.join("cgroup.controllers");
                let controllers = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                Ok(Self::V2 {
                    root,
                    controllers: controllers.split_whitespace().map(str::to_owned).collect(),
                })
            }
            v1 @ Self::V1 { .. } => Ok(v1),
        }
    }

    /// The decision, without v2's controllers.
    fn from_mountinfo(mountinfo: &[u8]) -> Result<Self> {
        let mut unified = None;
        let mut controllers = BTreeMap::new();
        for line in mountinfo.split(|&byte| byte == b'\n') {
            // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS TAGS... - TYPE SOURCE SUPEROPTIONS (proc_pid_mountinfo(5))
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            let Some(dash) = fields.iter().position(|&field| field == b"-") else { continue };
            let (Some(place), Some(&kind), Some(options)) =
                (fields.get(4), fields.get(dash + 1), fields.get(dash + 3))
            else {
                continue;
            };
            match kind {
                b"cgroup2" => drop(unified.get_or_insert_with(|| unescape(place))),
                b"cgroup" => {
                    for option in options.split(|&byte| byte == b',') {
                        if let Some(name) = V1.iter().find(|name| name.as_bytes() == option) {
                            controllers.entry((*name).to_owned()).or_insert_with(|| unescape(place));
                        }
                    }
                }
                _ => {}
            }
        }
        match unified {
            _ if !controllers.is_empty() => Ok(Self::V1 { controllers }),
            Some(root) => Ok(Self::V2 { root, controllers: BTreeSet::new() }),
            None => Err(Error::NoHierarchy),
        }
    }

    /// Whether this is cgroup v2.
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2 { .. })
    }

    /// Whether a limit that this controller enforces can be set. Names are v1's; see [`Hierarchy`].
    pub fn has(&self, controller: &str) -> bool {
        match self {
            Self::V1 { controllers } => controllers.contains_key(controller),
            Self::V2 { controllers, .. } => match controller {
                // A BPF program and files that every cgroup has.
                "devices" | "freezer" | "cpuacct" => true,
                "blkio" => controllers.contains("io"),
                name => controllers.contains(name),
            },
        }
    }

    /// The root of the tree that this controller is in.
    pub(crate) fn root(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V2 { root, .. } => Some(root),
            Self::V1 { controllers } => controllers.get(controller).map(PathBuf::as_path),
        }
    }
}

/// Mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        if let (b'\\', Some((digits, after))) = (byte, after.split_at_checked(3)) {
            bytes.push(
                digits
                    .iter()
                    .fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))),
            );
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(mountinfo: &str) -> String {
        match Hierarchy::from_mountinfo(mountinfo.as_bytes()) {
            Ok(hierarchy) => format!("{hierarchy:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn all_three_kinds() {
        let v2 = "29 23 0:26 / /sys/fs/cg\\040roup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let v1 = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd";
        assert_eq!(show(v2), r#"V2 { root: "/sys/fs/cg roup", controllers: {} }"#);
        let together = r#"V1 { controllers: {"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct"} }"#;
        assert_eq!(show(v1), together);
        assert_eq!(show(&format!("{v2}\n{v1}")), together, "hybrid");
        assert_eq!(show("22 1 8:1 / / rw - ext4 /dev/sda1 rw"), Error::NoHierarchy.to_string());
    }
}
