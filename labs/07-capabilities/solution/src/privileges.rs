//! What a process gives up before it becomes the command.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use crate::capability;

/// Gives up all but `kept`, and becomes `user`, in an order in which each of the steps may still do what it does.
pub fn give_up(user: u32, kept: CapabilitySet, no_new_privileges: bool) -> Result<(), String> {
    // As long as this process has CAP_SETPCAP.
    bound(kept).map_err(|error| format!("bound: {error}"))?;
    // As long as it has CAP_SETUID and CAP_SETGID.
    become_user(user).map_err(|error| format!("become_user: {error}"))?;
    set(kept).map_err(|error| format!("set: {error}"))?;
    if no_new_privileges {
        forbid_new_privileges().map_err(|error| format!("forbid_new_privileges: {error}"))?;
    }
    Ok(())
}

/// Takes everything but `kept` out of the bounding set.
fn bound(kept: CapabilitySet) -> io::Result<()> {
    for one in capability::all().filter(|one| !kept.contains(*one)) {
        remove_capability_from_bounding_set(one)?;
    }
    Ok(())
}

/// Becomes `user`, in the group of the same number and in no other. What is permitted stays so.
fn become_user(user: u32) -> io::Result<()> {
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Makes `kept` effective and permitted; nothing is inheritable or ambient.
fn set(kept: CapabilitySet) -> io::Result<()> {
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    clear_ambient_capability_set()?;
    Ok(())
}

/// Keeps programs that are run from here on from having more than who runs them.
fn forbid_new_privileges() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}
