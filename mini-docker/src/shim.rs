//! The shim: the one process that outlives the command and waits for the container.
//!
//! It is a copy of the command, made by a fork, and does as little as it can: it starts the container, holds its
//! streams, writes its log, passes signals and input on, and records its end. It holds the container's lock from
//! before the start until everything is tidy, so "does it run?" is the question whether that lock is held.
//!
//! It has one thread, which waits in `poll(2)` for whatever comes first.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use pid_namespace::{Child, Exit, Namespaces, descriptors, spawn};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

use crate::container::{Container, State, Status};
use crate::error::{Error, Result};
use crate::launch::{self, Streams, Wires};
use crate::logs::{self, Stream, Writer};
use crate::plan::Launch;
use crate::store::{Containers, Held};
use crate::terminal;
use crate::volumes;
use crate::wire::{Connection, Frame, Received};

/// What `ps` on the host shows for a shim.
const NAME: &std::ffi::CStr = c"md-shim";
/// Bytes of input that may wait for the container before the sender has to.
const MAX_WAITING_INPUT: usize = 1 << 16;
/// Bytes taken from the container at once.
const CHUNK: usize = 1 << 16;

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
    let Task { containers, data, container, launch, held, size, attached } = task;
    detach(&[held.lock.as_fd(), command.as_fd()])?;
    tracing::info!("a shim is forked: process {} will hold the container", std::process::id());
    let mut state = containers.state(&container.id)?;
    let mut running = match Running::start(&containers, &launch, size) {
        Ok(running) => running,
        Err((error, cgroup)) => {
            remove_cgroup(cgroup)?;
            let code = error.exit_code().unwrap_or(125);
            state = State { exit_code: code, error: error.to_string(), ..state };
            conclude(&containers, &data, &container, held, &state)?;
            command.send(&Frame::Failed { code, message: error.to_string() })?;
            return command.finish();
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

    state = State {
        status: Status::Exited,
        pid: 0,
        exit_code: exit.code(),
        // A cgroup's count of its killed is gone with it.
        oom_killed: running.cgroup.oom_kills()? > 0,
        error: running.log_failure.take().unwrap_or_default(),
        finished_at: logs::now(),
        ..state
    };
    let Running { cgroup, clients, .. } = running;
    if container.host_config.auto_remove {
        // For everybody else it is gone with this; what it was made of can be removed while they go on.
        let held = containers.retire(held)?;
        farewell(clients, exit);
        cgroup.remove()?;
        volumes::remove_anonymous(&data, &container)?;
        return containers.remove(held);
    }
    cgroup.remove()?;
    conclude(&containers, &data, &container, held, &state)?;
    farewell(clients, exit);
    Ok(())
}

/// Tells everybody who is still connected that the container has ended.
fn farewell(clients: Vec<Client>, exit: Exit) {
    for mut client in clients {
        client.tell(&Frame::Exited(exit.code()));
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

fn remove_cgroup(cgroup: Option<Cgroup>) -> Result<()> {
    cgroup.map_or(Ok(()), |cgroup| Ok(cgroup.remove()?))
}

/// Leaves the command's session, working directory and whatever descriptors it was given by others.
fn detach(kept: &[BorrowedFd<'_>]) -> Result<()> {
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::kernel("leave the working directory", errno))?;
    // SAFETY: the name is a C string that lives for ever.
    unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
    // The command may have blocked signals for itself. A container that closes its input is no reason to die, nor is
    // the end of the command's terminal.
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| Error::kernel("unblock signals", errno))?;
    for signal in [Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) }
            .map_err(|errno| Error::kernel("ignore a signal", errno))?;
    }
    // The command may have been given descriptors by its caller. A shim that kept, say, the lock of a script would
    // hold it for the container's whole life.
    Ok(descriptors::keep_only(kept)?)
}

/// Lets go of the command's standard streams: whoever reads them waits for the last writer.
fn release_streams() -> Result<()> {
    let null = open_null(OFlags::RDWR)?;
    for place in 0..=2 {
        // SAFETY: the three standard descriptors belong to nobody in this process.
        nix::errno::Errno::result(unsafe { libc::dup2(null.as_raw_fd(), place) })
            .map_err(|errno| Error::kernel("release the standard streams", errno))?;
    }
    Ok(())
}

fn open_null(flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(|errno| Error::kernel("open /dev/null", errno))
}

/// A container that runs, seen from its shim.
struct Running {
    child: Child,
    cgroup: Cgroup,
    log: Writer,
    /// Why the log is not whole, if it is not.
    log_failure: Option<String>,
    /// Where the container's input goes: a pipe or the terminal; `None` once it has ended.
    input: Option<OwnedFd>,
    /// Input that the container has not taken yet.
    waiting: Vec<u8>,
    /// Whether the input is to end when everything that waits has been taken.
    input_ends: bool,
    /// Where its output comes from.
    outputs: Vec<(Stream, OwnedFd)>,
    /// The terminal's master, if it has one.
    terminal: Option<OwnedFd>,
    clients: Vec<Client>,
}

/// Somebody connected to the shim.
struct Client {
    connection: Connection,
    /// Whether it gets the output.
    attached: bool,
    /// Whether the container's input ends when this client goes.
    owns_stdin: bool,
    /// Whether it has gone.
    gone: bool,
}

impl Client {
    fn new(connection: Connection, attached: bool, owns_stdin: bool) -> Self {
        Self { connection, attached, owns_stdin, gone: false }
    }

    /// Sends a frame. A client that cannot be reached has gone; the container does not mind.
    fn tell(&mut self, frame: &Frame) {
        self.gone |= self.connection.send(frame).is_err();
    }
}

impl Running {
    /// Starts the container. On failure its cgroup is handed back, if it was made, for removal.
    fn start(
        containers: &Containers,
        launch: &Launch,
        size: Option<(u16, u16)>,
    ) -> Result<Self, (Error, Option<Cgroup>)> {
        let cgroup = Cgroup::create(&launch.hierarchy, &launch.cgroup_parent, &launch.id)
            .map_err(|error| (error.into(), None))?;
        match Self::start_in(&cgroup, containers, launch, size) {
            Ok((child, log, ends)) => Ok(Self {
                child,
                cgroup,
                log,
                log_failure: None,
                input: ends.input,
                waiting: Vec::new(),
                input_ends: false,
                outputs: ends.outputs,
                terminal: ends.terminal,
                clients: Vec::new(),
            }),
            Err(error) => Err((error, Some(cgroup))),
        }
    }

    fn start_in(
        cgroup: &Cgroup,
        containers: &Containers,
        launch: &Launch,
        size: Option<(u16, u16)>,
    ) -> Result<(Child, Writer, Ends)> {
        cgroup.apply(&launch.limits)?;
        let log = Writer::open(&containers.log(&launch.id))?;
        let (report, report_child) = pipe()?;
        let (streams, pending) = if launch.tty { terminal_pair(size)? } else { pipes(launch.open_stdin)? };

        // Where the kernel can put the child into its cgroup by itself (v2), it starts inside; else it moves itself.
        let directory = cgroup.directory()?;
        let wires = Wires { report: report_child, streams };
        let child = spawn(launch.namespaces, directory.as_ref().map(AsFd::as_fd), || {
            launch::run(launch, cgroup, wires)
        })?;
        let started = (|| {
            let ends = pending.take()?;
            hear(report)?;
            Ok(ends)
        })();
        match started {
            Ok(ends) => Ok((child, log, ends)),
            Err(error) => {
                // It may have ended by itself.
                match child.signal(libc::SIGKILL) {
                    Err(failure) if failure.errno() != nix::errno::Errno::ESRCH => return Err(failure.into()),
                    _ => child.wait()?,
                };
                Err(error)
            }
        }
    }

    /// Passes things back and forth until the container has ended.
    fn watch(&mut self, listener: &UnixListener) -> Result<Exit> {
        loop {
            let ready = self.poll(listener)?;
            if ready.input {
                self.feed()?;
            }
            for stream in ready.outputs {
                self.drain(stream)?;
            }
            for index in ready.clients {
                self.serve_client(index)?;
            }
            self.forget_gone();
            if ready.listener {
                self.accept(listener)?;
            }
            if ready.ended {
                return self.end();
            }
        }
    }

    /// Waits until something can be done, and says what.
    fn poll(&self, listener: &UnixListener) -> Result<Ready> {
        // While a client is slow, output stays in the pipe, and the container waits, as it would for a terminal.
        let crowded = self.clients.iter().any(|client| client.connection.is_crowded());
        let full = self.waiting.len() > MAX_WAITING_INPUT;
        let mut sources = vec![Source::Ended, Source::Listener];
        let mut fds = vec![
            PollFd::new(self.child.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(input) = self.input.as_ref().filter(|_| !self.waiting.is_empty()) {
            sources.push(Source::Input);
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        for (stream, output) in self.outputs.iter().filter(|_| !crowded) {
            sources.push(Source::Output(*stream));
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, !full);
            events.set(PollFlags::POLLOUT, client.connection.is_waiting());
            sources.push(Source::Client(index));
            fds.push(PollFd::new(client.connection.as_fd(), events));
        }
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(Error::kernel("wait for events", errno)),
            }
        }
        let mut ready = Ready::default();
        for (source, fd) in sources.into_iter().zip(&fds) {
            if !fd.any().unwrap_or(true) {
                continue;
            }
            match source {
                Source::Ended => ready.ended = true,
                Source::Listener => ready.listener = true,
                Source::Input => ready.input = true,
                Source::Output(stream) => ready.outputs.push(stream),
                Source::Client(index) => ready.clients.push(index),
            }
        }
        Ok(ready)
    }

    /// Writes waiting input to the container, as much as it takes.
    fn feed(&mut self) -> Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        match rustix::io::write(input, &self.waiting) {
            Ok(written) => drop(self.waiting.drain(..written)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // It has closed its input; what we have for it is of no use any more.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => {
                self.waiting.clear();
                self.input = None;
            }
            Err(errno) => return Err(Error::kernel("write to the container", errno)),
        }
        if self.waiting.is_empty() && self.input_ends {
            self.input = None;
        }
        Ok(())
    }

    /// Takes output from the container to the log and to whoever is attached. Whether there was any.
    fn drain(&mut self, stream: Stream) -> Result<bool> {
        let Some((_, output)) = self.outputs.iter().find(|(kind, _)| *kind == stream) else {
            return Ok(false);
        };
        let mut buffer = vec![0; CHUNK];
        let length = match rustix::io::read(output, &mut buffer) {
            // EIO: nobody holds the terminal's other side any more.
            Ok(0) | Err(rustix::io::Errno::IO) => {
                self.outputs.retain(|(kind, _)| *kind != stream);
                return Ok(false);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Ok(length) => length,
            Err(errno) => return Err(Error::kernel("read from the container", errno)),
        };
        buffer.truncate(length);
        let logged = self.log.write(stream, &buffer);
        self.note(logged);
        let frame = match stream {
            Stream::Stdout => Frame::Stdout(buffer),
            Stream::Stderr => Frame::Stderr(buffer),
        };
        for client in self.clients.iter_mut().filter(|client| client.attached) {
            client.tell(&frame);
        }
        Ok(true)
    }

    /// Does what a client asks for.
    fn serve_client(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        let (frames, closed) = match client.connection.flush().and_then(|()| client.connection.receive()) {
            Ok(Received::Frames(frames)) => (frames, false),
            Ok(Received::Closed(frames)) => (frames, true),
            // A client that breaks off or talks nonsense loses its connection; the container goes on.
            Err(_) => (Vec::new(), true),
        };
        for frame in frames {
            match frame {
                Frame::Stdin(bytes) if self.input.is_some() && !self.input_ends => self.waiting.extend(bytes),
                Frame::StdinEnd => self.end_input(),
                Frame::Attach => self.clients[index].attached = true,
                Frame::Signal(signal) => match self.child.signal(i32::from(signal)) {
                    // It has just ended.
                    Err(error) if error.errno() != nix::errno::Errno::ESRCH => return Err(error.into()),
                    _ => {}
                },
                Frame::Resize { rows, columns } => {
                    if let Some(terminal) = &self.terminal {
                        terminal::set_size(terminal, rows, columns)?;
                    }
                }
                _ => {}
            }
        }
        self.clients[index].gone |= closed;
        if self.waiting.is_empty() { Ok(()) } else { self.feed() }
    }

    /// The input has ended: at once, or when the container has taken what waits. A terminal's never ends.
    fn end_input(&mut self) {
        if self.terminal.is_some() {
            return;
        }
        self.input_ends = true;
        if self.waiting.is_empty() {
            self.input = None;
        }
    }

    /// Lets go of the clients that have gone.
    fn forget_gone(&mut self) {
        let input_ends = self.clients.iter().any(|client| client.gone && client.owns_stdin);
        self.clients.retain(|client| !client.gone);
        if input_ends {
            self.end_input();
        }
    }

    fn accept(&mut self, listener: &UnixListener) -> Result<()> {
        match listener.accept() {
            Ok((socket, _)) => {
                self.clients.push(Client::new(Connection::new(socket), false, false));
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Error::kernel("accept a connection", error)),
        }
    }

    /// The first process has ended, and with it, so the kernel sees to it, all others: what they wrote is in the
    /// pipes, and nothing will follow.
    fn end(&mut self) -> Result<Exit> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.drain(stream)? {}
        }
        let logged = self.log.finish();
        self.note(logged);
        Ok(self.child.wait()?)
    }

    /// A log that cannot be written, on a full disk say, is no reason to end the container. It is recorded.
    fn note(&mut self, logged: std::io::Result<()>) {
        if let Err(error) = logged {
            self.log_failure.get_or_insert(Error::kernel("write the whole log", error).to_string());
        }
    }
}

/// What `poll` watches.
enum Source {
    Ended,
    Listener,
    Input,
    Output(Stream),
    Client(usize),
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    ended: bool,
    listener: bool,
    input: bool,
    outputs: Vec<Stream>,
    clients: Vec<usize>,
}

/// The shim's ends of a container's streams.
struct Ends {
    input: Option<OwnedFd>,
    outputs: Vec<(Stream, OwnedFd)>,
    terminal: Option<OwnedFd>,
}

/// Ends that are there, or will come through a socket.
enum Pending {
    Here(Ends),
    Coming(UnixStream),
}

impl Pending {
    fn take(self) -> Result<Ends> {
        match self {
            Self::Here(ends) => Ok(ends),
            Self::Coming(socket) => {
                let Some(master) = receive_descriptor(&socket)? else {
                    // The child failed before it came to this; its report says why.
                    return Ok(Ends { input: None, outputs: Vec::new(), terminal: None });
                };
                set_nonblocking(&master)?;
                let copy = || master.try_clone().map_err(|error| Error::kernel("copy a descriptor", error));
                Ok(Ends {
                    input: Some(copy()?),
                    outputs: vec![(Stream::Stdout, copy()?)],
                    terminal: Some(master),
                })
            }
        }
    }
}

fn terminal_pair(size: Option<(u16, u16)>) -> Result<(Streams, Pending)> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    Ok((Streams::Terminal { socket: theirs, size }, Pending::Coming(ours)))
}

fn pipes(open_stdin: bool) -> Result<(Streams, Pending)> {
    let (stdin, input) = if open_stdin {
        let (read, write) = pipe()?;
        set_nonblocking(&write)?;
        (read, Some(write))
    } else {
        (open_null(OFlags::RDONLY)?, None)
    };
    let (output, stdout) = pipe()?;
    let (error_output, stderr) = pipe()?;
    set_nonblocking(&output)?;
    set_nonblocking(&error_output)?;
    let outputs = vec![(Stream::Stdout, output), (Stream::Stderr, error_output)];
    Ok((Streams::Pipes([stdin, stdout, stderr]), Pending::Here(Ends { input, outputs, terminal: None })))
}

/// A pipe: the end to read from, the end to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::kernel("make a pipe", errno))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(|errno| Error::kernel("set up a pipe", errno))
}

/// Waits for the child's report: nothing, and the program runs; or why it does not.
fn hear(report: OwnedFd) -> Result<()> {
    let mut message = Vec::new();
    File::from(report)
        .read_to_end(&mut message)
        .map_err(|error| Error::kernel("hear from the container", error))?;
    match message.split_first() {
        None => Ok(()),
        Some((&code, text)) => Err(Error::new(String::from_utf8_lossy(text)).with_exit_code(code)),
    }
}

/// The descriptor that comes through `socket`, or `None` if its other end was closed without sending one.
fn receive_descriptor(socket: &UnixStream) -> Result<Option<OwnedFd>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| Error::kernel("receive the terminal", errno))?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
