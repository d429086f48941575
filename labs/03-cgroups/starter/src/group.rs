//! One cgroup, from its making to its removal.
//!
//! `host.rs` knows which of the two kinds of cgroups this machine has ([`Group`]'s `version`), and where. It is enough to
//! write for the kind that is yours.

use std::io::{Error, ErrorKind, Result};

use crate::Limits;
use crate::host::Group;

/// Makes the cgroup: each of its directories.
pub fn make(_group: &Group) -> Result<()> {
    // Yours: mkdir(2). "Unsupported" stands for "not written yet".
    Err(Error::from(ErrorKind::Unsupported))
}

/// Sets limits, by writing to files in the cgroup's directories:
///
/// | limit | v1 | v2 |
/// |---|---|---|
/// | memory | `memory.limit_in_bytes` | `memory.max` |
/// | processes | `pids.max` | `pids.max` |
/// | processors | `cpu.cfs_quota_us`: microseconds in each period of 100000 | `cpu.max`: "QUOTA PERIOD", likewise |
pub fn limit(_group: &Group, _limits: Limits) -> Result<()> {
    // Yours: a write for each of them.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Puts the calling process into the cgroup, in all of its directories, and with it all that it will start.
pub fn join(_group: &Group) -> Result<()> {
    // Yours: a write to cgroup.procs. The number 0 stands for the process that writes.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Removes the cgroup, in which no process is left. One that was not made is no error.
pub fn remove(_group: &Group) -> Result<()> {
    // Yours: rmdir(2).
    Err(Error::from(ErrorKind::Unsupported))
}
