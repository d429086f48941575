//! A container that runs, seen from its shim: what comes from where, and goes to whom.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use cgroups::Cgroup;
use networking::dns::Server;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use pid_namespace::Exit;
use runtime::{Inputs, own_program};
use user_namespace::IdMaps;

use super::Supplies;
use super::streams;
use super::traffic::{Client, Traffic, forgive};
use crate::engine::Engine;
use crate::error::{Error, Result};
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
}

/// What a client has done to the container.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// It is to end, and not to be started again by itself.
    StoppedByHand,
    /// Its processes are frozen, or go on.
    Frozen(bool),
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
        let ends = match pending.take() {
            Ok(ends) => ends,
            Err(error) => {
                runtime::start::end(&child)?;
                return Err(error);
            }
        };
        Ok(Self {
            traffic: Traffic::new(child, ends, Some(log)),
            live,
            networks: engine.networks().clone(),
            directory: containers.exec_directory(&launch.id),
            cgroup: launch.plan.cgroup.clone(),
        })
    }

    /// Passes things back and forth until the container has ended. What a client has done to it is given to `note`.
    pub(super) fn watch(
        &mut self,
        listener: &UnixListener,
        note: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Exit> {
        loop {
            let mut others = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            others.extend(self.live.names.as_ref().map(Server::descriptors).unwrap_or_default());
            let left = self.live.names.as_ref().and_then(Server::timeout);
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                // Rounded up, so that the last round does not spin.
                PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX)
            });
            let turn = self.traffic.turn(&others, timeout)?;
            // It has something to do, too, when nothing has come for long enough.
            if left.is_some() || turn.others[1..].contains(&true) {
                self.answer_names();
            }
            for (client, frame) in turn.asked {
                self.obey(client, frame, note)?;
            }
            self.traffic.forget_gone();
            if turn.others[0] {
                self.accept(listener);
            }
            if turn.ended {
                return self.traffic.end();
            }
        }
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
            Frame::Stop(signal) => {
                note(Change::StoppedByHand)?;
                forgive(self.traffic.child.signal(i32::from(signal)));
                // One that is frozen would die later only (on cgroup v1).
                if i32::from(signal) == libc::SIGKILL && self.cgroup.is_some() {
                    forgive(self.freeze(false));
                }
            }
            Frame::Freeze(frozen) => {
                let done = self.freeze(frozen).and_then(|()| note(Change::Frozen(frozen)));
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
            let namespace = networking::netns::of(self.traffic.child.as_fd())?;
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
