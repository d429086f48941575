//! The user's terminal in front of a container's.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pid_namespace::Child;
use runtime::{Error, Result, Streams, console};
use rustix::termios::{OptionalActions, Termios};

/// Bytes taken at once.
const CHUNK: usize = 1 << 14;

/// What passes on what is typed and shown.
pub(crate) struct Proxy {
    socket: UnixStream,
}

/// The user's terminal in raw mode, until this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = rustix::stdio::stdin();
        let Ok(found) = rustix::termios::tcgetattr(stdin) else { return Self(None) };
        let mut raw = found.clone();
        raw.make_raw();
        let entered = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw);
        Self(entered.is_ok().then_some(found))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(found) = &self.0
            && let Err(errno) =
                rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, found)
        {
            tracing::info!("the terminal could not be put back: {errno}");
        }
    }
}

impl Proxy {
    /// A proxy, and the streams for the container. The size is that of the user's terminal, or `otherwise`.
    pub(crate) fn pair(otherwise: Option<(u16, u16)>) -> Result<(Self, Streams)> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        let size = size.ok().map(|size| (size.ws_row, size.ws_col)).or(otherwise);
        Ok((Self { socket: ours }, Streams::Terminal { socket: theirs, size }))
    }

    /// Passes on until the child ends.
    pub(crate) fn pass(self, child: &Child) -> Result<()> {
        let Some(master) = console::receive(&self.socket)? else {
            return Err(Error::new("the container has no terminal"));
        };
        let mut wanted = SigSet::empty();
        [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT]
            .into_iter()
            .for_each(|signal| wanted.add(signal));
        let failed = |errno| Error::kernel("wait for signals", errno);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&wanted), None).map_err(failed)?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let raw = Raw::enter();
        let passed = pass(&master, &signals, child);
        drop(raw);
        passed
    }
}

fn pass(master: &OwnedFd, signals: &SignalFd, child: &Child) -> Result<()> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let mut typing = true;
    loop {
        let input = if typing { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(master.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(child.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), input),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Error::kernel("wait for the terminal", errno)),
        }
        let [shown, signalled, ended, typed] = fds.map(|fd| fd.any().unwrap_or(true));
        if typed && typing {
            typing = copy(&stdin, master)?;
        }
        if signalled {
            signal(master, signals, child)?;
        }
        if shown {
            if !copy(master, &stdout)? {
                return Ok(());
            }
        } else if ended {
            return Ok(());
        }
    }
}

/// Passes on what there is; false at the end. EIO: nobody holds the other side of the terminal any more.
fn copy(from: &impl AsFd, to: &impl AsFd) -> Result<bool> {
    let mut buffer = [0; CHUNK];
    let length = match rustix::io::read(from, &mut buffer) {
        Ok(0) | Err(rustix::io::Errno::IO) => return Ok(false),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
        Ok(length) => length,
        Err(errno) => return Err(Error::kernel("read from a terminal", errno)),
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::IO) => return Ok(false),
            Err(errno) => return Err(Error::kernel("write to a terminal", errno)),
        }
    }
    Ok(true)
}

/// Passes on a signal, or the terminal's new size.
fn signal(master: &OwnedFd, signals: &SignalFd, child: &Child) -> Result<()> {
    let Ok(Some(information)) = signals.read_signal() else { return Ok(()) };
    let signal = information.ssi_signo.cast_signed();
    if signal != Signal::SIGWINCH as i32 {
        return child.signal(signal).or_else(|error| match error.errno() {
            nix::errno::Errno::ESRCH => Ok(()),
            _ => Err(error.into()),
        });
    }
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) => console::set_size(master, size.ws_row, size.ws_col),
        Err(_) => Ok(()),
    }
}
