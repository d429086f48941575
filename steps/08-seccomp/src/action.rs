//! What may become of a system call.

use std::fmt;

use nix::errno::Errno;

/// A filter's answer (`seccomp(2)`, "Return values").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The call is made.
    Allow,
    /// The call is made, and written into the kernel's log.
    Log,
    /// The tracer, if there is one, is told this number and decides; without a tracer the call fails with ENOSYS.
    Trace(u16),
    /// The call waits for whoever listens to this filter, and who may make it in the caller's place and give it any result,
    /// or let it be made (`seccomp_unotify(2)`); without a listener it fails with ENOSYS.
    Notify,
    /// The call is not made, and fails with this errno, at most 4095.
    Errno(u16),
    /// The call is not made, and the thread gets a SIGSYS that it may handle.
    Trap,
    /// The thread dies.
    KillThread,
    /// The process dies, as of an unhandled SIGSYS.
    KillProcess,
}

// The values of linux/seccomp.h. The low half is for the action's own use.
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const ACTION: u32 = 0xffff_0000;

impl Action {
    /// A call that this kernel does not have.
    pub const NO_SUCH_CALL: Self = Self::Errno(libc::ENOSYS as u16);

    /// The 32 bits that a filter returns.
    pub const fn code(self) -> u32 {
        match self {
            Self::Allow => ALLOW,
            Self::Log => LOG,
            Self::Trace(message) => TRACE | message as u32,
            Self::Notify => NOTIFY,
            Self::Errno(errno) => ERRNO | errno as u32,
            Self::Trap => TRAP,
            Self::KillThread => KILL_THREAD,
            Self::KillProcess => KILL_PROCESS,
        }
    }

    /// What the kernel makes of 32 bits that a filter returned. Of what it does not know, it kills the process.
    pub const fn from_code(code: u32) -> Self {
        match code & ACTION {
            ALLOW => Self::Allow,
            LOG => Self::Log,
            TRACE => Self::Trace(code as u16),
            NOTIFY => Self::Notify,
            ERRNO => Self::Errno(code as u16),
            TRAP => Self::Trap,
            KILL_THREAD => Self::KillThread,
            _ => Self::KillProcess,
        }
    }

    /// Whether the call may happen under this action.
    pub const fn is_permissive(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Trace(_) | Self::Notify)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Log => f.write_str("allow and log"),
            Self::Trace(message) => write!(f, "ask the tracer ({message})"),
            Self::Notify => f.write_str("ask the listener"),
            Self::Errno(errno) => match Errno::from_raw(i32::from(*errno)) {
                Errno::UnknownErrno => write!(f, "errno {errno}"),
                known => write!(f, "{known:?}"),
            },
            Self::Trap => f.write_str("SIGSYS"),
            Self::KillThread => f.write_str("kill the thread"),
            Self::KillProcess => f.write_str("kill the process"),
        }
    }
}
