//! The command's side of a conversation with a shim: the user's terminal, streams and signals on one side, frames
//! on the other.

use std::fmt::{Display, Formatter};
use std::os::fd::AsFd;
use std::str::FromStr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::buffer::spare_capacity;

use crate::error::{Error, Result};
use crate::terminal::{self, Raw};
use crate::wire::{Connection, Frame, Received};

/// Bytes taken from standard input at once.
const CHUNK: usize = 1 << 15;

/// The keys that leave a container running: Ctrl-P Ctrl-Q unless the user wants others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = Error;

    /// Reads keys between commas: a character, or `ctrl-` and a letter or one of `@[\\]^_`. Empty for the usual ones.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let key = |name: &str| match (name.as_bytes(), name.strip_prefix("ctrl-").map(str::as_bytes)) {
            (&[byte], _) if byte.is_ascii() => Some(byte),
            (_, Some(&[letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')])) => {
                Some(letter.to_ascii_uppercase() - b'@')
            }
            _ => None,
        };
        text.split(',').map(key).collect::<Option<_>>().map(Self).ok_or_else(|| {
            Error::new(format!(
                "invalid detach keys: '{text}' (write keys between commas, such as a or ctrl-p,ctrl-q)"
            ))
        })
    }
}

impl Display for DetachKeys {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match key {
                0..0x20 => write!(f, "{comma}ctrl-{}", char::from(key + b'@').to_ascii_lowercase())?,
                key => write!(f, "{comma}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The container ended with this exit code.
    Exited(u8),
    /// The user left it running.
    Detached,
    /// A signal with this number ended the conversation, and not the container.
    Left(u8),
}

/// What the user's side offers.
#[derive(Debug, Clone)]
pub struct Session {
    /// Pass standard input on.
    pub stdin: bool,
    /// Show the container's standard output.
    pub stdout: bool,
    /// Show its standard error.
    pub stderr: bool,
    /// The container has a terminal: switch ours to raw mode and tell of its size.
    pub tty: bool,
    /// Pass signals on, unless the container has a terminal: what is typed there becomes a signal inside.
    pub sig_proxy: bool,
    /// What the user types to leave the container running.
    pub detach_keys: DetachKeys,
}

/// Signals that are for this process to handle, not to pass on: they say something about itself.
const OWN_SIGNALS: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGURG];
/// Signals that end this process; where it has changed the mode of a terminal, not before that is put back.
const ENDS: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Waits for the shim's first word: that the container runs, or why not.
pub fn await_start(connection: &mut Connection) -> Result<Vec<Frame>> {
    let mut rest = Vec::new();
    loop {
        let (frames, closed) = match connection.receive()? {
            Received::Frames(frames) => (frames, false),
            Received::Closed(frames) => (frames, true),
        };
        let mut frames = frames.into_iter();
        match frames.next() {
            Some(Frame::Started) => {
                rest.extend(frames);
                return Ok(rest);
            }
            Some(Frame::Failed { code, message }) => return Err(Error::new(message).with_exit_code(code)),
            Some(other) => return Err(Error::new(format!("the shim said {other:?} before it had started"))),
            None if closed => return Err(Error::new("the container's shim ended before it had started")),
            None => wait_readable(connection)?,
        }
    }
}

fn wait_readable(connection: &Connection) -> Result<()> {
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::kernel("wait for the shim", errno)),
    }
}

impl Session {
    /// Fails if the container's terminal is to have its input from ours, and there is none.
    pub fn require_terminal(&self) -> Result<()> {
        if self.tty && self.stdin && !terminal::is_terminal(std::io::stdin().as_fd()) {
            return Err(Error::new("the input device is not a TTY").with_exit_code(1));
        }
        Ok(())
    }

    /// Blocks the signals that are to be passed on, so that from now on they wait for [`Session::run`] instead of ending this
    /// process. Without those there is SIGWINCH, which tells of a new size; all others do with this process what they
    /// always do, and leave the container running. To be called before the container is started.
    pub fn take_signals(&self) -> Result<SignalFd> {
        let mut signals = SigSet::empty();
        if self.tty {
            signals.extend(ENDS);
        } else if self.sig_proxy {
            signals = SigSet::all();
            OWN_SIGNALS.into_iter().for_each(|signal| signals.remove(signal));
        }
        signals.add(Signal::SIGWINCH);
        signals.thread_block().map_err(|errno| Error::kernel("block signals", errno))?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|errno| Error::kernel("take signals", errno))
    }

    /// Passes everything on until the container ends or the user leaves. `early` is what the shim has said already.
    pub fn run(&self, mut connection: Connection, signals: &SignalFd, early: Vec<Frame>) -> Result<Outcome> {
        let stdin = std::io::stdin();
        // Raw mode only where there is a terminal on our side to switch.
        let raw = if self.tty && self.stdin && terminal::is_terminal(stdin.as_fd()) {
            Some(Raw::enter()?)
        } else {
            None
        };
        if self.tty {
            send_size(&mut connection)?;
        }
        let mut keys = Keys::new(self.detach_keys.clone());
        let mut stdin_open = self.stdin;
        if let Some(outcome) = self.show(early)? {
            return Ok(outcome);
        }
        loop {
            let ready = wait(&connection, signals, stdin_open)?;
            connection.flush()?;
            if ready.signals
                && let Some(outcome) = self.take(&mut connection, signals)?
            {
                return Ok(outcome);
            }
            if ready.stdin {
                let mut buffer = Vec::with_capacity(CHUNK);
                match rustix::io::read(stdin.as_fd(), spare_capacity(&mut buffer)) {
                    // EIO: the terminal has gone.
                    Ok(0) | Err(rustix::io::Errno::IO) => {
                        stdin_open = false;
                        connection.send(&Frame::StdinEnd)?;
                    }
                    Ok(_) => {
                        let typed = if raw.is_some() { keys.filter(buffer) } else { Typed::Input(buffer) };
                        match typed {
                            Typed::Input(bytes) if bytes.is_empty() => {}
                            Typed::Input(bytes) => connection.send(&Frame::Stdin(bytes))?,
                            Typed::Detach(before) => {
                                if !before.is_empty() {
                                    connection.send(&Frame::Stdin(before))?;
                                }
                                return Ok(Outcome::Detached);
                            }
                        }
                    }
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    Err(errno) => return Err(Error::kernel("read standard input", errno)),
                }
            }
            if ready.shim {
                let (frames, closed) = match connection.receive()? {
                    Received::Frames(frames) => (frames, false),
                    Received::Closed(frames) => (frames, true),
                };
                if let Some(outcome) = self.show(frames)? {
                    return Ok(outcome);
                }
                if closed {
                    return Err(Error::new("the container's shim has died, and the container with it"));
                }
            }
        }
    }

    /// Passes signals on; or leaves, with a terminal, for one that is meant for this process.
    fn take(&self, connection: &mut Connection, signals: &SignalFd) -> Result<Option<Outcome>> {
        while let Some(signal) =
            signals.read_signal().map_err(|errno| Error::kernel("take a signal", errno))?
        {
            let number = signal.ssi_signo;
            if number == Signal::SIGWINCH as u32 {
                if self.tty {
                    send_size(connection)?;
                }
            } else if self.tty {
                return Ok(Some(Outcome::Left(number as u8)));
            } else {
                connection.send(&Frame::Signal(number as u8))?;
            }
        }
        Ok(None)
    }

    /// Writes what the container wrote, as far as it is wanted; its end, if that is among the frames.
    fn show(&self, frames: Vec<Frame>) -> Result<Option<Outcome>> {
        let failed = |error| Error::kernel("write the container's output", error);
        for frame in frames {
            match frame {
                Frame::Stdout(bytes) if self.stdout => {
                    write_all(&std::io::stdout(), &bytes).map_err(failed)?;
                }
                Frame::Stderr(bytes) if self.stderr => {
                    write_all(&std::io::stderr(), &bytes).map_err(failed)?;
                }
                Frame::Exited(code) => return Ok(Some(Outcome::Exited(code))),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Writes all of it. Who has opened the file may have said that writing is not to wait (`O_NONBLOCK`), which holds for
/// everybody who shares it: then we wait until something can be written.
fn write_all(out: &impl AsFd, mut bytes: &[u8]) -> Result<(), nix::errno::Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(out, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => {
                match poll(&mut [PollFd::new(out.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What can be done without waiting.
struct Ready {
    shim: bool,
    signals: bool,
    stdin: bool,
}

fn wait(connection: &Connection, signals: &SignalFd, stdin_open: bool) -> Result<Ready> {
    let stdin = std::io::stdin();
    let mut events = PollFlags::POLLIN;
    events.set(PollFlags::POLLOUT, connection.is_waiting());
    let mut fds =
        vec![PollFd::new(connection.as_fd(), events), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // While the shim is slow, our input stays where it is.
    if stdin_open && !connection.is_crowded() {
        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(Error::kernel("wait for events", errno)),
    }
    let is_ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(true));
    Ok(Ready { shim: is_ready(0), signals: is_ready(1), stdin: is_ready(2) })
}

fn send_size(connection: &mut Connection) -> Result<()> {
    match terminal::size(&std::io::stdout()) {
        Some(size) => connection.send(&Frame::Resize { rows: size.ws_row, columns: size.ws_col }),
        None => Ok(()),
    }
}

/// Looks for the detach keys in what is typed.
#[derive(Debug)]
struct Keys {
    sought: Vec<u8>,
    /// How many of them have just been typed, and were held back.
    matched: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Input(Vec<u8>),
    /// The sequence, after this input.
    Detach(Vec<u8>),
}

impl Keys {
    fn new(DetachKeys(sought): DetachKeys) -> Self {
        Self { sought, matched: 0 }
    }

    fn filter(&mut self, bytes: Vec<u8>) -> Typed {
        let mut input = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if byte == self.sought[self.matched] {
                self.matched += 1;
                if self.matched == self.sought.len() {
                    return Typed::Detach(input);
                }
                continue;
            }
            // Not the sequence after all: what was held back is input like any other.
            input.extend_from_slice(&self.sought[..self.matched]);
            self.matched = usize::from(byte == self.sought[0]);
            if self.matched == 0 {
                input.push(byte);
            }
        }
        Typed::Input(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detach_keys_are_found_across_reads_and_nothing_else_is_lost() {
        let mut keys = Keys::new(DetachKeys::default());
        assert_eq!(keys.filter(b"ab\x10".to_vec()), Typed::Input(b"ab".to_vec()));
        assert_eq!(keys.filter(b"c\x10\x10".to_vec()), Typed::Input(b"\x10c\x10".to_vec()));
        assert_eq!(keys.filter(b"\x11".to_vec()), Typed::Detach(Vec::new()));
        let mut keys = Keys::new(DetachKeys::default());
        assert_eq!(keys.filter(b"last\n\x10\x11lost".to_vec()), Typed::Detach(b"last\n".to_vec()));
    }

    #[test]
    fn keys_that_people_write() {
        let table: String = [
            "",
            "a",
            "ctrl-p,ctrl-q",
            "ctrl-@,x",
            "ctrl-[",
            "ctrl-\\",
            "ctrl-_",
            "ctrl-A",
            "ctrl-",
            "ab",
            "a,,b",
            "ä",
        ]
        .into_iter()
        .map(|text| match text.parse::<DetachKeys>() {
            Ok(keys) => format!("{text}: {:?} {keys}\n", keys.0),
            Err(error) => format!("{text}: {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
