//! The kernel calls that give privileges up, in the order in which they must be made.
//!
//! 1. [`bound`] while the process still has `CAP_SETPCAP`;
//! 2. [`keep_across_user_change`], since a change from root to another user would empty the sets before the next step;
//! 3. groups, group and user;
//! 4. [`set`], which also takes away `CAP_SETPCAP` itself;
//! 5. [`forbid_new_privileges`], if it is asked for, and `execve`.

use chroot::Error as KernelError;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::Result;
use crate::set::Set;
use crate::sets::Sets;

/// The bounding set of this process: what it may hand out at most.
///
/// # Errors
/// What the kernel refuses.
pub fn available() -> Result<Set> {
    let mut set = Set::EMPTY;
    for (one, bit) in each() {
        if rustix::thread::capability_is_in_bounding_set(bit)
            .map_err(|errno| KernelError::new("look for", one, errno))?
        {
            set = set.or(one);
        }
    }
    Ok(set)
}

/// Takes everything but `kept` out of the bounding set, for good (`PR_CAPBSET_DROP`).
///
/// # Errors
/// EPERM without `CAP_SETPCAP`.
pub fn bound(kept: Set) -> Result<()> {
    tracing::info!("bound the capabilities: no program from here on can have any but {kept}");
    for (one, bit) in each().filter(|(one, _)| !kept.contains(*one)) {
        match rustix::thread::remove_capability_from_bounding_set(bit) {
            // A kernel older than the capability.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => {
                return Err(KernelError::new("take out of the bounding set", one, errno).into());
            }
        }
    }
    Ok(())
}

/// Whether the permitted set stays when root becomes another user (`PR_SET_KEEPCAPS`).
///
/// # Errors
/// What the kernel refuses.
pub fn keep_across_user_change(keep: bool) -> Result<()> {
    Ok(rustix::thread::set_keep_capabilities(keep)
        .map_err(|errno| KernelError::new("keep", "capabilities across a change of user", errno))?)
}

/// Sets all but the bounding set (`capset(2)`, `PR_CAP_AMBIENT`).
///
/// # Errors
/// EPERM for what is not permitted to this process.
pub fn set(sets: &Sets) -> Result<()> {
    let bits = |set: Set| CapabilitySet::from_bits_retain(set.bits());
    let new = CapabilitySets {
        effective: bits(sets.effective),
        permitted: bits(sets.permitted),
        inheritable: bits(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, new)
        .map_err(|errno| KernelError::new("have the capabilities", sets.permitted, errno))?;
    rustix::thread::clear_ambient_capability_set()
        .map_err(|errno| KernelError::new("clear", "the ambient capabilities", errno))?;
    for (one, bit) in each().filter(|(one, _)| sets.ambient.contains(*one)) {
        rustix::thread::configure_capability_in_ambient_set(bit, true)
            .map_err(|errno| KernelError::new("make ambient", one, errno))?;
    }
    Ok(())
}

/// Sets `no_new_privs`: from here on no `execve` gives anything, neither set-user-ID bits nor file capabilities. It is
/// inherited, and cannot be unset.
///
/// # Errors
/// What the kernel refuses.
pub fn forbid_new_privileges() -> Result<()> {
    tracing::info!("no_new_privs: no program from here on can gain privileges");
    Ok(rustix::thread::set_no_new_privs(true)
        .map_err(|errno| KernelError::new("set", "no_new_privs", errno))?)
}

/// Every capability that has a name, as a set of one and as the library's bit.
fn each() -> impl Iterator<Item = (Set, CapabilitySet)> {
    let named = Set::named().bits();
    (0..u64::BITS)
        .map(|number| 1 << number)
        .filter(move |bit| named & bit != 0)
        .map(|bit| (Set::from_bits(bit), CapabilitySet::from_bits_retain(bit)))
}
