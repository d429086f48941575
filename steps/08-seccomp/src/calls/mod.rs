//! Names and numbers of system calls.
//!
//! The crate `syscalls` has the same tables, one per architecture and none for x32. A profile names some 400 calls, each
//! to be looked up for three architectures before a container may start; with one row for all of them, one search does.

mod table;

use crate::architecture::Architecture;
use table::CALLS;

/// One system call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    name: &'static str,
    /// In the order of [`Architecture::ALL`]; for x32 without its bit.
    numbers: [i32; 5],
}

impl Call {
    const fn new(name: &'static str, numbers: [i32; 5]) -> Self {
        Self { name, numbers }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its number, if the architecture has it.
    pub fn number(&self, architecture: Architecture) -> Option<u32> {
        let number: u32 = self.numbers[architecture as usize].try_into().ok()?;
        Some(if architecture == Architecture::X32 { number | Architecture::X32_BIT } else { number })
    }
}

/// All calls that any of the architectures has, in alphabetical order.
pub fn all() -> &'static [Call] {
    CALLS
}

/// The call of this name.
pub fn find(name: &str) -> Option<&'static Call> {
    CALLS.binary_search_by(|call| call.name.cmp(name)).ok().map(|at| &CALLS[at])
}

/// The name of the call with this number.
pub fn name(number: u32, architecture: Architecture) -> Option<&'static str> {
    CALLS.iter().find(|call| call.number(architecture) == Some(number)).map(Call::name)
}

/// The calls that i386 also makes through one of two older ones, `socketcall(2)` and `ipc(2)`, whose first argument says
/// which (linux/net.h, linux/ipc.h): name, number of the older one, that argument.
#[rustfmt::skip]
pub(crate) const MULTIPLEXED: [(&str, u32, u64); 32] = [
    ("socket", SOCKETCALL, 1), ("bind", SOCKETCALL, 2), ("connect", SOCKETCALL, 3), ("listen", SOCKETCALL, 4),
    ("accept", SOCKETCALL, 5), ("getsockname", SOCKETCALL, 6), ("getpeername", SOCKETCALL, 7),
    ("socketpair", SOCKETCALL, 8), ("send", SOCKETCALL, 9), ("recv", SOCKETCALL, 10), ("sendto", SOCKETCALL, 11),
    ("recvfrom", SOCKETCALL, 12), ("shutdown", SOCKETCALL, 13), ("setsockopt", SOCKETCALL, 14),
    ("getsockopt", SOCKETCALL, 15), ("sendmsg", SOCKETCALL, 16), ("recvmsg", SOCKETCALL, 17),
    ("accept4", SOCKETCALL, 18), ("recvmmsg", SOCKETCALL, 19), ("sendmmsg", SOCKETCALL, 20),
    ("semop", IPC, 1), ("semget", IPC, 2), ("semctl", IPC, 3), ("semtimedop", IPC, 4), ("msgsnd", IPC, 11),
    ("msgrcv", IPC, 12), ("msgget", IPC, 13), ("msgctl", IPC, 14), ("shmat", IPC, 21), ("shmdt", IPC, 22),
    ("shmget", IPC, 23), ("shmctl", IPC, 24),
];
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;
