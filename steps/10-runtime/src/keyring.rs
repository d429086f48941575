//! A container's session keyring (`session-keyring(7)`).

use nix::errno::Errno;

use crate::error::{Error, Result};

/// `KEYCTL_JOIN_SESSION_KEYRING` of `keyctl(2)`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves the session keyring of whoever started the container for a new, empty one.
///
/// Keyrings are in no namespace. They are inherited, like descriptors, and a container that may call `keyctl(2)` would
/// read the caller's keys: passwords of network file systems, Kerberos tickets, keys of encrypted folders.
pub fn leave_the_callers() -> Result<()> {
    let unnamed: *const libc::c_char = std::ptr::null();
    // SAFETY: the name is null, which stands for a new keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, unnamed) };
    match Errno::result(result) {
        // A kernel without keys has none to hide.
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(Error::kernel("make a session keyring", errno)),
    }
}
