//! System calls by name: some that are worth a rule. Nothing is to be written here.

use libc::c_long;

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

#[rustfmt::skip]
const CALLS: &[(&str, c_long)] = calls!(
    SYS_brk SYS_chdir SYS_clock_gettime SYS_clone SYS_clone3 SYS_close SYS_dup SYS_dup3 SYS_execve SYS_exit
    SYS_exit_group SYS_faccessat SYS_fchownat SYS_fcntl SYS_fstat SYS_futex SYS_getcwd SYS_getdents64
    SYS_getegid SYS_geteuid SYS_getgid SYS_getpid SYS_getppid SYS_getrandom SYS_gettid SYS_getuid SYS_ioctl
    SYS_kill SYS_lseek SYS_madvise SYS_mkdirat SYS_mmap SYS_mount SYS_mprotect SYS_munlockall SYS_munmap
    SYS_newfstatat SYS_openat SYS_personality SYS_ppoll SYS_prctl SYS_prlimit64 SYS_ptrace SYS_read
    SYS_readlinkat SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_getaffinity
    SYS_sched_yield SYS_set_robust_list SYS_set_tid_address SYS_setuid SYS_sigaltstack SYS_socket SYS_uname
    SYS_unlinkat SYS_unshare SYS_wait4 SYS_write
);

/// Those that younger machines do not have any more.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[(&str, c_long)] = calls!(
    SYS_arch_prctl SYS_chmod SYS_chown SYS_fork SYS_mkdir SYS_open SYS_poll SYS_readlink SYS_stat SYS_unlink
);
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(&str, c_long)] = &[];

/// The number of the call of this name. A number means itself.
pub fn number(name: &str) -> Option<u32> {
    let named = CALLS.iter().chain(OLDER).find(|(known, _)| known.strip_prefix("SYS_") == Some(name));
    match named {
        Some((_, number)) => u32::try_from(*number).ok(),
        None => name.parse().ok(),
    }
}
