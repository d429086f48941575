//! When a program runs, and what kind of machine it sees.

use std::ffi::c_long;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// A process's place among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Who gets the processor (`sched(7)`).
    pub policy: Option<Policy>,
    /// Who gets the disk: class and level in one number, as `ioprio_set(2)` takes it.
    pub io_priority: Option<u16>,
    /// The processors that it may use.
    pub processors: Vec<usize>,
    /// The execution domain (`personality(2)`).
    pub personality: Option<u64>,
}

/// `struct sched_attr` of `sched_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// The structure's own size in bytes; set by `Schedule::assume`.
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Likewise.
    pub deadline: u64,
    /// Likewise.
    pub period: u64,
}

/// `ioprio_set(2)`: the number is a process's, and 0 is this one.
const IOPRIO_WHO_PROCESS: c_long = 1;

impl Schedule {
    /// Takes this process there.
    pub(crate) fn assume(&self) -> Result<()> {
        if !self.processors.is_empty() {
            let mut set = CpuSet::new();
            self.processors
                .iter()
                .try_for_each(|&processor| set.set(processor))
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
                .map_err(|errno| Error::kernel("run on these processors only", errno))?;
        }
        if let Some(policy) = self.policy {
            set_policy(policy)?;
        }
        if let Some(priority) = self.io_priority {
            set_io_priority(priority)?;
        }
        self.personality.map_or(Ok(()), set_personality)
    }
}

fn set_policy(policy: Policy) -> Result<()> {
    let policy = Policy { size: size_of::<Policy>() as u32, ..policy };
    // SAFETY: the kernel reads a structure of the size that it says, which lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&policy), 0) };
    Errno::result(result).map(drop).map_err(|errno| Error::kernel("set the scheduling policy", errno))
}

fn set_io_priority(priority: u16) -> Result<()> {
    // SAFETY: ioprio_set takes no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, c_long::from(priority)) };
    Errno::result(result).map(drop).map_err(|errno| Error::kernel("set the I/O priority", errno))
}

fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: personality takes no memory.
    let result = unsafe { libc::personality(domain) };
    Errno::result(result).map(drop).map_err(|errno| Error::kernel("set the execution domain", errno))
}
