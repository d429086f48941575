//! A container from its making to its removal. Each command finds its folder, and in it what others have left: the fifo
//! that its process waits at, as long as that has not been started, and the record.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::config::Config;
use crate::record::Record;

/// The fifo's name in the folder.
const FIFO: &str = "start.fifo";

/// What a container is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is no record yet.
    Creating,
    /// It waits for its start.
    Created,
    /// It runs.
    Running,
    /// Its process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// Makes a container in `folder`, which must not exist. If that fails, nothing is left.
pub fn create(_folder: &Path, _bundle: &Path, _config: &Config) -> Result<()> {
    // Yours: a folder, a fifo (nix::unistd::mkfifo), and a process (process::spawn, which returns twice) that tells
    // through a pipe how far it has come: only when all is ready, the record is written. "Unsupported" stands for "not
    // written yet".
    Err(Error::from(ErrorKind::Unsupported))
}

/// What the container in `folder` is doing.
pub fn status(_folder: &Path) -> Result<Status> {
    // Yours: the record, whether its process lives, and whether there is a fifo.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Whether the process of a record is there.
fn lives(_record: &Record) -> Result<bool> {
    // Yours: process::stat. A number alone may mean another process by now.
    Err(Error::new(ErrorKind::Unsupported, "lives: unsupported"))
}

/// Lets its program run.
pub fn start(_folder: &Path) -> Result<()> {
    // Yours: a byte into the fifo, which is needed no more then.
    Err(Error::from(ErrorKind::Unsupported))
}

/// Sends its process a signal.
pub fn kill(_folder: &Path, _signal: Signal) -> Result<()> {
    // Yours: process::Handle, and what has to be asked before and after it is opened?
    Err(Error::from(ErrorKind::Unsupported))
}

/// Removes what is known about a container that has stopped.
pub fn delete(_folder: &Path) -> Result<()> {
    // Yours.
    Err(Error::from(ErrorKind::Unsupported))
}
