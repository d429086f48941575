//! Checks of a container's health, each made by a process of its own: who goes into a container does not come back.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pid_namespace::{Child, Namespaces, descriptors, spawn};
use runtime::exec::exec;

use super::streams;
use crate::container::Container;
use crate::engine::Engine;
use crate::engine::exec::Request;
use crate::error::{Error, Result};
use crate::health::{Check, Checked, Health, MAX_OUTPUT};
use crate::logs;

/// The health of a container that runs.
pub(super) struct Watch {
    check: Check,
    pub(super) health: Health,
    began: Instant,
    next: Instant,
    probe: Option<Probe>,
}

/// A check that is being made.
struct Probe {
    child: Child,
    /// What it finds: a [`Checked`] as JSON, and then the end.
    result: OwnedFd,
    heard: Vec<u8>,
}

impl Watch {
    /// The health of `container`, which has just been started, if it is to be checked.
    pub(super) fn of(container: &Container) -> Option<Self> {
        let check = Check::of(&container.config)?;
        let (health, now) = (Health::default(), Instant::now());
        let next = now + check.pause(&health, Duration::ZERO);
        Some(Self { check, health, began: now, next, probe: None })
    }

    /// What comes from the check that is being made.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref().map(|probe| probe.result.as_fd())
    }

    /// How long nothing is to be done.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.probe.is_some() { None } else { Some(self.next.saturating_duration_since(Instant::now())) }
    }

    /// Begins a check if it is time for one. `engine` is this process's, and so is `process`, the container's first.
    pub(super) fn begin(&mut self, engine: &Engine, container: &Container, process: &Child) -> Result<()> {
        if self.probe.is_some() || Instant::now() < self.next {
            return Ok(());
        }
        let (result, out) = streams::pipe()?;
        let check = &self.check;
        let child = spawn(Namespaces::NONE, None, || {
            let kept = [out.as_fd(), process.as_fd()];
            let made = descriptors::keep_only(&kept)
                .map_err(Error::from)
                .and_then(|()| make(engine, container, process, check));
            let start = logs::now();
            let checked = made.unwrap_or_else(|error| Checked {
                start: start.clone(),
                end: start,
                exit_code: -1,
                output: error.to_string(),
            });
            let told = serde_json::to_writer(File::from(out), &checked);
            u8::from(told.is_err())
        })?;
        self.probe = Some(Probe { child, result, heard: Vec::new() });
        Ok(())
    }

    /// Gives up the check that is being made, if there is one: its container has ended.
    pub(super) fn abandon(&mut self) -> Result<()> {
        self.probe.take().map_or(Ok(()), |probe| Ok(runtime::start::end(&probe.child)?))
    }

    /// Takes what the check has found; whether the health is known anew.
    pub(super) fn hear(&mut self) -> Result<bool> {
        let Some(probe) = &mut self.probe else { return Ok(false) };
        let mut chunk = [0; MAX_OUTPUT];
        match rustix::io::read(&probe.result, &mut chunk) {
            Ok(0) => {}
            Ok(length) => {
                probe.heard.extend_from_slice(&chunk[..length]);
                return Ok(false);
            }
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(errno) => return Err(Error::kernel("hear from a health check", errno)),
        }
        let Some(probe) = self.probe.take() else { return Ok(false) };
        probe.child.wait()?;
        let ran = self.began.elapsed();
        // Nothing comes from one that was killed, by the container's end say.
        let checked = serde_json::from_slice::<Checked>(&probe.heard);
        if let Ok(checked) = &checked {
            self.health.learn(&self.check, checked.clone(), ran);
        }
        self.next = Instant::now() + self.check.pause(&self.health, ran);
        Ok(checked.is_ok())
    }
}

/// Runs the check's command in the container, for as long as it may take.
fn make(engine: &Engine, container: &Container, process: &Child, check: &Check) -> Result<Checked> {
    let start = logs::now();
    let request = Request { command: check.command.clone(), ..Request::default() };
    let process = process.as_fd().try_clone_to_owned();
    let process = process.map_err(|error| Error::kernel("copy a descriptor", error))?;
    // Not by its number: an ordinary user's shim cannot come back from a pid namespace that it had its container join, and
    // this child has begun there.
    let task = engine.exec_task(container, Some(process), request)?;
    let (output, child_output) = streams::pipe()?;
    let copy = child_output.try_clone().map_err(|error| Error::kernel("copy a descriptor", error))?;
    let null = streams::open_null(rustix::fs::OFlags::RDONLY)?;
    let child = match exec(&task.target, &task.process, runtime::Streams::Pipes([null, child_output, copy])) {
        Ok(child) => child,
        // There is no such program: the check has failed, as it would in a shell.
        Err(error) => {
            let exit_code = i32::from(error.exit_code());
            return Ok(Checked { start, end: logs::now(), exit_code, output: error.to_string() });
        }
    };
    let deadline = Instant::now() + check.timeout;
    let (mut text, mut output) = (Vec::new(), File::from(output));
    rustix::io::ioctl_fionbio(&output, true).map_err(|errno| Error::kernel("set up a pipe", errno))?;
    let exit_code = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            runtime::start::end(&child)?;
            text = format!("Health check exceeded timeout ({:?})", check.timeout).into_bytes();
            break -1;
        }
        let mut fds =
            [PollFd::new(child.as_fd(), PollFlags::POLLIN), PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Error::kernel("wait for a health check", errno)),
        }
        let (ended, closed) = (fds[0].any() == Some(true), fds[1].any() == Some(true));
        let end = closed && read_some(&mut output, &mut text)?;
        if ended {
            break i32::from(child.wait()?.code());
        }
        if end {
            // It has closed its output, and goes on: only its end is of interest.
            await_end(&child, deadline)?;
        }
    };
    text.truncate(MAX_OUTPUT);
    Ok(Checked { start, end: logs::now(), exit_code, output: String::from_utf8_lossy(&text).into_owned() })
}

/// Takes what there is; whether that was the end. What is too much is thrown away.
fn read_some(output: &mut File, text: &mut Vec<u8>) -> Result<bool> {
    let mut chunk = [0; MAX_OUTPUT];
    match output.read(&mut chunk) {
        Ok(0) => Ok(true),
        Ok(length) => {
            let room = MAX_OUTPUT.saturating_sub(text.len());
            text.extend_from_slice(&chunk[..length.min(room)]);
            Ok(false)
        }
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) =>
        {
            Ok(false)
        }
        Err(error) => Err(Error::kernel("read from a health check", error)),
    }
}

fn await_end(child: &Child, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(child.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::kernel("wait for a health check", errno)),
    }
}
