//! The user's terminal, which must be put back as it was. (The container's, which is new, is [`runtime::console`].)

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::error::{Error, Result};

/// The user's terminal as it was found, for whoever has to put it back.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// The user's terminal in raw mode, until this is dropped.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Switches the terminal on standard input to raw mode: keys go to the container one by one, Ctrl-C included.
    pub fn enter() -> Result<Self> {
        let stdin = rustix::stdio::stdin();
        let found = rustix::termios::tcgetattr(stdin)
            .map_err(|errno| Error::kernel("read the terminal's mode", errno))?;
        let mut raw = found.clone();
        raw.make_raw();
        *FOUND.lock().expect("nobody panics while holding it") = Some(found);
        rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw)
            .map_err(|errno| Error::kernel("set the terminal to raw mode", errno))?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the user's terminal back as it was found, if it was changed. Also called when the program panics.
pub fn restore() {
    let Ok(mut found) = FOUND.lock() else { return };
    if let Some(termios) = found.take()
        && let Err(errno) =
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &termios)
    {
        // EIO: the terminal itself is gone, and there is nothing to put back.
        tracing::info!("the terminal could not be put back: {errno}");
    }
}

/// The size of the terminal `fd`, if it is one.
pub fn size(fd: &impl AsFd) -> Option<Winsize> {
    rustix::termios::tcgetwinsize(fd).ok()
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}
