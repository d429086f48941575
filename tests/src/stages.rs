//! Kills a process at every stage of what a command does.
//!
//! A *stage* lies before each system call by which a process changes something outside itself: its death there leaves
//! the world as the one before left it. A tracer (`ptrace(2)`) counts them, so a test goes from stage to stage until
//! the work is done before it gets to the next; nothing is left to the clock, and no code of the engine knows of it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

/// The system calls that change something outside their process; of `openat`, those that may make a file.
const CHANGES: &[&str] = &[
    "bind",
    "chmod",
    "chown",
    "clone",
    "clone3",
    "connect",
    "execve",
    "execveat",
    "exit_group",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "flock",
    "fork",
    "fsconfig",
    "fsetxattr",
    "fsmount",
    "fsync",
    "ftruncate",
    "kill",
    "lchown",
    "link",
    "linkat",
    "listen",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat",
    "pidfd_send_signal",
    "pivot_root",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "setns",
    "setsid",
    "setxattr",
    "symlink",
    "symlinkat",
    "syncfs",
    "umount2",
    "unlink",
    "unlinkat",
    "unshare",
    "utimensat",
    "vfork",
    "write",
    "writev",
];

/// Who is who in a container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The command that the user has typed.
    Command,
    /// Its child, the container's shim.
    Shim,
    /// The child of that, until it executes the container's program.
    First,
}

/// Whose stages are counted.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// One that the command starts, or itself.
    Of(Part),
    /// A process that has been there before.
    Running(Pid),
}

/// Who is killed when the stage is reached.
#[derive(Debug, Clone, Copy)]
pub enum Victim {
    /// Whose stages are counted.
    Same,
    /// The child of that one, if it has one by then.
    Child,
    /// A process that has been there before.
    Running(Pid),
}

/// How a command came out.
#[derive(Debug)]
pub struct Outcome {
    /// The system call that was not made any more; `None` if all that was to be done was done before that stage.
    pub killed_before: Option<Sysno>,
    /// The command's exit code, if it was not killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub said: String,
    /// Its standard error.
    pub complained: String,
}

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `command`, and kills `victim` at stage `number`, from 1, of `clock`. Ends with the command.
pub fn run(command: &mut Command, clock: Clock, victim: Victim, number: usize) -> Outcome {
    let temporary = || tempfile::tempfile().expect("a temporary file");
    let (mut output, mut error) = (temporary(), temporary());
    let copy = |file: &File| Stdio::from(file.try_clone().expect("a descriptor"));
    command.stdin(Stdio::null()).stdout(copy(&output)).stderr(copy(&error));
    // On a thread of its own: whatever is still traced when that ends goes on untraced.
    let (killed_before, code) = std::thread::scope(|scope| {
        let tracer = scope.spawn(|| Tracer::new(clock, victim, number).run(command));
        tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let read = |file: &mut File| {
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("our own file");
        text.trim_end().to_owned()
    };
    Outcome { killed_before, code, said: read(&mut output), complained: read(&mut error) }
}

struct Tracer {
    clock: Clock,
    victim: Victim,
    number: usize,
    /// The traced threads, and how far their processes are from the command.
    depths: HashMap<Pid, usize>,
    /// Threads that have been made and have not reported yet.
    expected: HashSet<Pid>,
    /// The process whose stages are counted.
    counted: Option<Pid>,
    stage: usize,
    killed_before: Option<Sysno>,
    /// Whether the process whose stages are counted has none any more.
    is_done: bool,
}

impl Tracer {
    fn new(clock: Clock, victim: Victim, number: usize) -> Self {
        Self {
            clock,
            victim,
            number,
            depths: HashMap::new(),
            expected: HashSet::new(),
            counted: None,
            stage: 0,
            killed_before: None,
            is_done: false,
        }
    }

    /// The system call that was not made, and the command's exit code.
    fn run(mut self, command: &mut Command) -> (Option<Sysno>, Option<i32>) {
        match self.clock {
            Clock::Running(pid) => {
                ptrace::seize(pid, options(false)).expect("a process of ours");
                ptrace::interrupt(pid).expect("a process that we trace");
                self.depths.insert(pid, 0);
                self.counted = Some(pid);
            }
            Clock::Of(_) => {
                // SAFETY: one system call.
                unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
            }
        }
        let child = Pid::from_raw(command.spawn().expect("the engine's program").id() as i32);
        let (done, watch) = channel::<()>();
        let is_late = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let is_late = &is_late;
            scope.spawn(move || {
                if watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    is_late.store(true, Ordering::Relaxed);
                    kill(child, Signal::SIGKILL).expect("it is not waited for yet");
                }
            });
            let code = self.follow(child);
            drop(done);
            assert!(!is_late.load(Ordering::Relaxed), "stage {}: the command does not end", self.number);
            (self.killed_before, code)
        })
    }

    /// Until the command has ended, and the stage has been reached or cannot be any more.
    fn follow(&mut self, command: Pid) -> Option<i32> {
        let mut ended = None;
        loop {
            // Who is killed is not dead at once.
            let is_dead = self.killed_before.is_some() && !matches!(self.victim, Victim::Same);
            let is_over = is_dead || self.is_done || self.counted.is_none();
            if let Some(code) = ended
                && is_over
                && self.expected.is_empty()
            {
                return code;
            }
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return ended.flatten(),
                Err(errno) => panic!("cannot wait: {errno}"),
            };
            if let WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) = status {
                self.depths.remove(&pid);
                self.expected.remove(&pid);
                self.is_done |= self.counted == Some(pid);
                if pid == command {
                    ended = Some(match status {
                        WaitStatus::Exited(_, code) => Some(code),
                        _ => None,
                    });
                }
            } else {
                self.stopped(status, command);
            }
        }
    }

    fn stopped(&mut self, status: WaitStatus, command: Pid) {
        let pid = status.pid().expect("a stop is somebody's");
        self.expected.remove(&pid);
        if !self.depths.contains_key(&pid) && !self.meet(pid, command) {
            return;
        }
        let mut signal = None;
        match status {
            WaitStatus::PtraceSyscall(_) if self.is_counted(pid) && self.killed_before.is_none() => {
                self.count(pid);
            }
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                if let Clock::Of(Part::First) = self.clock
                    && self.is_counted(pid)
                {
                    self.is_done = true;
                }
            }
            WaitStatus::PtraceEvent(_, _, event) if event != libc::PTRACE_EVENT_STOP => {
                let new = ptrace::getevent(pid).map(|new| Pid::from_raw(new as i32));
                if let Some(new) = new.ok().filter(|new| !self.depths.contains_key(new)) {
                    self.expected.insert(new);
                }
            }
            WaitStatus::Stopped(_, stop) => signal = Some(stop),
            _ => {}
        }
        let goes_on = if self.is_counted(pid) && self.killed_before.is_none() && !self.is_done {
            ptrace::syscall(pid, signal)
        } else if self.is_done && self.is_counted(pid) {
            ptrace::detach(pid, signal)
        } else {
            ptrace::cont(pid, signal)
        };
        is_gone(goes_on);
    }

    /// Learns who a thread is at its first stop. Whether it stays traced: nobody does who is too far from the command.
    fn meet(&mut self, pid: Pid, command: Pid) -> bool {
        let field = |name: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok().map(Pid::from_raw)
        };
        let (process, parent) = (field("Tgid:"), field("PPid:"));
        let depth = match process {
            Some(process) if process == command => Some(0),
            Some(process) => self.depths.get(&process).copied().or_else(|| {
                let parent = self.depths.get(&parent?)?;
                Some(parent + 1)
            }),
            None => None,
        };
        let wanted = match self.clock {
            Clock::Of(part) => part as usize,
            Clock::Running(_) => 0,
        };
        let Some(depth) = depth.filter(|&depth| depth <= wanted) else {
            is_gone(ptrace::detach(pid, None));
            return false;
        };
        self.depths.insert(pid, depth);
        let is_of_command = matches!(self.clock, Clock::Of(_));
        if is_of_command && process == Some(pid) && depth == wanted && self.counted.is_none() {
            self.counted = Some(pid);
        }
        // One that is a tracee by itself, since it asked for that or was made by one.
        is_gone(ptrace::setoptions(pid, options(depth < wanted)));
        let goes_on = if self.is_counted(pid) { ptrace::syscall(pid, None) } else { ptrace::cont(pid, None) };
        is_gone(goes_on);
        false
    }

    /// Whether this is a thread of the process whose stages are counted.
    fn is_counted(&self, pid: Pid) -> bool {
        self.counted.is_some_and(|counted| {
            counted == pid || Path::new(&format!("/proc/{counted}/task/{pid}")).exists()
        })
    }

    /// A system call begins or has ended.
    fn count(&mut self, pid: Pid) {
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return;
        }
        // SAFETY: the operation says which of the variants it is.
        let (number, arguments) = unsafe { (info.u.entry.nr, info.u.entry.args) };
        let Some(call) = Sysno::new(number as usize) else { return };
        let only_reads = call == Sysno::openat && arguments[2] & libc::O_CREAT as u64 == 0;
        if only_reads || !CHANGES.contains(&call.name()) {
            return;
        }
        self.stage += 1;
        if self.stage < self.number {
            return;
        }
        let victim = match self.victim {
            Victim::Same => self.counted,
            Victim::Child => self.counted.and_then(child),
            Victim::Running(pid) => Some(pid),
        };
        // One that is not there yet cannot be killed; a later stage will find it.
        if let Some(victim) = victim {
            match kill(victim, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => self.killed_before = Some(call),
                Err(errno) => panic!("cannot kill {victim}: {errno}"),
            }
        }
    }
}

/// What stops a tracee, besides system calls. Only `with_children` are its children traced too: the engine traces a
/// container's first process itself, and there can be one tracer.
fn options(with_children: bool) -> Options {
    let mut options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEEXEC;
    options.set(Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK, with_children);
    options
}

/// The first child of a process.
fn child(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// A tracee may be killed at any moment; then there is nothing to be asked of it.
fn is_gone(result: nix::Result<()>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("cannot trace: {errno}"),
    }
}
