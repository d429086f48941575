//! How a child and its parent talk: the child through its report, the parent through the gate.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::PipeFlags;
use seccomp::Filter;

use crate::error::{Error, Result};

/// What the child says, one byte each. Anything else is an exit code ([`crate::own_program::AGAIN`] among them), followed
/// by a message.
const READY: u8 = 0;
const BUILT: u8 = 1;

/// The child's end of its report. It is closed by the kernel when the program starts.
#[derive(Debug)]
pub(crate) struct Report(File);

/// The parent's end of it.
#[derive(Debug)]
pub(crate) struct Hearing(File);

/// The child's end of the gate.
#[derive(Debug)]
pub(crate) struct Gate(File);

/// The parent's end of it.
#[derive(Debug)]
pub(crate) struct Opener(File);

/// What the parent has heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The root is built, and the child waits at the gate once more.
    Built,
    /// The program runs, or waits for the word to begin.
    Ready,
}

/// A report and a gate.
pub(crate) fn pair() -> Result<((Report, Hearing), (Gate, Opener))> {
    let (hearing, report) = pipe()?;
    let (gate, opener) = pipe()?;
    Ok(((Report(report.into()), Hearing(hearing.into())), (Gate(gate.into()), Opener(opener.into()))))
}

/// A pipe: the end to read from, the end to write to.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::kernel("make a pipe", errno))
}

impl Report {
    /// Says that the root is built.
    pub(crate) fn built(&self) -> Result<()> {
        self.say(BUILT)
    }

    /// Says that nothing is left to do but to wait for the word to begin.
    pub(crate) fn ready(self) -> Result<()> {
        self.say(READY)
    }

    fn say(&self, word: u8) -> Result<()> {
        (&self.0).write_all(&[word]).map_err(|error| Error::kernel("tell the container's parent", error))
    }

    /// Says why the container did not start. Returns the exit code that says the same.
    pub(crate) fn fail(mut self, error: &Error) -> u8 {
        let message = [&[error.exit_code()], error.to_string().as_bytes()].concat();
        // If the parent has gone there is nobody to tell.
        let told = self.0.write_all(&message);
        if told.is_err() { 125 } else { error.exit_code() }
    }
}

impl Hearing {
    /// Waits for what the child says next; its failure is an error.
    pub(crate) fn next(&mut self) -> Result<Heard> {
        let failed = |error| Error::kernel("hear from the container", error);
        let mut word = [0];
        match self.0.read(&mut word).map_err(failed)? {
            // Its program has begun. Or it was killed just before: that is told from its end, as the program's would be.
            0 => return Ok(Heard::Ready),
            _ if word[0] == READY => return Ok(Heard::Ready),
            _ if word[0] == BUILT => return Ok(Heard::Built),
            _ => {}
        }
        let mut text = Vec::new();
        self.0.read_to_end(&mut text).map_err(failed)?;
        Err(Error::new(String::from_utf8_lossy(&text)).with_exit_code(word[0]))
    }
}

impl Gate {
    /// Waits until the parent has made the container's cgroup.
    pub(crate) fn wait_for_cgroup(&mut self) -> Result<()> {
        self.0.read_exact(&mut [0]).map_err(unprepared)
    }

    /// Waits until the parent is done with its part, and takes the filter from it, and the container's state for hooks.
    pub(crate) fn wait(&mut self) -> Result<(Option<Filter>, String)> {
        let mut take = |length: usize| {
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes).map(|()| bytes)
        };
        let mut piece = || {
            let length = take(4)?;
            let length = u32::from_ne_bytes([length[0], length[1], length[2], length[3]]);
            take(length as usize)
        };
        let pieces = piece().and_then(|filter| Ok((filter, piece()?)));
        let (filter, state) = pieces.map_err(unprepared)?;
        let filter = if filter.is_empty() { None } else { Some(Filter::from_bytes(&filter)?) };
        Ok((filter, String::from_utf8_lossy(&state).into_owned()))
    }
}

/// What a child hears in place of what it waits for.
fn unprepared(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::new("the container's parent could not prepare the start"),
        _ => Error::kernel("hear from the container's parent", error),
    }
}

impl Opener {
    /// Lets the child enter its cgroup, and go on from there.
    pub(crate) fn admit(&mut self) {
        self.say(&[0]);
    }

    /// Lets the child go on. If it has ended already, its report says why.
    pub(crate) fn open(&mut self, filter: Option<&Filter>, state: &str) {
        let mut message = Vec::new();
        for piece in [&filter.map(Filter::to_bytes).unwrap_or_default(), state.as_bytes()] {
            message.extend((piece.len() as u32).to_ne_bytes());
            message.extend(piece);
        }
        self.say(&message);
    }

    fn say(&mut self, message: &[u8]) {
        if let Err(error) = self.0.write_all(message) {
            tracing::info!("the container ended before all was ready: {error}");
        }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
