//! A container from its making to its removal. Each command finds its folder, and in it what others have left: the fifo
//! that its process waits at, as long as that has not been started, and the record.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, PipeWriter, Read, Result, Write, pipe};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::config::Config;
use crate::process::{Handle, Stat};
use crate::record::Record;
use crate::{process, program, record};

/// The fifo's name in the folder.
const FIFO: &str = "start.fifo";
/// What a process says that waits for its start. Anything else is an error.
const READY: &str = "ready";

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
pub fn create(folder: &Path, bundle: &Path, config: &Config) -> Result<()> {
    // Fails if it is there: of two who want one name at once, one gets it.
    fs::create_dir(folder)?;
    let made = make(folder, bundle, config);
    if made.is_err() {
        fs::remove_dir_all(folder)?;
    }
    made
}

fn make(folder: &Path, bundle: &Path, config: &Config) -> Result<()> {
    mkfifo(&folder.join(FIFO), Mode::S_IRUSR | Mode::S_IWUSR)?;
    // For both, so that opening it does not wait for somebody at the other end.
    let fifo = OpenOptions::new().read(true).write(true).open(folder.join(FIFO))?;
    let (mut hearing, report) = pipe()?;
    let Some(child) = process::spawn()? else {
        std::process::exit(wait_and_run(fifo, report, bundle, config));
    };
    // What the child says ends when nobody can say any more.
    drop(report);
    let mut said = String::new();
    hearing.read_to_string(&mut said)?;
    if said != READY {
        process::wait_for(child)?;
        return Err(Error::other(said));
    }
    let recorded = process::stat(child).and_then(|stat| {
        let Stat { start_time, .. } = stat.ok_or_else(|| Error::other("it has ended"))?;
        record::write(folder, &Record { pid: child.as_raw(), start_time, bundle: bundle.into() })
    });
    if recorded.is_err() {
        Handle::open(child)?.send(Signal::SIGKILL)?;
    }
    recorded
}

/// The child's side. Returns an exit code, if it does not become the program.
fn wait_and_run(mut fifo: File, mut report: PipeWriter, bundle: &Path, config: &Config) -> i32 {
    let prepared = program::prepare(bundle, config);
    let said = prepared.as_ref().map_or_else(String::as_str, |_| READY);
    let heard = report.write_all(said.as_bytes());
    drop(report);
    let (Ok(program), Ok(())) = (prepared, heard) else { return 127 };
    if let Err(error) = fifo.read_exact(&mut [0]) {
        eprintln!("box: the fifo: {error}");
        return 125;
    }
    eprintln!("box: {}", program.run());
    126
}

/// What the container in `folder` is doing.
pub fn status(folder: &Path) -> Result<Status> {
    let Some(record) = record::read(folder)? else { return Ok(Status::Creating) };
    Ok(match (lives(&record)?, folder.join(FIFO).exists()) {
        (false, _) => Status::Stopped,
        (true, true) => Status::Created,
        (true, false) => Status::Running,
    })
}

/// Whether the process of a record is there. One that has ended and was not waited for is not.
fn lives(record: &Record) -> Result<bool> {
    let stat = process::stat(Pid::from_raw(record.pid))?;
    Ok(stat.is_some_and(|stat| stat.state != 'Z' && stat.start_time == record.start_time))
}

/// An error unless the status is one of `wanted`.
fn require(folder: &Path, wanted: &[Status]) -> Result<()> {
    match status(folder)? {
        status if wanted.contains(&status) => Ok(()),
        status => Err(Error::other(format!("it is {status}"))),
    }
}

/// Lets its program run.
pub fn start(folder: &Path) -> Result<()> {
    require(folder, &[Status::Created])?;
    let path = folder.join(FIFO);
    // If nobody reads any more, that is an error, and nothing to wait for.
    let mut fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    fifo.write_all(&[1])?;
    fs::remove_file(path)
}

/// Sends its process a signal.
pub fn kill(folder: &Path, signal: Signal) -> Result<()> {
    let record = record::read(folder)?.ok_or_else(|| Error::other("it is creating"))?;
    let process = Handle::open(Pid::from_raw(record.pid))?;
    // Asked before, the process could end in between, and its number be another's.
    require(folder, &[Status::Created, Status::Running])?;
    process.send(signal)
}

/// Removes what is known about a container that has stopped.
pub fn delete(folder: &Path) -> Result<()> {
    require(folder, &[Status::Stopped])?;
    fs::remove_dir_all(folder)
}
