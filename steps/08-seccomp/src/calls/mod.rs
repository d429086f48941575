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
    /// As in the table: `x86_64`, i386, aarch64, arm.
    numbers: [i32; 4],
}

impl Call {
    const fn new(name: &'static str, numbers: [i32; 4]) -> Self {
        Self { name, numbers }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its number, if the architecture has it.
    pub fn number(&self, architecture: Architecture) -> Option<u32> {
        let column = match architecture {
            Architecture::X86_64 => 0,
            Architecture::X86 => 1,
            Architecture::Aarch64 => 2,
            Architecture::Arm => 3,
            Architecture::X32 => return self.x32(),
        };
        self.numbers[column].try_into().ok()
    }

    /// x32 has the numbers of `x86_64` with a bit more, except where memory is laid out differently.
    fn x32(&self) -> Option<u32> {
        if X86_64_ONLY.contains(&self.name) {
            return None;
        }
        let own = X32_OWN.iter().position(|&name| name == self.name);
        let number = own.map_or(self.number(Architecture::X86_64), |at| Some(X32_OWN_BEGIN + at as u32));
        number.map(|number| number | Architecture::X32_BIT)
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

/// Marked `64` in `arch/x86/entry/syscalls/syscall_64.tbl`, and not replaced by one of [`X32_OWN`].
const X86_64_ONLY: [&str; 14] = [
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "map_shadow_stack",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uprobe",
    "uretprobe",
    "uselib",
    "vserver",
];

/// Marked `x32` there, in the order of their numbers.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

const X32_OWN_BEGIN: u32 = 512;

/// The calls that i386 also makes through one of two older calls, whose first argument says which: `socketcall(2)` and
/// `ipc(2)` (linux/net.h, linux/ipc.h).
#[rustfmt::skip]
pub(crate) const MULTIPLEXED: [(&str, &str, u64); 32] = [
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
const SOCKETCALL: &str = "socketcall";
const IPC: &str = "ipc";
