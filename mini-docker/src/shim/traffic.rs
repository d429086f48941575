//! What goes between a process in a container and those who are connected to it: its input, its output, signals and the
//! size of its terminal. A container's first process has one of these, and so has each that comes later.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pid_namespace::{Child, Exit};
use runtime::console;
use rustix::buffer::spare_capacity;

use super::streams::Ends;
use crate::error::{Error, Result};
use crate::logs::{Stream, Writer};
use crate::wire::{Connection, Frame, Received};

/// Bytes taken from the container at once.
const CHUNK: usize = 1 << 16;
/// Bytes of input that may wait for the container before the sender has to.
const MAX_WAITING_INPUT: usize = 1 << 16;

/// A process that runs, and its streams.
pub(super) struct Traffic {
    pub(super) child: Child,
    /// Where its output is kept, if it is.
    log: Option<Writer>,
    /// Why the log is not whole, if it is not.
    pub(super) log_failure: Option<String>,
    /// Where its input goes: a pipe or the terminal; `None` once it has ended.
    input: Option<OwnedFd>,
    /// Input that it has not taken yet.
    waiting: Vec<u8>,
    /// Whether the input ends when whoever feeds it has no more; else others may come and go on.
    fed_once: bool,
    /// Whether the input is to end when everything that waits has been taken.
    input_ends: bool,
    /// Where its output comes from.
    outputs: Vec<(Stream, OwnedFd)>,
    /// The terminal's master, if it has one.
    terminal: Option<OwnedFd>,
    pub(super) clients: Vec<Client>,
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
    /// Whether the container is frozen for as long as it stays.
    pub(super) freezes: bool,
    /// Whether it has gone.
    gone: bool,
}

impl Client {
    pub(super) fn new(connection: Connection, attached: bool, owns_stdin: bool) -> Self {
        Self { connection, attached, owns_stdin, feeds: false, freezes: false, gone: false }
    }

    /// Sends a frame. A client that cannot be reached has gone; the container does not mind.
    pub(super) fn tell(&mut self, frame: &Frame) {
        self.gone |= self.connection.send(frame).is_err();
    }
}

/// What has come up, beside what is the traffic's own business.
#[derive(Default)]
pub(super) struct Turn {
    /// Whether the process has ended.
    pub(super) ended: bool,
    /// Which of the other descriptors are ready.
    pub(super) others: Vec<bool>,
    /// What clients ask for, and which.
    pub(super) asked: Vec<(usize, Frame)>,
}

impl Traffic {
    pub(super) fn new(child: Child, ends: Ends, log: Option<Writer>, fed_once: bool) -> Self {
        let Ends { input, outputs, terminal } = ends;
        Self {
            child,
            log,
            log_failure: None,
            input,
            waiting: Vec::new(),
            fed_once,
            input_ends: false,
            outputs,
            terminal,
            clients: Vec::new(),
        }
    }

    /// Waits until something can be done, with the process or with `others`, or for `timeout`; and does what is to be done
    /// with the process. Clients keep their numbers until [`Traffic::forget_gone`].
    pub(super) fn turn(&mut self, others: &[PollFd<'_>], timeout: PollTimeout) -> Result<Turn> {
        let ready = self.poll(others, timeout)?;
        let mut turn = Turn { ended: ready.ended, others: ready.others, asked: Vec::new() };
        if ready.input {
            self.feed()?;
        }
        for stream in ready.outputs {
            self.drain(stream)?;
        }
        for (index, has_said) in ready.clients {
            let asked = self.serve_client(index, has_said)?;
            turn.asked.extend(asked.into_iter().map(|frame| (index, frame)));
        }
        Ok(turn)
    }

    /// What clients have asked for that nobody has looked at yet.
    pub(super) fn last_words(&mut self) -> Result<Vec<(usize, Frame)>> {
        let mut asked = Vec::new();
        for client in 0..self.clients.len() {
            let frames = self.serve_client(client, true)?;
            asked.extend(frames.into_iter().map(|frame| (client, frame)));
        }
        Ok(asked)
    }

    /// Waits until something can be done, and says what.
    fn poll(&self, others: &[PollFd<'_>], timeout: PollTimeout) -> Result<Ready> {
        // While a client is slow, output stays in the pipe, and the container waits, as it would for a terminal.
        let crowded = self.clients.iter().any(|client| client.connection.is_crowded());
        let full = self.waiting.len() > MAX_WAITING_INPUT;
        let mut sources = vec![Source::Ended];
        let mut fds = vec![PollFd::new(self.child.as_fd(), PollFlags::POLLIN)];
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
        sources.extend((0..others.len()).map(Source::Other));
        fds.extend(others.iter().cloned());
        loop {
            match poll(&mut fds, timeout) {
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(Error::kernel("wait for events", errno)),
            }
        }
        let mut ready = Ready { others: vec![false; others.len()], ..Ready::default() };
        for (source, fd) in sources.into_iter().zip(&fds) {
            if !fd.any().unwrap_or(true) {
                continue;
            }
            match source {
                Source::Ended => ready.ended = true,
                Source::Other(index) => ready.others[index] = true,
                Source::Input => ready.input = true,
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
        let logged = self.log.as_mut().map_or(Ok(()), |log| log.write(stream, &buffer));
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

    /// Does what a client says about the process; what it asks for beyond that is returned.
    fn serve_client(&mut self, index: usize, has_said: bool) -> Result<Vec<Frame>> {
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
        let mut asked = Vec::new();
        for frame in frames {
            match frame {
                Frame::Stdin(bytes) => {
                    if self.input.is_some() && !self.input_ends {
                        self.waiting.extend(bytes);
                    }
                }
                Frame::StdinEnd if self.fed_once => self.end_input(),
                Frame::StdinEnd => {}
                Frame::Attach => self.clients[index].attached = true,
                Frame::Resize { rows, columns } => {
                    forgive(
                        self.terminal.as_ref().map_or(Ok(()), |tty| console::set_size(tty, rows, columns)),
                    );
                }
                other => asked.push(other),
            }
        }
        self.clients[index].gone |= closed;
        if !self.waiting.is_empty() {
            self.feed()?;
        }
        Ok(asked)
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

    /// Lets go of the clients that have gone; whether the container was frozen for one of them.
    pub(super) fn forget_gone(&mut self) -> bool {
        let was_frozen = self.clients.iter().any(|client| client.gone && client.freezes);
        let input_ends = self.clients.iter().any(|client| client.gone && client.owns_stdin);
        self.clients.retain(|client| !client.gone);
        if input_ends {
            self.end_input();
        }
        was_frozen
    }

    /// The process has ended. What it wrote is in the pipes; with a container's first process, so the kernel sees to it, all
    /// others have ended too, and nothing will follow.
    pub(super) fn end(&mut self) -> Result<Exit> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.drain(stream)? {}
        }
        let logged = self.log.as_mut().map_or(Ok(()), Writer::finish);
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
pub(super) fn forgive<E: std::fmt::Display>(done: Result<(), E>) {
    if let Err(error) = done {
        tracing::info!("what a client asked for failed: {error}");
    }
}

/// What `poll` watches.
enum Source {
    Ended,
    Input,
    Output(Stream),
    Client(usize),
    Other(usize),
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    ended: bool,
    input: bool,
    outputs: Vec<Stream>,
    /// Which, and whether they have said something, or gone.
    clients: Vec<(usize, bool)>,
    others: Vec<bool>,
}
