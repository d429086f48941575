//! What a process gives up before it becomes the command.

use std::io::{self, Error, ErrorKind};

use rustix::thread::CapabilitySet;

/// Gives up all but `kept`, and becomes `user`.
///
/// The calls are in the order of the alphabet. Yours: the order in which each may still do what it does.
pub fn give_up(user: u32, kept: CapabilitySet, no_new_privileges: bool) -> Result<(), String> {
    become_user(user).map_err(|error| format!("become_user: {error}"))?;
    bound(kept).map_err(|error| format!("bound: {error}"))?;
    if no_new_privileges {
        forbid_new_privileges().map_err(|error| format!("forbid_new_privileges: {error}"))?;
    }
    set(kept).map_err(|error| format!("set: {error}"))
}

/// Becomes `user`, in the group of the same number and in no other. What is permitted stays so.
fn become_user(_user: u32) -> io::Result<()> {
    // Yours: set_keep_capabilities of rustix::thread, which is prctl(2) with PR_SET_KEEPCAPS; setgroups, setresgid and
    // setresuid of nix::unistd. "Unsupported" stands for "not written yet".
    Err(Error::from(ErrorKind::Unsupported))
}

/// Takes everything but `kept` out of the bounding set.
fn bound(_kept: CapabilitySet) -> io::Result<()> {
    // Yours: remove_capability_from_bounding_set of rustix::thread, which is prctl(2) with PR_CAPBSET_DROP, for each of
    // crate::capability::all() that is not kept.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Keeps programs that are run from here on from having more than who runs them.
fn forbid_new_privileges() -> io::Result<()> {
    // Yours: set_no_new_privs of rustix::thread, which is prctl(2) with PR_SET_NO_NEW_PRIVS.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Makes `kept` effective and permitted; nothing is inheritable or ambient.
fn set(_kept: CapabilitySet) -> io::Result<()> {
    // Yours: set_capabilities of rustix::thread, which is capset(2).
    Err(Error::from(ErrorKind::Unsupported))
}
