//! What becomes of a container after it was created: starts and stops, another name, its end.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cgroups::Limits;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Created, Engine, PATIENCE};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::signals;
use crate::store::Held;
use crate::update::Changes;
use crate::wire::{Connection, Frame, Received};

/// Seconds that a container has to end by itself, unless it says otherwise.
const STOP_TIMEOUT: i64 = 10;
/// How often a container that somebody else has in hand is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

impl Engine {
    /// Lets go of a container that was created, and is not to be started yet.
    pub fn keep(&self, created: &Created) -> Result<()> {
        self.tell(&created.container, "create", &[]);
        self.containers.settle(&created.held)
    }

    /// Holds a container that does not run, to start it. `None` if it runs already; one that is paused is refused.
    pub fn take_up(&self, container: &Container) -> Result<Option<Created>> {
        if self.state(container)?.status == Status::Paused {
            return Err(Error::new("cannot start a paused container, try unpause instead"));
        }
        let Some(held) = self.hold_resting(container)? else { return Ok(None) };
        let Some(container) = self.containers.read(&container.id)? else {
            return Err(Error::missing(format!("No such container: {}", container.id)));
        };
        self.containers.settle(&held)?;
        let launch = self.launch(&container)?;
        self.containers.resume(&held)?;
        Ok(Some(Created { container, held, launch, is_new: false, network: None }))
    }

    /// Holds a container that does not run, so that nobody starts it meanwhile. `None` if it runs.
    pub(crate) fn hold_resting(&self, container: &Container) -> Result<Option<Held>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(held) = self.containers.try_hold(&container.id)? {
                return Ok(Some(held));
            }
            // Who has it in hand may be its shim, or a command that is about to let go.
            if self.state(container)?.status.is_alive() {
                return Ok(None);
            }
            if matches!(self.containers.read(&container.id), Ok(None)) {
                return Err(Error::missing(format!("No such container: {}", container.id)));
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "container {} is in the hands of another command; try again",
                    if container.name.is_empty() { &container.id } else { &container.name }
                )));
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// A conversation with a running container, whose output comes through it from now on.
    pub fn attach(&self, container: &Container) -> Result<Connection> {
        let stopped = || Error::new("cannot attach to a stopped container, start it first");
        match self.state(container)?.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::new("cannot attach to a paused container, unpause it first"));
            }
            Status::Restarting => {
                return Err(Error::new("cannot attach to a restarting container, wait until it is running"));
            }
            Status::Created | Status::Exited => return Err(stopped()),
        }
        let mut connection = self.connect(container)?.ok_or_else(stopped)?;
        connection.send(&Frame::Attach)?;
        self.tell(container, "attach", &[]);
        Ok(connection)
    }

    /// Asks a container to end, and after `timeout` seconds makes it. Without a timeout, the container's own; a
    /// negative one waits for ever. One that does not run is left as it is.
    pub fn stop(&self, container: &Container, signal: Option<u8>, timeout: Option<i64>) -> Result<()> {
        let signal = match (signal, &container.config.stop_signal) {
            (Some(signal), _) => signal,
            (None, Some(name)) => signals::parse(name)?,
            (None, None) => libc::SIGTERM as u8,
        };
        let timeout = timeout.or(container.config.stop_timeout).unwrap_or(STOP_TIMEOUT);
        if self.state(container)?.status.is_alive() {
            self.end(container, signal, u64::try_from(timeout).ok().map(Duration::from_secs))?;
            self.tell(container, "stop", &[]);
        }
        Ok(())
    }

    /// Ends a container with `signal`, and after `patience` with SIGKILL. One that does not run is left as it is.
    pub(super) fn end(&self, container: &Container, signal: u8, patience: Option<Duration>) -> Result<()> {
        // More than once, if it ended by itself at the same moment, and was started again by its policy.
        while self.state(container)?.status.is_alive() {
            let Some(mut connection) = self.connect(container)? else { return Ok(()) };
            connection.send(&Frame::Stop(signal))?;
            if let Awaited::Patience = await_end(&mut connection, patience)? {
                connection.send(&Frame::Stop(libc::SIGKILL as u8))?;
                await_end(&mut connection, None)?;
            }
        }
        Ok(())
    }

    /// Sends a running container a signal; after SIGKILL, waits for its end.
    pub fn kill(&self, container: &Container, signal: u8) -> Result<()> {
        let not_running = || Error::new(format!("container {} is not running", container.id));
        if !self.state(container)?.status.is_alive() {
            return Err(not_running());
        }
        if i32::from(signal) == libc::SIGKILL {
            return self.end(container, signal, None);
        }
        let mut connection = self.connect(container)?.ok_or_else(not_running)?;
        let stops =
            container.config.stop_signal.as_deref().map_or(Ok(libc::SIGTERM as u8), signals::parse)?;
        connection.send(&if signal == stops { Frame::Stop(signal) } else { Frame::Signal(signal) })?;
        connection.finish()
    }

    /// Freezes a container's processes, or lets them go on.
    pub fn freeze(&self, container: &Container, frozen: bool) -> Result<()> {
        self.ask_to_freeze(container, frozen, &Frame::Freeze(frozen)).map(drop)
    }

    /// Freezes a container's processes until [`Engine::thaw`], or the end of the connection: with this command's, whatever
    /// becomes of it.
    pub(crate) fn freeze_meanwhile(&self, container: &Container) -> Result<Connection> {
        self.ask_to_freeze(container, true, &Frame::FreezeForMe)
    }

    /// Lets those processes go on, if they are still there.
    pub(crate) fn thaw(&self, container: &Container, mut connection: Connection) -> Result<()> {
        if self.state(container)?.status == Status::Paused {
            connection.send(&Frame::Freeze(false))?;
            answer(&mut connection)?;
        }
        Ok(())
    }

    fn ask_to_freeze(&self, container: &Container, frozen: bool, frame: &Frame) -> Result<Connection> {
        let status = self.state(container)?.status;
        let refused = |what: &str| Err(Error::new(format!("Container {} is {what}", container.id)));
        match (frozen, status) {
            (true, Status::Running) | (false, Status::Paused) => {}
            (true, Status::Paused) => return refused("already paused"),
            (true, Status::Restarting) => return refused("restarting, wait until the container is running"),
            (true, _) => return refused("not running"),
            (false, _) => return refused("not paused"),
        }
        let Some(mut connection) = self.connect(container)? else { return refused("not running") };
        connection.send(frame)?;
        answer(&mut connection)?;
        Ok(connection)
    }

    /// Changes what a container may use, at once if it runs. If not all of it can be had, nothing is changed.
    pub fn update(&self, container: &Container, changes: &Changes) -> Result<()> {
        let failed = |error: Error| Error::new(format!("Cannot update container {}: {error}", container.id));
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Held, it cannot be started meanwhile; one that runs is held by its shim.
            let held = self.containers.try_hold(&container.id)?;
            let running = self.state(container)?.status.is_alive();
            if held.is_some() || running {
                self.update_in(container, changes, running).map_err(failed)?;
                self.tell(container, "update", &[]);
                return Ok(());
            }
            if self.containers.read(&container.id)?.is_none() {
                return Err(Error::missing(format!("No such container: {}", container.id)));
            }
            if Instant::now() > deadline {
                return Err(failed(Error::new("it is in the hands of another command; try again")));
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn update_in(&self, container: &Container, changes: &Changes, running: bool) -> Result<()> {
        let cgroup = self.cgroup(container)?;
        let mut undo = Vec::new();
        let amended = self.containers.amend(&container.id, |container| {
            let host = &mut container.host_config;
            changes.make(host)?;
            let limits = changes.limits(host)?;
            match &cgroup {
                // Between two runs there is none, and the next has the new limits from its beginning.
                Some(cgroup) if running && cgroup.exists() => {
                    let steps = cgroups::plan(&limits, cgroup.hierarchy())?;
                    undo = cgroup.present(&steps)?;
                    Ok(cgroup.carry_out(&steps)?)
                }
                Some(cgroup) => {
                    cgroups::plan(&limits, cgroup.hierarchy())?;
                    Ok(())
                }
                None if running && limits != Limits::default() => {
                    Err(Error::new("it has no cgroup (see 'mini-docker doctor' for how to get one)"))
                }
                None => Ok(()),
            }
        });
        if let (Err(_), Some(cgroup)) = (&amended, &cgroup) {
            cgroup.carry_out(&undo)?;
        }
        amended.map(drop)
    }

    /// Waits for a container's end; its exit code. One that does not run has ended.
    pub fn wait(&self, container: &Container) -> Result<u8> {
        if self.state(container)?.status.is_alive()
            && let Some(mut connection) = self.connect(container)?
            && let Awaited::Ended(Some(code)) = await_end(&mut connection, None)?
        {
            return Ok(code);
        }
        Ok(self.state(container)?.exit_code)
    }

    /// Gives a container another name.
    pub fn rename(&self, container: &Container, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == container.name {
            return Err(Error::new("Renaming a container with the same name as its current name"));
        }
        self.containers.rename(&container.id, name)?;
        let renamed = Container { name: name.to_owned(), ..container.clone() };
        self.tell(&renamed, "rename", &[("oldName", &format!("/{}", container.name))]);
        self.networks.rename(&renamed, &self.containers.exec_directory(&container.id))
    }
}

/// How waiting for an end came out.
pub(super) enum Awaited {
    /// It has come, with this exit code, if the shim could say so.
    Ended(Option<u8>),
    /// It has not.
    Patience,
}

/// Waits until the shim says that its container has ended, for `patience` at most.
pub(super) fn await_end(connection: &mut Connection, patience: Option<Duration>) -> Result<Awaited> {
    // What is too far away to be told counts as never.
    let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    loop {
        let (frames, closed) = match connection.receive()? {
            Received::Frames(frames) => (frames, false),
            Received::Closed(frames) => (frames, true),
        };
        let code = frames.into_iter().find_map(|frame| match frame {
            Frame::Exited(code) => Some(code),
            _ => None,
        });
        if code.is_some() || closed {
            return Ok(Awaited::Ended(code));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Awaited::Patience);
        }
        // Rounded up, so that the last round does not spin.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX)
        });
        wait_readable(connection, timeout)?;
    }
}

/// Waits for the shim's answer to what it was asked for.
fn answer(connection: &mut Connection) -> Result<()> {
    loop {
        let (frames, closed) = match connection.receive()? {
            Received::Frames(frames) => (frames, false),
            Received::Closed(frames) => (frames, true),
        };
        for frame in frames {
            match frame {
                Frame::Done => return Ok(()),
                Frame::Failed { message, .. } => return Err(Error::new(message)),
                _ => {}
            }
        }
        if closed {
            return Err(Error::new("the container has ended meanwhile"));
        }
        wait_readable(connection, PollTimeout::NONE)?;
    }
}

fn wait_readable(connection: &Connection, timeout: PollTimeout) -> Result<()> {
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::kernel("wait for the shim", errno)),
    }
}
