//! The processor that a new task begins on.
//!
//! Left alone, the kernel looks for an idle one. But in a virtual machine it takes a processor that sleeps for one that the
//! host has given to others, and whatever is new waits until its maker's is free: up to half a millisecond, with the other
//! processor idle. So a new task is sent away. Where there is no other processor, nothing changes.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::error::{Error, Result};

/// Has a thread run on any processor but this one.
pub(crate) fn send_thread_away<T>(thread: &JoinHandle<T>) {
    let Some(others) = others() else { return };
    // SAFETY: a set of processors is plain memory, of the size that is said. The thread is known for as long as it has not been
    // joined, which takes what we are lent.
    let refused = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..CpuSet::MAX_CPU).filter(|cpu| others.is_set(*cpu)).for_each(|cpu| libc::CPU_SET(cpu, &mut set));
        libc::pthread_setaffinity_np(thread.as_pthread_t(), size_of_val(&set), &raw const set)
    };
    if refused != 0 {
        tracing::debug!("the thread stays on this processor");
    }
}

/// Has this thread go on elsewhere if it was started at once on its maker's processor, so that the maker waits.
pub(crate) fn leave(makers: usize) {
    if sched_getcpu() == makers
        && let Some(others) = others()
        && let Err(errno) = sched_setaffinity(None, &others)
    {
        tracing::debug!("this thread stays on its maker's processor: {errno}");
    }
}

/// Has a new child begin on any processor but this one. Afterwards it may use those that it could have used anyway.
///
/// # Errors
/// If it would be left with less.
pub(crate) fn send_away(child: Pid) -> Result<()> {
    let Some(others) = others() else { return Ok(()) };
    let child = rustix::process::Pid::from_raw(child.as_raw());
    let Ok(before) = sched_getaffinity(child) else { return Ok(()) };
    if sched_setaffinity(child, &others).is_err() {
        tracing::debug!("the child stays on this processor");
        return Ok(());
    }
    // All that there can be, and not only those that its cpuset has now: what is set like this is remembered, and a cpuset may
    // grow.
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let widened = sched_setaffinity(child, &all).and_then(|()| {
        // Our user may have left us, and so the child, only some of its cpuset's.
        if sched_getaffinity(child)? == before { Ok(()) } else { sched_setaffinity(child, &before) }
    });
    match widened {
        // It has ended, which is found out in other ways.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::kernel("give the child all its processors", errno)),
    }
}

/// What this thread may use without the one it runs on, if there is another.
fn others() -> Option<CpuSet> {
    let mut set = sched_getaffinity(None).ok()?;
    let this = sched_getcpu();
    if this < CpuSet::MAX_CPU {
        set.unset(this);
    }
    (set.count() > 0).then_some(set)
}
