//! The shim: the one process that outlives the command and waits for the container.
//!
//! It is a copy of the command, made by a fork, and does as little as it can: it starts the container, holds its
//! streams, writes its log, passes signals and input on, and records its end. It holds the container's lock from
//! before the start until everything is tidy, so "does it run?" is the question whether that lock is held.
//!
//! It has one thread, which waits in `poll(2)` for whatever comes first (`running`); `streams` are the descriptors
//! between it and the container.

mod running;
mod streams;
mod title;

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use pid_namespace::{Exit, Namespaces, descriptors, spawn};
use runtime::Join;
use rustix::fs::OFlags;

use crate::container::{Container, State, Status};
use crate::error::{Error, Result};
use crate::logs;
use crate::networks::Networks;
use crate::networks::wiring::Wiring;
use crate::plan::Launch;
use crate::store::{Containers, Held};
use crate::volumes;
use crate::wire::{Connection, Frame};
use running::{Client, Running};

/// What `ps` on the host shows for a shim.
const NAME: &CStr = c"md-shim";

/// What a shim needs to know.
#[derive(Debug)]
pub struct Task {
    /// The containers' store.
    pub containers: Containers,
    /// The data folder.
    pub data: PathBuf,
    /// Which container.
    pub container: Container,
    /// How it is started.
    pub launch: Launch,
    /// The hold on it.
    pub held: Held,
    /// The containers whose namespaces it joins.
    pub neighbours: Vec<Join>,
    /// The networks.
    pub networks: Networks,
    /// What it has claimed of them, if anything.
    pub wiring: Option<Wiring>,
    /// What keeps an ordinary user's namespaces, where the engine is in those.
    pub anchor: Option<OwnedFd>,
    /// The size of the user's terminal, lines and columns, if the container is to have one like it.
    pub size: Option<(u16, u16)>,
    /// Whether the command that asks for the start wants the output.
    pub attached: bool,
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
pub fn start(task: Task) -> Result<Connection> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    spawn(Namespaces::NONE, None, move || match serve(task, Connection::new(theirs)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::info!("the shim fails: {error}");
            125
        }
    })?;
    Ok(Connection::new(ours))
}

/// The shim's life.
fn serve(task: Task, mut command: Connection) -> Result<()> {
    let Task {
        containers,
        data,
        container,
        launch,
        held,
        neighbours,
        networks,
        wiring,
        anchor,
        size,
        attached,
    } = task;
    let mut kept = vec![held.lock.as_fd(), command.as_fd()];
    kept.extend(neighbours.iter().map(AsFd::as_fd));
    kept.extend(wiring.iter().flat_map(Wiring::descriptors));
    kept.extend(anchor.iter().map(AsFd::as_fd));
    detach(&kept)?;
    title::set(&format!("{} {}", NAME.to_string_lossy(), container.short_id()))?;
    tracing::info!("a shim is forked: process {} will hold the container", std::process::id());
    let mut state = containers.state(&container.id)?;
    let exec_directory = containers.exec_directory(&container.id);
    let mut running =
        match Running::start(&containers, &launch, &neighbours, &networks, wiring.as_ref(), size) {
            Ok(running) => running,
            Err(error) => {
                let tidied = remove_cgroup(&launch);
                let released = networks.release(&container.id, &exec_directory);
                let code = error.exit_code().unwrap_or(125);
                state = State { exit_code: code, error: error.to_string(), ..state };
                let concluded = conclude(&containers, &data, &container, held, &state);
                // Whatever else failed, this is the reason.
                command.send(&Frame::Failed { code, message: error.to_string() })?;
                command.finish()?;
                return tidied.and(released).and(concluded);
            }
        };
    state = State {
        status: Status::Running,
        pid: running.child.pid().as_raw(),
        started_at: logs::now(),
        finished_at: String::new(),
        ..State::default()
    };
    containers.write_state(&container, &state)?;
    let listener = listen(&containers, &container.id)?;
    let mut command = Client::new(command, attached, attached && container.config.stdin_once);
    command.tell(&Frame::Started);
    release_streams()?;
    running.clients.push(command);
    let exit = running.watch(&listener)?;
    // Before anybody hears of the end: whoever comes next may count on the addresses and the ports.
    let released = networks.release(&container.id, &exec_directory);
    drop((running.live.names.take(), wiring));

    if container.host_config.auto_remove {
        // For everybody else it is gone with this; what it was made of can be removed while they go on.
        let held = containers.retire(held)?;
        farewell(running.clients, exit);
        released?;
        remove_cgroup(&launch)?;
        volumes::remove_anonymous(&data, &container)?;
        return containers.remove(held);
    }
    state = State {
        status: Status::Exited,
        pid: 0,
        exit_code: exit.code(),
        // A cgroup's count of its killed is gone with it.
        oom_killed: launch.plan.cgroup.as_ref().map_or(Ok(0), Cgroup::oom_kills)? > 0,
        error: running.log_failure.take().unwrap_or_default(),
        finished_at: logs::now(),
        ..state
    };
    let tidied = remove_cgroup(&launch);
    let concluded = conclude(&containers, &data, &container, held, &state);
    // Whatever failed, the exit code is known.
    farewell(running.clients, exit);
    released.and(tidied).and(concluded)
}

/// Tells everybody who is still connected that the container has ended.
fn farewell(mut clients: Vec<Client>, exit: Exit) {
    // First all, without waiting: one that does not read must not keep the others from hearing it.
    for client in &mut clients {
        client.tell(&Frame::Exited(exit.code()));
    }
    for client in clients {
        if let Err(error) = client.connection.finish() {
            tracing::info!("a client went before the end: {error}");
        }
    }
}

/// Records the end, or removes what removes itself, and lets go of the container.
fn conclude(
    containers: &Containers,
    data: &Path,
    container: &Container,
    held: Held,
    state: &State,
) -> Result<()> {
    if container.host_config.auto_remove {
        volumes::remove_anonymous(data, container)?;
        return containers.remove(held);
    }
    containers.write_state(container, state)?;
    containers.settle(&held)
}

fn remove_cgroup(launch: &Launch) -> Result<()> {
    launch.plan.cgroup.as_ref().map_or(Ok(()), |cgroup| Ok(cgroup.remove()?))
}

/// Leaves the command's session, working directory and whatever descriptors it was given by others.
fn detach(kept: &[BorrowedFd<'_>]) -> Result<()> {
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::kernel("leave the working directory", errno))?;
    // SAFETY: the name is a C string that lives for ever.
    unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
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
