//! The time namespace: other values for the clocks that count from boot.

use std::time::Duration;

use chroot::{Error, Result};
use nix::sched::CloneFlags;

use crate::namespaces::Namespaces;

/// Gives this process's *children* a time namespace in which the machine has been up for `offset` longer
/// (`time_namespaces(7)`). The wall clock is the same everywhere; only the monotonic and boot-time clocks move.
///
/// The offsets can be written only while the namespace is empty, so `clone3` cannot make it: a process would
/// already be inside. `unshare(2)` puts the next child into it, and nobody before.
pub fn shift_clocks(offset: Duration) -> Result<()> {
    let (seconds, nanoseconds) = (offset.as_secs(), offset.subsec_nanos());
    set_clocks(&format!("monotonic {seconds} {nanoseconds}\nboottime {seconds} {nanoseconds}\n"))
}

/// Likewise, with lines of `CLOCK SECONDS NANOSECONDS`, of which the seconds may be negative.
pub fn set_clocks(offsets: &str) -> Result<()> {
    let flag = CloneFlags::from_bits_retain(Namespaces::TIME.bits() as i32);
    nix::sched::unshare(flag).map_err(|errno| Error::new("make", "a time namespace", errno))?;
    tracing::info!("set the clocks of the new time namespace: {}", offsets.trim_end().replace('\n', ", "));
    std::fs::write("/proc/self/timens_offsets", offsets)
        .map_err(|error| Error::new("write", "/proc/self/timens_offsets", error))
}
