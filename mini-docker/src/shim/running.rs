//! A container that runs, seen from its shim: what comes from where, and goes to whom.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use cgroups::Cgroup;
use networking::dns::Server;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pid_namespace::{Child, Exit};
use runtime::{Inputs, console, own_program};
use rustix::buffer::spare_capacity;
use user_namespace::IdMaps;

use super::Supplies;
use super::streams::{self, Ends};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::logs::{Stream, Writer};
use crate::networks::Networks;
use crate::networks::membership::Connections;
use crate::networks::wiring::{self, Live};
use crate::plan::Launch;
use crate::wire::{Connection, Frame, Received};

/// Bytes taken from the container at once.
const CHUNK: usize = 1 << 16;
/// Bytes of input that may wait for the container before the sender has to.
const MAX_WAITING_INPUT: usize = 1 << 16;

/// A container that runs, seen from its shim.
pub(super) struct Running {
    pub(super) child: Child,
    /// What its networks need.
    pub(super) live: Live,
    networks: Networks,
    /// Its fleeting directory, where its networks are recorded.
    directory: PathBuf,
    log: Writer,
    /// Why the log is not whole, if it is not.
    pub(super) log_failure: Option<String>,
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
    cgroup: Option<Cgroup>,
    pub(super) clients: Vec<Client>,
}

/// What a client has done to the container.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// It is to end, and not to be started again by itself.
    StoppedByHand,
    /// Its processes are frozen, or go on.
    Frozen(bool),
}

/// Somebody connected to the shim.
pub(super) struct Client {
    pub(super) connection: Connection,
    /// Whether it gets the output.
    attached: bool,
    /// Whether the container's input ends when this client goes.
    owns_stdin: bool,
    /// Whether it has sent input.
    feeds: bool,
    /// Whether it has gone.
    gone: bool,
}

impl Client {
    pub(super) fn new(connection: Connection, attached: bool, owns_stdin: bool) -> Self {
        Self { connection, attached, owns_stdin, feeds: false, gone: false }
    }

    /// Sends a frame. A client that cannot be reached has gone; the container does not mind.
    pub(super) fn tell(&mut self, frame: &Frame) {
        self.gone |= self.connection.send(frame).is_err();
    }
}

impl Running {
    /// Starts the container. If that fails, its processes are gone; what else was made for it is the caller's to remove.
    pub(super) fn start(
        engine: &Engine,
        launch: &Launch,
        supplies: &Supplies,
        size: Option<(u16, u16)>,
    ) -> Result<Self> {
        let containers = engine.containers();
        let Supplies { neighbours, wiring } = supplies;
        let log = Writer::open(&containers.log(&launch.id))?;
        let owner = launch.plan.maps.as_ref().map(IdMaps::root).transpose()?;
        let (streams, pending) = if launch.tty {
            streams::terminal_pair(size)?
        } else {
            streams::pipes(launch.open_stdin, owner)?
        };
        let mut shared_memory = None;
        for neighbour in neighbours {
            shared_memory = shared_memory.or(neighbour.shared_memory()?);
        }
        let program = if launch.plan.init { Some(own_program::open()?) } else { None };
        let inputs = Inputs { streams, joins: neighbours, shared_memory, program, fifo: None };
        let (child, live) = runtime::start(&launch.plan, inputs, |child| {
            wiring.as_ref().map_or(Ok(Live::default()), |wiring| wiring.connect(child.as_fd()))
        })?;
        let Ends { input, outputs, terminal } = match pending.take() {
            Ok(ends) => ends,
            Err(error) => {
                runtime::start::end(&child)?;
                return Err(error);
            }
        };
        Ok(Self {
            child,
            live,
            networks: engine.networks().clone(),
            directory: containers.exec_directory(&launch.id),
            log,
            log_failure: None,
            input,
            waiting: Vec::new(),
            input_ends: false,
            outputs,
            terminal,
            cgroup: launch.plan.cgroup.clone(),
            clients: Vec::new(),
        })
    }

    /// Passes things back and forth until the container has ended. What a client has done to it is given to `note`.
    pub(super) fn watch(
        &mut self,
        listener: &UnixListener,
        note: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Exit> {
        loop {
            let ready = self.poll(listener)?;
            if let Some(server) = self.live.names.as_mut().filter(|_| ready.names) {
                wiring::answer(server, &self.networks, &self.directory);
            }
            if ready.input {
                self.feed()?;
            }
            for stream in ready.outputs {
                self.drain(stream)?;
            }
            for (index, has_said) in ready.clients {
                self.serve_client(index, has_said, note)?;
            }
            self.forget_gone();
            if ready.listener {
                self.accept(listener);
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
            // Who has sent too much has to wait; who wants the container killed for not reading it must not.
            events.set(PollFlags::POLLIN, !(full && client.feeds));
            events.set(PollFlags::POLLOUT, client.connection.is_waiting());
            sources.push(Source::Client(index));
            fds.push(PollFd::new(client.connection.as_fd(), events));
        }
        let asked = self.live.names.as_ref().map(Server::descriptors).unwrap_or_default();
        sources.extend(asked.iter().map(|_| Source::Names));
        fds.extend(asked);
        let timeout = self.live.names.as_ref().and_then(Server::timeout).map_or(PollTimeout::NONE, |left| {
            // Rounded up, so that the last round does not spin.
            PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut ready = Ready::default();
        loop {
            match poll(&mut fds, timeout) {
                Ok(0) => {
                    ready.names = true;
                    break;
                }
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(Error::kernel("wait for events", errno)),
            }
        }
        for (source, fd) in sources.into_iter().zip(&fds) {
            if !fd.any().unwrap_or(true) {
                continue;
            }
            match source {
                Source::Ended => ready.ended = true,
                Source::Listener => ready.listener = true,
                Source::Input => ready.input = true,
                Source::Names => ready.names = true,
                Source::Output(stream) => ready.outputs.push(stream),
                Source::Client(index) => {
                    let events = fd.revents().unwrap_or(PollFlags::all());
                    ready.clients.push((index, events != PollFlags::POLLOUT));
                }
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
        let mut buffer = Vec::with_capacity(CHUNK);
        match rustix::io::read(output, spare_capacity(&mut buffer)) {
            // EIO: nobody holds the terminal's other side any more.
            Ok(0) | Err(rustix::io::Errno::IO) => {
                self.outputs.retain(|(kind, _)| *kind != stream);
                return Ok(false);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(Error::kernel("read from the container", errno)),
        }
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
    fn serve_client(
        &mut self,
        index: usize,
        has_said: bool,
        note: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let client = &mut self.clients[index];
        let received = client.connection.flush().and_then(|()| {
            if has_said { client.connection.receive() } else { Ok(Received::Frames(Vec::new())) }
        });
        let (frames, closed) = match received {
            Ok(Received::Frames(frames)) => (frames, false),
            Ok(Received::Closed(frames)) => (frames, true),
            // A client that breaks off or talks nonsense loses its connection; the container goes on.
            Err(_) => (Vec::new(), true),
        };
        self.clients[index].feeds |= frames.iter().any(|frame| matches!(frame, Frame::Stdin(_)));
        for frame in frames {
            match frame {
                Frame::Stdin(bytes) if self.input.is_some() && !self.input_ends => self.waiting.extend(bytes),
                Frame::StdinEnd => self.end_input(),
                Frame::Attach => self.clients[index].attached = true,
                Frame::Signal(signal) => forgive(self.child.signal(i32::from(signal))),
                Frame::Stop(signal) => {
                    note(Change::StoppedByHand)?;
                    forgive(self.child.signal(i32::from(signal)));
                    // One that is frozen would die later only (on cgroup v1).
                    if i32::from(signal) == libc::SIGKILL {
                        forgive(self.freeze(false));
                    }
                }
                Frame::Freeze(frozen) => {
                    let done = self.freeze(frozen).and_then(|()| note(Change::Frozen(frozen)));
                    let answer = done.map_or_else(
                        |error| Frame::Failed { code: 1, message: error.to_string() },
                        |()| Frame::Done,
                    );
                    self.clients[index].tell(&answer);
                }
                Frame::Resize { rows, columns } => {
                    forgive(
                        self.terminal.as_ref().map_or(Ok(()), |tty| console::set_size(tty, rows, columns)),
                    );
                }
                Frame::Names(servers) => forgive(self.learn_names(&servers)),
                _ => {}
            }
        }
        self.clients[index].gone |= closed;
        if self.waiting.is_empty() { Ok(()) } else { self.feed() }
    }

    /// Freezes the container's processes, or lets them go on.
    fn freeze(&self, frozen: bool) -> Result<()> {
        let Some(cgroup) = &self.cgroup else {
            return Err(Error::new(
                "cannot freeze a container that has no cgroup (see 'mini-docker doctor' for how to get one)",
            ));
        };
        let done = if frozen { cgroup.freeze() } else { cgroup.thaw() };
        Ok(done?)
    }

    /// The container is in other networks now: gives it a name server, if there are names, and it has none yet.
    fn learn_names(&mut self, servers: &[IpAddr]) -> Result<()> {
        if self.live.names.is_none() && Connections::read(&self.directory)?.have_names() {
            let namespace = networking::netns::of(self.child.as_fd())?;
            self.live.names = Some(wiring::name_server(namespace.as_fd(), servers)?);
        }
        Ok(())
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

    fn accept(&mut self, listener: &UnixListener) {
        match listener.accept() {
            Ok((socket, _)) => self.clients.push(Client::new(Connection::new(socket), false, false)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::info!("a client did not come through: {error}"),
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

/// What a client asks for and cannot be had is no reason to end the container.
fn forgive<E: std::fmt::Display>(done: Result<(), E>) {
    if let Err(error) = done {
        tracing::info!("what a client asked for failed: {error}");
    }
}

/// What `poll` watches.
enum Source {
    Ended,
    Listener,
    Names,
    Input,
    Output(Stream),
    Client(usize),
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    ended: bool,
    listener: bool,
    /// Whether the name server has something to do.
    names: bool,
    input: bool,
    outputs: Vec<Stream>,
    /// Which, and whether they have said something, or gone.
    clients: Vec<(usize, bool)>,
}
