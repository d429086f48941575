//! The last thing a container's set-up does: become the program.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};

/// Where programs are looked for when the environment has no `PATH` (Docker's default for Linux).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The program's name and its arguments. A name without `/` is looked for in `PATH`.
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value` each.
    pub env: Vec<String>,
}

/// Why a program did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("exec: \"{name}\": {reason}")]
pub struct ExecError {
    name: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    NotInPath,
    Refused(Errno),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInPath => f.write_str("executable file not found in $PATH"),
            Self::Refused(errno) => f.write_str(&errno.desc().to_lowercase()),
        }
    }
}

impl ExecError {
    /// The exit code that shells and Docker give: 127 if there is no such program, 126 if it cannot be run.
    pub fn exit_code(&self) -> u8 {
        match self.reason {
            Reason::NotInPath | Reason::Refused(Errno::ENOENT | Errno::ENOTDIR) => 127,
            Reason::Refused(_) => 126,
        }
    }
}

impl Program {
    /// A program with nothing but the default `PATH` in its environment.
    pub fn new(args: &[String]) -> Self {
        Self { args: args.to_vec(), env: vec![format!("PATH={DEFAULT_PATH}")] }
    }

    /// Replaces this process by the program; returns only if that failed.
    ///
    /// Signals are given back their defaults first: what is blocked or ignored is inherited across `execve(2)`,
    /// and Rust programs ignore SIGPIPE.
    pub fn exec(&self) -> ExecError {
        let name = self.args.first().cloned().unwrap_or_default();
        let refused = |errno| ExecError { name: name.clone(), reason: Reason::Refused(errno) };
        let (Ok(args), Ok(env)) = (c_strings(&self.args), c_strings(&self.env)) else {
            return refused(Errno::EINVAL);
        };
        if let Err(errno) = default_signals() {
            return refused(errno);
        }
        // What the kernel said of the candidates: "permission denied" outlives a later "not found".
        let mut denied = None;
        for path in self.candidates() {
            let Ok(path) = CString::new(path) else { return refused(Errno::EINVAL) };
            let Err(errno) = nix::unistd::execve(&path, &args, &env);
            match errno {
                Errno::ENOENT | Errno::ENOTDIR if name.contains('/') => return refused(errno),
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => denied = Some(errno),
                errno => return refused(errno),
            }
        }
        let reason = denied.map_or(Reason::NotInPath, Reason::Refused);
        ExecError { name, reason }
    }

    /// Looks whether there is such a program, for those who want to know before the time for [`Program::exec`] comes.
    ///
    /// # Errors
    /// What [`Program::exec`] would fail with, as far as it can be known.
    pub fn find(&self) -> Result<(), ExecError> {
        let name = self.args.first().cloned().unwrap_or_default();
        let mut reason = Reason::NotInPath;
        for path in self.candidates() {
            // With the effective ids, as the kernel will do it.
            let access = rustix::fs::accessat(
                rustix::fs::CWD,
                &path,
                rustix::fs::Access::EXEC_OK,
                rustix::fs::AtFlags::EACCESS,
            );
            let is_directory = || std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            match access.map_err(|errno| Errno::from_raw(errno.raw_os_error())) {
                Ok(()) if is_directory() => reason = Reason::Refused(Errno::EACCES),
                Ok(()) => return Ok(()),
                Err(errno) if name.contains('/') => reason = Reason::Refused(errno),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => reason = Reason::Refused(errno),
            }
        }
        Err(ExecError { name, reason })
    }

    /// The paths that the program's name may stand for, in the order in which they are tried.
    pub fn candidates(&self) -> Vec<String> {
        let name = self.args.first().map_or("", String::as_str);
        if name.contains('/') {
            return vec![name.to_owned()];
        }
        if name.is_empty() {
            return Vec::new();
        }
        let path = self.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        // An empty entry would mean the working directory; like Go's LookPath, do not run what is found there.
        path.split(':')
            .filter(|directory| !directory.is_empty())
            .map(|directory| format!("{directory}/{name}"))
            .collect()
    }
}

/// Lets this process end when nobody reads what it prints any more, like any other command: Rust ignores SIGPIPE, and
/// `chroot --dry-run … | head` would be a failed write. A broken pipe that leads elsewhere, to a child say, stays an error
/// of whoever writes to it.
pub fn end_when_nobody_reads() {
    /// Called in the middle of a write. What it calls may be called there (`signal-safety(7)`).
    extern "C" fn broken_pipe(signal: libc::c_int) {
        // POLLERR is what a pipe without a reader has, and POLLHUP a socket.
        for stream in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            let mut stream = libc::pollfd { fd: stream, events: 0, revents: 0 };
            // SAFETY: the one entry is on the stack; the signal waits until this handler has returned.
            unsafe {
                if libc::poll(&raw mut stream, 1, 0) == 1
                    && stream.revents & (libc::POLLERR | libc::POLLHUP) != 0
                {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
            }
        }
    }
    // SAFETY: the handler above is one that may be called at any time.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::Handler(broken_pipe)) }
        .expect("SIGPIPE is a signal, and may have a handler");
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, std::ffi::NulError> {
    texts.iter().map(|text| CString::new(text.as_bytes())).collect()
}

fn default_signals() -> Result<(), Errno> {
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: the default action is no handler of ours, and this process is about to be replaced.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}
