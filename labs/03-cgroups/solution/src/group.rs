//! One cgroup, from its making to its removal.

use std::fs;
use std::io::{ErrorKind, Result};
use std::thread::sleep;
use std::time::Duration;

use crate::Limits;
use crate::host::{Group, Version};

/// Microseconds in which a quota of processor time is given anew: the kernel's default.
const PERIOD: f64 = 100_000.0;

/// Makes the cgroup: each of its directories.
pub fn make(group: &Group) -> Result<()> {
    group.directories().into_iter().try_for_each(fs::create_dir)
}

/// Sets limits, by writing to files in the cgroup's directories.
pub fn limit(group: &Group, limits: Limits) -> Result<()> {
    let quota = (limits.cpus * PERIOD) as u64;
    let (memory, cpu, share) = match group.version {
        Version::V1 => ("memory.limit_in_bytes", "cpu.cfs_quota_us", quota.to_string()),
        Version::V2 => ("memory.max", "cpu.max", format!("{quota} {PERIOD}")),
    };
    fs::write(group.memory.join(memory), limits.memory.to_string())?;
    fs::write(group.pids.join("pids.max"), limits.pids.to_string())?;
    fs::write(group.cpu.join(cpu), share)
}

/// Puts the calling process into the cgroup, in all of its directories, and with it all that it will start.
pub fn join(group: &Group) -> Result<()> {
    group.directories().into_iter().try_for_each(|directory| fs::write(directory.join("cgroup.procs"), "0"))
}

/// Removes the cgroup, in which no process is left. One that was not made is no error.
pub fn remove(group: &Group) -> Result<()> {
    for directory in group.directories() {
        // The kernel may need a moment to let go of processes that have ended: then it is busy.
        for _ in 0..100 {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => sleep(Duration::from_millis(10)),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => break,
            }
        }
        if directory.exists() {
            return Err(ErrorKind::ResourceBusy.into());
        }
    }
    Ok(())
}
