//! The shim: the one process that outlives the command and waits for the container.
//!
//! It is a copy of the command, made by a fork, and does as little as it can: it starts the container, holds its
//! streams, writes its log, passes signals and input on, and records its end. It holds the container's lock from
//! before the start until everything is tidy, so "does it run?" is the question whether that lock is held.
//!
//! It has one thread, which waits in `poll(2)` for whatever comes first (`running`, `traffic`); `streams` are the descriptors
//! between it and the container; `restart` is what it does between two runs.

pub mod exec;
mod probe;
mod restart;
mod running;
mod streams;
mod title;
mod traffic;

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use cgroups::Cgroup;
use jiff::Timestamp;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use pid_namespace::{Exit, Namespaces, descriptors, spawn};
use runtime::{Join, own_program};
use rustix::fs::OFlags;

use crate::container::{Container, State, Status};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::logs;
use crate::networks::membership::Connections;
use crate::networks::wiring::Wiring;
use crate::plan::Launch;
use crate::sharing::Share;
use crate::store::{Containers, Held};
use crate::wire::{Connection, Frame};
use restart::{Delays, Waited, await_restart};
use running::{Change, Running};
use traffic::Client;

/// What `ps` on the host shows for a shim.
const NAME: &CStr = c"md-shim";

/// What a shim needs to know.
#[derive(Debug)]
pub struct Task {
    /// Which container.
    pub container: Container,
    /// The hold on it.
    pub held: Held,
    /// How it is started.
    pub launch: Launch,
    /// What that takes of others.
    pub supplies: Supplies,
    /// The size of the user's terminal, lines and columns, if the container is to have one like it.
    pub size: Option<(u16, u16)>,
    /// Whether the command that asks for the start wants the output.
    pub attached: bool,
    /// Whether it has only just been created, and nobody has heard of it yet.
    pub is_new: bool,
}

/// What a start takes of other containers, and of networks.
#[derive(Debug)]
pub struct Supplies {
    /// The containers whose namespaces it joins.
    pub neighbours: Vec<Join>,
    /// What it has claimed of networks, if anything.
    pub wiring: Option<Wiring>,
    /// Its network namespace, if that was made ahead. A second start has none.
    pub network: Option<OwnedFd>,
}

impl Supplies {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let wired = self.wiring.iter().flat_map(Wiring::descriptors);
        self.neighbours.iter().map(AsFd::as_fd).chain(self.network.iter().map(AsFd::as_fd)).chain(wired)
    }
}

/// Connects to the shim of container `id`.
pub fn connect(containers: &Containers, id: &str) -> Result<Connection> {
    let directory = containers.exec_directory(id);
    let failed = |error| Error::file("connect to the shim at", &directory, error);
    let held = File::open(&directory).map_err(failed)?;
    UnixStream::connect(socket_path(&held)).map(Connection::new).map_err(failed)
}

/// Listens for commands about container `id`.
fn listen(containers: &Containers, id: &str) -> Result<UnixListener> {
    let directory = containers.exec_directory(id);
    let failed = |error| Error::file("listen at", &directory, error);
    let held = File::open(&directory).map_err(failed)?;
    let listener = UnixListener::bind(socket_path(&held)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The shim's socket in the container's fleeting directory. A socket's path may have 107 bytes (`unix(7)`), which
/// the user's choice of folders must not exhaust: so it begins at a descriptor.
fn socket_path(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd()))
}

/// Forks a shim for `task`. What it has to say, beginning with [`Frame::Started`] or [`Frame::Failed`], comes
/// through the connection.
pub fn start(engine: &Engine, task: Task) -> Result<Connection> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    spawn(Namespaces::NONE, None, move || match serve(engine, task, Connection::new(theirs)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::info!("the shim fails: {error}");
            125
        }
    })?;
    Ok(Connection::new(ours))
}

/// The shim's life.
fn serve(engine: &Engine, task: Task, command: Connection) -> Result<()> {
    let Task { container, held, launch, supplies, size, attached, is_new } = task;
    let mut kept = vec![held.lock.as_fd(), command.as_fd()];
    kept.extend(supplies.descriptors());
    kept.extend(engine.descriptors());
    detach(NAME, &kept)?;
    title::set(&format!("{} {}", NAME.to_string_lossy(), container.short_id()))?;
    tracing::info!("a shim is forked: process {} will hold the container", std::process::id());
    let state = if is_new { State::default() } else { engine.containers().state(&container.id)? };
    let state = State { restart_count: 0, stopped_by_hand: false, ..state };
    let mut shim = Shim { engine, container, held, state, untold: Vec::new() };
    for (action, has_happened) in [("create", is_new), ("attach", attached)] {
        if has_happened {
            shim.untold.push(Event::container(&shim.container, action, &[]));
        }
    }
    let mut run = match shim.run(launch, supplies, size) {
        Ok(run) => run,
        Err(error) => return shim.give_up(command, &error),
    };
    let listener = listen(engine.containers(), &shim.container.id)?;
    let mut command = Client::new(command, attached, attached && shim.container.config.stdin_once);
    command.tell(&Frame::Started);
    release_streams()?;
    run.running.traffic.clients.push(command);
    let mut delays = Delays::default();
    loop {
        let began = Instant::now();
        let exit = run.running.watch(engine, &listener, &mut |change| shim.note(change))?;
        let delay = delays.next(began.elapsed());
        if !shim.is_to_restart(exit)? {
            return shim.end(run, exit);
        }
        let clients = shim.rest(run, exit)?;
        farewell(clients, exit.code());
        match await_restart(&listener, delay)? {
            Waited::ToTheEnd => {}
            Waited::Stopped(clients) => {
                shim.state.status = Status::Exited;
                shim.state.stopped_by_hand = true;
                let code = shim.state.exit_code;
                return shim.conclude(clients, code);
            }
        }
        run = match shim.run_again() {
            Ok(run) => run,
            Err(error) => {
                shim.state = State { status: Status::Exited, error: error.to_string(), ..shim.state.clone() };
                let code = shim.state.exit_code;
                return shim.conclude(Vec::new(), code);
            }
        };
    }
}

/// A container in the hands of its shim.
struct Shim<'a> {
    engine: &'a Engine,
    container: Container,
    held: Held,
    /// What is recorded of it.
    state: State,
    /// What has happened to it until now, to be told when it is sure that it stays so.
    untold: Vec<Event>,
}

/// One run of a container.
struct Run {
    launch: Launch,
    running: Running,
    /// Addresses and ports that are its own for as long as this is there.
    supplies: Supplies,
}

impl Shim<'_> {
    /// Starts the container. If that fails, nothing is left of the attempt.
    fn run(&mut self, launch: Launch, mut supplies: Supplies, size: Option<(u16, u16)>) -> Result<Run> {
        let started = Running::start(self.engine, &self.container, &launch, &mut supplies, size);
        match started.and_then(|running| self.record_start(running)) {
            Ok(running) => Ok(Run { launch, running, supplies }),
            Err(error) => {
                let tidied = remove_cgroup(&launch);
                self.release_networks().and(tidied).map_or_else(Err, |()| Err(error))
            }
        }
    }

    /// Records that the container runs. One of which that cannot be recorded is ended.
    fn record_start(&mut self, running: Running) -> Result<Running> {
        let state = State {
            status: Status::Running,
            pid: running.traffic.child.pid().as_raw(),
            started_at: logs::now(),
            finished_at: String::new(),
            restart_count: self.state.restart_count,
            health: running.health.as_ref().map(|watch| watch.health.clone()),
            ..State::default()
        };
        let before = std::mem::replace(&mut self.state, state);
        let recorded = self.engine.containers().write_state(&self.container, &self.state);
        match recorded.and_then(|()| self.tell_start()) {
            Ok(()) => Ok(running),
            Err(error) => {
                self.state = before;
                runtime::start::end(&running.traffic.child)?;
                Err(error)
            }
        }
    }

    /// Records that the container runs, and what led to it.
    fn tell_start(&mut self) -> Result<()> {
        let mut events = std::mem::take(&mut self.untold);
        events.extend(Event::mounts(&self.container));
        events.extend(Event::networks(&self.container, "connect", &self.connections()?));
        events.push(Event::container(&self.container, "start", &[]));
        self.engine.journal().record(&events);
        Ok(())
    }

    /// Learns what the container is called now, for what is told of it. Whose record cannot be read keeps its name.
    fn learn_name(&mut self) {
        if let Ok(Some(name)) = self.engine.containers().name(&self.container.id) {
            self.container.name = name;
        }
    }

    /// Records that the container has ended. To be called while it still has its networks and its cgroup.
    fn tell_end(&self, launch: &Launch, exit: Exit) -> Result<()> {
        let ran =
            self.state.started_at.parse().map_or(0, |start| Timestamp::now().duration_since(start).as_secs());
        let mut events = Vec::new();
        // What came at the very end nobody has heard of.
        if !self.state.oom_killed && oom_kills(launch)? > 0 {
            events.push(Event::container(&self.container, "oom", &[]));
        }
        let attributes = [("execDuration", &*ran.to_string()), ("exitCode", &*exit.code().to_string())];
        events.push(Event::container(&self.container, "die", &attributes));
        events.extend(Event::networks(&self.container, "disconnect", &self.connections()?));
        events.extend(Event::unmounts(&self.container));
        if self.container.host_config.auto_remove {
            events.push(Event::container(&self.container, "destroy", &[]));
        }
        self.engine.journal().record(&events);
        Ok(())
    }

    /// What it has of networks.
    fn connections(&self) -> Result<Connections> {
        Connections::read(&self.engine.containers().exec_directory(&self.container.id))
    }

    /// Starts the container once more, as its record is by now.
    fn run_again(&mut self) -> Result<Run> {
        let missing = || Error::missing(format!("No such container: {}", self.container.id));
        self.container = self.engine.containers().read(&self.container.id)?.ok_or_else(missing)?;
        let mut launch = self.engine.launch(&self.container)?;
        let supplies = self.engine.supply(&self.container, &mut launch)?;
        self.state.restart_count += 1;
        self.run(launch, supplies, None).map_err(|error| match error.exit_code() {
            // A command would make the start once more, with a binary that cannot be written to. This process has a
            // container's lock and its clients, and does not become another.
            Some(own_program::AGAIN) => Error::new(format!(
                "cannot be started again by itself: {error} (use 'mini-docker start {}')",
                self.container.name
            )),
            _ => error,
        })
    }

    /// Records what has become of the container.
    fn note(&mut self, change: Change) -> Result<()> {
        self.learn_name();
        match change {
            Change::Health(health) => {
                if self.state.health.as_ref().is_none_or(|before| before.status != health.status) {
                    let action = format!("health_status: {}", health.status.word());
                    self.engine.tell(&self.container, &action, &[]);
                }
                self.state.health = Some(health);
            }
            Change::OutOfMemory => {
                self.state.oom_killed = true;
                self.engine.tell(&self.container, "oom", &[]);
            }
            Change::StoppedByHand => self.state.stopped_by_hand = true,
            Change::Frozen(frozen) => {
                self.state.status = if frozen { Status::Paused } else { Status::Running };
                self.engine.tell(&self.container, if frozen { "pause" } else { "unpause" }, &[]);
            }
            Change::Signalled(signal) => {
                self.engine.tell(&self.container, "kill", &[("signal", &signal.to_string())]);
                return Ok(());
            }
        }
        self.engine.containers().write_state(&self.container, &self.state)
    }

    /// Whether the container is to be started again after this end.
    fn is_to_restart(&self, exit: Exit) -> Result<bool> {
        // What removes itself has no policy, and cannot be given one.
        if self.state.stopped_by_hand || self.container.host_config.auto_remove {
            return Ok(false);
        }
        // The policy may have been changed meanwhile.
        let container = self.engine.containers().read(&self.container.id)?;
        let policy = container.map(|container| container.host_config.restart_policy);
        Ok(policy.is_some_and(|policy| policy.applies(exit.code(), self.state.restart_count)))
    }

    /// The container could not be started at all.
    fn give_up(mut self, mut command: Connection, error: &Error) -> Result<()> {
        let code = error.exit_code().unwrap_or(125);
        self.state.exit_code = code;
        self.state.error = error.to_string();
        // What is made again is told then.
        if code != own_program::AGAIN {
            if self.container.host_config.auto_remove {
                self.untold.push(Event::container(&self.container, "destroy", &[]));
            }
            self.engine.journal().record(&self.untold);
        }
        let concluded = self.conclude(Vec::new(), code);
        // Whatever else failed, this is the reason.
        command.send(&Frame::Failed { code, message: error.to_string() })?;
        command.finish()?;
        concluded
    }

    /// Records an end after which the container will be started again; who was connected to it then.
    fn rest(&mut self, run: Run, exit: Exit) -> Result<Vec<Client>> {
        let clients = self.put_away(run, exit, Status::Restarting)?;
        self.engine.containers().write_state(&self.container, &self.state)?;
        Ok(clients)
    }

    /// The container has ended, and stays so.
    fn end(mut self, run: Run, exit: Exit) -> Result<()> {
        if !self.container.host_config.auto_remove {
            let clients = self.put_away(run, exit, Status::Exited)?;
            return self.conclude(clients, exit.code());
        }
        end_stragglers(&run.launch)?;
        self.learn_name();
        self.tell_end(&run.launch, exit)?;
        // Before anybody hears of the end: whoever comes next may count on the addresses and the ports.
        let released = self.release_networks();
        let Run { launch, running, supplies } = run;
        let clients = running.traffic.clients;
        drop((running.live, supplies));
        // For everybody else it is gone with this; what it was made of can be removed while they go on.
        let held = self.engine.containers().retire(self.held)?;
        // But not its volumes, which anybody can list.
        let removed = self.engine.remove_anonymous_volumes(&self.container);
        farewell(clients, exit.code());
        // Where a command shares this processor, it need not wait for the rest.
        std::thread::yield_now();
        released.and(removed)?;
        remove_cgroup(&launch)?;
        self.engine.containers().remove(held)
    }

    /// Gives back what a run had, and takes down how it ended.
    fn put_away(&mut self, run: Run, exit: Exit, status: Status) -> Result<Vec<Client>> {
        let Run { launch, mut running, supplies } = run;
        end_stragglers(&launch)?;
        self.learn_name();
        self.tell_end(&launch, exit)?;
        let released = self.release_networks();
        drop((running.live.names.take(), supplies));
        self.state = State {
            status,
            pid: 0,
            exit_code: exit.code(),
            // A cgroup's count of its killed is gone with it.
            oom_killed: self.state.oom_killed || oom_kills(&launch)? > 0,
            error: running.traffic.log_failure.take().unwrap_or_default(),
            finished_at: logs::now(),
            ..self.state.clone()
        };
        released.and(remove_cgroup(&launch))?;
        Ok(running.traffic.clients)
    }

    fn release_networks(&self) -> Result<()> {
        let id = &self.container.id;
        self.engine.networks().release(id, &self.engine.containers().exec_directory(id))
    }

    /// Records the end, or removes what removes itself, and lets go of the container.
    fn conclude(self, clients: Vec<Client>, code: u8) -> Result<()> {
        let Self { engine, container, held, state, .. } = self;
        let containers = engine.containers();
        let concluded = if container.host_config.auto_remove {
            containers.retire(held).and_then(|held| {
                engine.remove_anonymous_volumes(&container)?;
                containers.remove(held)
            })
        } else {
            containers
                .write_state(&container, &state)
                .and_then(|()| containers.settle(&held))
                .map(|()| drop(held))
        };
        // Whatever failed, the exit code is known.
        farewell(clients, code);
        concluded
    }
}

/// Tells everybody who is still connected that the container has ended.
fn farewell(mut clients: Vec<Client>, code: u8) {
    // First all, without waiting: one that does not read must not keep the others from hearing it.
    for client in &mut clients {
        client.tell(&Frame::Exited(code));
    }
    for client in clients {
        if let Err(error) = client.connection.finish() {
            tracing::info!("a client went before the end: {error}");
        }
    }
}

/// How many of its processes were killed for want of memory.
fn oom_kills(launch: &Launch) -> Result<u64> {
    Ok(launch.plan.cgroup.as_ref().map_or(Ok(0), Cgroup::oom_kills)?)
}

/// Ends what is left of a container whose first process has ended. In a pid namespace of its own the kernel has done so;
/// in another's, or the host's, nobody has.
fn end_stragglers(launch: &Launch) -> Result<()> {
    match &launch.plan.cgroup {
        Some(cgroup) if launch.sharing.pid != Share::Own => Ok(cgroup.kill()?),
        _ => Ok(()),
    }
}

fn remove_cgroup(launch: &Launch) -> Result<()> {
    launch.plan.cgroup.as_ref().map_or(Ok(()), |cgroup| Ok(cgroup.remove()?))
}

/// Leaves the command's session, working directory and whatever descriptors it was given by others.
fn detach(name: &CStr, kept: &[BorrowedFd<'_>]) -> Result<()> {
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::kernel("leave the working directory", errno))?;
    rustix::thread::set_name(name).map_err(|errno| Error::kernel("name this process", errno))?;
    // The command may have blocked signals for itself. A container that closes its input is no reason to die, nor is
    // the end of the command's terminal, nor a log that is as long as the caller's limits let a file be.
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| Error::kernel("unblock signals", errno))?;
    for signal in [Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) }
            .map_err(|errno| Error::kernel("ignore a signal", errno))?;
    }
    // The command may have been given descriptors by its caller. A shim that kept, say, the lock of a script would
    // hold it for the container's whole life.
    Ok(descriptors::keep_only(kept)?)
}

/// Lets go of the command's standard streams: whoever reads them waits for the last writer.
pub(crate) fn release_streams() -> Result<()> {
    let null = streams::open_null(OFlags::RDWR)?;
    for place in 0..=2 {
        // SAFETY: the three standard descriptors belong to nobody in this process.
        nix::errno::Errno::result(unsafe { libc::dup2(null.as_raw_fd(), place) })
            .map_err(|errno| Error::kernel("release the standard streams", errno))?;
    }
    Ok(())
}
