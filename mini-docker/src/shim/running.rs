//! A container that runs, seen from its shim: what comes from where, and goes to whom.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use cgroups::{Cgroup, Shortage};
use networking::dns::Server;
use networking::netns;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use pid_namespace::Exit;
use runtime::network::Network;
use runtime::{Inputs, own_program};
use user_namespace::IdMaps;

use super::Supplies;
use super::probe::Watch;
use super::streams;
use super::traffic::{Client, Traffic, forgive};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::health::Health;
use crate::logs::Writer;
use crate::networks::Networks;
use crate::networks::membership::Connections;
use crate::networks::wiring::{self, Live};
use crate::plan::Launch;
use crate::wire::{Connection, Frame};

/// A container that runs, seen from its shim.
pub(super) struct Running {
    /// Its first process, and who is connected to that.
    pub(super) traffic: Traffic,
    /// What its networks need.
    pub(super) live: Live,
    networks: Networks,
    /// Its fleeting directory, where its networks are recorded.
    directory: PathBuf,
    cgroup: Option<Cgroup>,
    /// The container as it was started.
    container: Container,
    /// Its health, if that is checked.
    pub(super) health: Option<Watch>,
    /// Whether its processes are frozen.
    frozen: bool,
}

/// What has become of the container.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// It is to end, and not to be started again by itself.
    StoppedByHand,
    /// Its processes are frozen, or go on.
    Frozen(bool),
    /// A check of its health has been made.
    Health(Health),
    /// It is about to get this signal.
    Signalled(u8),
    /// Its memory has run out.
    OutOfMemory,
}

impl Running {
    /// Starts the container. If that fails, its processes are gone; what else was made for it is the caller's to remove.
    pub(super) fn start(
        engine: &Engine,
        container: &Container,
        launch: &Launch,
        supplies: &mut Supplies,
        size: Option<(u16, u16)>,
    ) -> Result<Self> {
        let containers = engine.containers();
        let network = supplies.network.take();
        let Supplies { neighbours, wiring, .. } = &*supplies;
        let log = Writer::open(&containers.log(&launch.id), launch.log.clone())?;
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
        let made = network.as_ref().map(OwnedFd::try_clone).transpose();
        let made = made.map_err(|error| Error::kernel("copy a descriptor", error))?;
        let network = network.map(Network::Made);
        let inputs = Inputs { streams, joins: neighbours, network, shared_memory, program, fifo: None };
        let (child, live) = runtime::start(&launch.plan, inputs, |child| {
            let Some(wiring) = wiring else { return Ok(Live::default()) };
            // Not by way of the child, which may still be in the host's.
            let namespace = made.map_or_else(|| netns::of(child.as_fd()), Ok)?;
            wiring.connect(namespace.as_fd())
        })?;
        let ends = match pending.take() {
            Ok(ends) => ends,
            Err(error) => {
                runtime::start::end(&child)?;
                return Err(error);
            }
        };
        Ok(Self {
            traffic: Traffic::new(child, ends, Some(log), container.config.stdin_once),
            live,
            networks: engine.networks().clone(),
            directory: containers.exec_directory(&launch.id),
            cgroup: launch.plan.cgroup.clone(),
            container: container.clone(),
            health: Watch::of(container),
            frozen: false,
        })
    }

    /// Passes things back and forth until the container has ended. What becomes of it meanwhile is given to `note`.
    pub(super) fn watch(
        &mut self,
        engine: &Engine,
        listener: &UnixListener,
        note: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Exit> {
        // Here, since nobody waits for this as for a start. What nobody tells is known at the end.
        let mut shortage = self.watch_memory();
        loop {
            let mut others = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            others.extend(self.live.names.as_ref().map(Server::descriptors).unwrap_or_default());
            let names = others.len();
            others.extend(
                self.health.iter().filter_map(Watch::descriptor).map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
            let health = others.len();
            others.extend(shortage.iter().map(Shortage::poll_fd));
            let left = self.live.names.as_ref().and_then(Server::timeout);
            let check = self.health.as_ref().filter(|_| !self.frozen).and_then(Watch::timeout);
            let timeout = left.into_iter().chain(check).min().map_or(PollTimeout::NONE, |left| {
                // Rounded up, so that the last round does not spin.
                PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX)
            });
            let turn = self.traffic.turn(&others, timeout)?;
            // It has something to do, too, when nothing has come for long enough.
            if left.is_some() || turn.others[1..names].contains(&true) {
                self.answer_names();
            }
            for (client, frame) in turn.asked {
                self.obey(client, frame, note)?;
            }
            if let Some(watch) = &mut self.health {
                if turn.others[names..health].contains(&true) && watch.hear()? {
                    note(Change::Health(watch.health.clone()))?;
                }
                if !self.frozen && !turn.ended {
                    watch.begin(engine, &self.container, &self.traffic.child)?;
                }
            }
            if let Some(watched) = shortage.as_mut().filter(|_| turn.others[health]) {
                match watched.hear() {
                    Ok(true) => note(Change::OutOfMemory)?,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::info!("the container's memory is watched no more: {error}");
                        shortage = None;
                    }
                }
            }
            if self.traffic.forget_gone() {
                forgive(self.set_frozen(false, note));
            }
            if turn.others[0] {
                self.accept(listener);
            }
            if turn.ended {
                // Who wanted it stopped at this very moment must be heard, or it would be started again.
                for (client, frame) in self.traffic.last_words()? {
                    self.obey(client, frame, note)?;
                }
                if let Some(watch) = &mut self.health {
                    watch.abandon()?;
                }
                return self.traffic.end();
            }
        }
    }

    /// A watch on its memory, if there can be one.
    fn watch_memory(&self) -> Option<Shortage> {
        self.cgroup.as_ref()?.watch_memory().unwrap_or_else(|error| {
            tracing::info!("the container's memory is not watched: {error}");
            None
        })
    }

    fn answer_names(&mut self) {
        if let Some(server) = &mut self.live.names {
            wiring::answer(server, &self.networks, &self.directory);
        }
    }

    /// Does what a client asks for that concerns the whole container.
    fn obey(
        &mut self,
        client: usize,
        frame: Frame,
        note: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        match frame {
            Frame::Signal(signal) => {
                note(Change::Signalled(signal))?;
                forgive(self.traffic.child.signal(i32::from(signal)));
            }
            Frame::Stop(signal) => {
                note(Change::StoppedByHand)?;
                note(Change::Signalled(signal))?;
                forgive(self.traffic.child.signal(i32::from(signal)));
                // One that is frozen would die later only (on cgroup v1).
                if i32::from(signal) == libc::SIGKILL && self.cgroup.is_some() {
                    forgive(self.freeze(false));
                }
            }
            Frame::Freeze(_) | Frame::FreezeForMe => {
                let done = self.set_frozen(frame != Frame::Freeze(false), note);
                self.traffic.clients[client].freezes |= frame == Frame::FreezeForMe && done.is_ok();
                let answer = done.map_or_else(
                    |error| Frame::Failed { code: 1, message: error.to_string() },
                    |()| Frame::Done,
                );
                self.traffic.clients[client].tell(&answer);
            }
            Frame::Names(servers) => forgive(self.learn_names(&servers)),
            _ => {}
        }
        Ok(())
    }

    /// Freezes the container's processes, or lets them go on, and records it. From here on nobody's going undoes it.
    fn set_frozen(&mut self, frozen: bool, note: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        self.freeze(frozen)?;
        self.frozen = frozen;
        self.traffic.clients.iter_mut().for_each(|client| client.freezes = false);
        note(Change::Frozen(frozen))
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
            let namespace = netns::of(self.traffic.child.as_fd())?;
            self.live.names = Some(wiring::name_server(namespace.as_fd(), servers)?);
        }
        Ok(())
    }

    fn accept(&mut self, listener: &UnixListener) {
        match listener.accept() {
            Ok((socket, _)) => self.traffic.clients.push(Client::new(Connection::new(socket), false, false)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::info!("a client did not come through: {error}"),
        }
    }
}
