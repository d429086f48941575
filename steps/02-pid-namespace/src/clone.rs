//! `clone3(2)`: a new process, in new namespaces, in one step.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chroot::{Error, Result};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::join;
use crate::namespaces::Namespaces;

/// Put the child into the cgroup given by descriptor (Linux 5.7). In libc's headers this is a `c_int`, which
/// cannot hold it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
/// Make the child one of this process's parent.
const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;

/// What exit code a child gives when it panics: the engine's own failures are 125.
const PANICKED: u8 = 125;

/// A child process, held by a descriptor: unlike its number, that cannot come to mean another process.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code, 0 to 255.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The code a shell reports: the program's own, or 128 and the number of the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal as u8,
        }
    }
}

/// Starts a process that runs `body`, in new `namespaces`, and exits with the code it returns.
///
/// With `cgroup`, a descriptor of a cgroup v2 directory, the child starts inside it: no instant in which it runs
/// without its limits, and no second system call to move it.
///
/// The child is a copy of this process, as after `fork(2)`. Only the calling thread is copied: had another held
/// the allocator's lock, the child would wait for it for ever. So this fails with EBUSY unless the process has
/// a single thread.
pub fn spawn(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> u8,
) -> Result<Child> {
    let args = CloneArgs {
        flags: namespaces.bits() | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        exit_signal: Signal::SIGCHLD as u64,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    start(namespaces, args, body)
}

/// [`spawn`] for a go-between: the process is a child of this one's parent, which alone can wait for it, and finds it by
/// [`Child::find`]. What is returned is its number, as this process sees it.
pub fn spawn_sibling(namespaces: Namespaces, body: impl FnOnce() -> u8) -> Result<Pid> {
    // Its end is told by the same signal as this process's, and the kernel takes no other (clone(2)).
    let args = CloneArgs { flags: namespaces.bits() | CLONE_PARENT, ..CloneArgs::default() };
    Ok(start(namespaces, args, body)?.pid)
}

fn start(namespaces: Namespaces, mut args: CloneArgs, body: impl FnOnce() -> u8) -> Result<Child> {
    require_single_thread()?;
    if namespaces != Namespaces::NONE {
        tracing::info!("clone3: a process in new namespaces ({namespaces})");
    }
    let mut pidfd: RawFd = -1;
    args.flags |= CLONE_PIDFD;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    match clone3(&args).map_err(|errno| explain(namespaces, errno))? {
        0 => {
            // A panic must not unwind into the parent's frames, of which the child has a copy.
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
            // SAFETY: _exit ends the child without running the parent's exit handlers a second time.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid => {
            // SAFETY: the kernel has just stored a new descriptor there, and nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: Pid::from_raw(pid), pidfd })
        }
    }
}

impl Child {
    /// The child of this process that is called `pid`, and that nobody has waited for: the number is its own for so long.
    pub fn find(pid: Pid) -> Result<Self> {
        Ok(Self { pid, pidfd: join::open(pid)? })
    }

    /// Its number, as this process sees it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end. To be called once: the process is gone afterwards.
    pub fn wait(&self) -> Result<Exit> {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::new("wait for process", self.pid, errno)),
                Ok(None) => return Err(Error::new("wait for process", self.pid, Errno::ECHILD)),
                Ok(Some(status)) => return Ok(exit(&status)),
            }
        }
    }

    /// Sends it a signal; fails with ESRCH after its end.
    pub fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: no memory is passed but a null `siginfo_t`, which stands for that of kill(2).
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<u8>(),
                0,
            )
        };
        Errno::result(result)
            .map(drop)
            .map_err(|errno| Error::new("send a signal to process", self.pid, errno))
    }
}

impl AsFd for Child {
    /// The pidfd: it becomes readable when the process ends (`pidfd_open(2)`).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => Exit::Signal(signal),
        // waitid(2) was asked for ends only, and an end without a signal has a code of eight bits.
        (code, None) => Exit::Code(code.unwrap_or_default() as u8),
    }
}

/// Fails unless this process has a single thread. `unshare(2)` of threads does nothing to such a process, and is
/// refused (EINVAL) to others; unlike a look into `/proc`, that works in every mount namespace.
///
/// A thread that was joined a moment ago may still count, since the kernel wakes the joiner before it is done with
/// the thread. So this asks again for a tenth of a second before it gives up: at first at once, since a moment is short.
fn require_single_thread() -> Result<()> {
    for attempt in 0..200 {
        // SAFETY: unshare takes no memory.
        if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
            return Ok(());
        }
        if attempt < 100 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Err(Error::new("clone", "a process with several threads", Errno::EBUSY))
}

fn explain(namespaces: Namespaces, errno: Errno) -> Error {
    let error = Error::new("start a process in new namespaces", format!("({namespaces})"), errno);
    match errno {
        Errno::EINVAL => error.hint("this kernel may lack one of them: `ls /proc/self/ns` lists what it has"),
        Errno::ENOSPC => error.hint("a limit in /proc/sys/user/max_*_namespaces is reached"),
        _ => error,
    }
}

/// `struct clone_args` of `clone3(2)`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)`, for which glibc has no wrapper: 0 in the child, its pid in the parent.
fn clone3(args: &CloneArgs) -> Result<i32, Errno> {
    // SAFETY: without CLONE_VM and with no stack given, the child goes on from here on a copy of this one's
    // memory, as after fork(2); the caller has checked that no other thread exists. `args` outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(args), size_of::<CloneArgs>()) };
    Errno::result(result).map(|pid| pid as i32)
}
