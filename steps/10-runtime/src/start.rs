//! The parent's side of a start: it makes what the child cannot, and lets it go on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use cgroups::Cgroup;
use pid_namespace::{Child, Namespaces, join, spawn, time};
use rustix::fs::{Mode, OFlags};

use crate::agent::Agent;
use crate::building::Building;
use crate::child::{self, Wires};
use crate::error::{Error, Result};
use crate::hooks::{self, Hooks};
use crate::join::Join;
use crate::network::Network;
use crate::own_program;
use crate::plan::{Base, Given, Plan};
use crate::processor;
use crate::talk::{self, Heard, Hearing, Opener};
use crate::tracer::Tracer;

/// What is handed to a container at its start, beside its plan.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Its standard streams.
    pub streams: Streams,
    /// The namespaces that it joins.
    pub joins: &'a [Join],
    /// Its network namespace, if that was made ahead. Only for a plan with one, and without a user namespace, to which it
    /// would have to belong.
    pub network: Option<Network>,
    /// Another container's `/dev/shm`, if it shares that ([`Join::shared_memory`]).
    pub shared_memory: Option<OwnedFd>,
    /// This binary ([`crate::own_program`]), if it is to be process 1.
    pub program: Option<OwnedFd>,
    /// A fifo, open for reading and writing, out of which a byte comes when the program is to begin. Without one it
    /// begins at once.
    pub fifo: Option<OwnedFd>,
}

/// A container's standard streams.
#[derive(Debug)]
pub enum Streams {
    /// Those of this process.
    Inherited,
    /// Three descriptors.
    Pipes([OwnedFd; 3]),
    /// A terminal, made inside; its master is sent through this socket.
    Terminal {
        /// To whoever looks after the terminal.
        socket: UnixStream,
        /// Its size at first, lines and columns, if there is a terminal to take it from.
        size: Option<(u16, u16)>,
    },
}

impl Streams {
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Inherited => Vec::new(),
            Self::Pipes(pipes) => pipes.iter().map(AsFd::as_fd).collect(),
            Self::Terminal { socket, .. } => vec![socket.as_fd()],
        }
    }
}

/// Starts a container, and returns when its program runs, or waits at its fifo. `connect` makes what only the caller
/// knows how to make, such as the container's end of a network, while the child is busy with its mounts.
///
/// This process must have a single thread, but for that of [`Inputs::network`]. Where it runs a binary that could be
/// written to, the child is traced until it is another program; what waits at a fifo, or is exposed
/// ([`Plan::is_exposed`]), is not started then. If it fails, the child is gone; what else was made for the container, its
/// cgroup say, is the caller's to remove.
///
/// # Errors
/// What the kernel refuses, here or in the child, with the exit code that belongs to it
/// ([`own_program::AGAIN`] among them); and those of `connect`.
pub fn start<T, E: From<Error>>(
    plan: &Plan,
    inputs: Inputs<'_>,
    connect: impl FnOnce(&Child) -> Result<T, E>,
) -> Result<(Child, T), E> {
    // Where the kernel can put the child into its cgroup by itself (v2), it starts inside, unless it is started by one who
    // may not write there, from within a user namespace. On v1 it moves itself, and the half a dozen directories are made
    // while it mounts its layers. Its filter, and what is the caller's to make, take shape while it is busy with the other
    // mounts. What waits for a network has time for the cgroup before.
    let early = matches!(inputs.network, Some(Network::Underway(_)))
        || plan.cgroup.as_ref().is_some_and(Cgroup::is_v2) && !plan.joins(Namespaces::USER);
    let Started { child, mut report, mut gate } = begin(plan, inputs, early)?;
    let prepared = prepare(plan, &child, early).map_err(E::from).and_then(|tracer| {
        gate.admit();
        let connected = connect(&child)?;
        let filter = plan.process.confinement.filter()?;
        // As long as the child is busy: later it would wait for this.
        let tracer = tracer.map(Tracer::look_round).transpose()?;
        Ok((connected, filter, tracer))
    });
    let started = match prepared {
        Ok((connected, filter, tracer)) => {
            let state = plan.subject.state("creating", child.pid().as_raw());
            gate.open(filter.as_ref(), &state);
            hear(&mut report, plan, &mut gate, &state)
                .and_then(|()| tracer.map_or(Ok(()), Tracer::let_go))
                .map_err(E::from)
                .map(|()| connected)
        }
        // It may have failed because the child did, and then the child's word is the reason. The gate stays closed
        // until the child has ended: it would take an open one for the parent's own failure.
        Err(error) => {
            end(&child)?;
            drop(gate);
            Err(report.next().err().map_or(error, E::from))
        }
    };
    match started {
        Ok(connected) => Ok((child, connected)),
        Err(error) => {
            end(&child)?;
            Err(error)
        }
    }
}

/// A child on its way, and the parent's ends of what connects them.
struct Started {
    child: Child,
    report: Hearing,
    gate: Opener,
}

/// Starts the child.
fn begin(plan: &Plan, inputs: Inputs<'_>, early: bool) -> Result<Started> {
    if inputs.fifo.is_some() || plan.is_exposed() {
        own_program::require_read_only()?;
    }
    let agent = Agent::of(&plan.process.confinement)?;
    if plan.init && agent.is_some() {
        return Err(Error::new(
            "a seccomp profile with SCMP_ACT_NOTIFY is for one process, and cannot be used with an init process: \
             leave out --init",
        ));
    }
    let ((report_child, report), (gate_child, gate)) = talk::pair()?;
    if early {
        furnish(plan)?;
    }
    let entered = plan.cgroup.as_ref().filter(|_| early);
    let directory = entered.map(Cgroup::directory).transpose()?.flatten();
    let directory = directory.as_ref().map(AsFd::as_fd);
    let Inputs { streams, joins, network, shared_memory, program, fifo } = inputs;
    let network = network.map(Network::get).transpose()?;
    let named = plan.joined.iter().map(|(kind, path)| Join::open(*kind, path)).collect::<Result<Vec<_>>>()?;
    let joins: Vec<&Join> = joins.iter().chain(&named).collect();
    // As by anybody on the host: another machine is in its network.
    let given = plan.given.iter().map(Given::tree).collect::<Result<_>>()?;
    // What this process starts later, hooks and checks of health say, must not be in the namespaces that only its child is to
    // be in.
    let inside = named.iter().find(|join| join.namespaces() == Namespaces::USER);
    let home = Home::leave(plan, if inside.is_some() { &[] } else { &joins })?;
    let (before, joins): (&[&Join], &[&Join]) =
        if plan.maps.is_some() { (&joins, &[]) } else { (&[], &joins) };
    // The cgroup namespace is not the clone's to make: its root is the cgroup of the process that makes it, so the child
    // makes it, inside its cgroup.
    let own = plan.namespaces.without(Namespaces::CGROUP | Namespaces::TIME);
    let own = if network.is_some() { own.without(Namespaces::NET) } else { own };
    let mut wires = Wires {
        report: report_child,
        gate: gate_child,
        streams,
        joins,
        network,
        tree: None,
        given,
        shared_memory,
        program,
        fifo,
        agent,
    };
    let child = match &plan.maps {
        Some(_) if let Some(inside) = inside => {
            let others = before.iter().filter(|join| join.namespaces() != Namespaces::USER);
            let join = || others.into_iter().try_for_each(|join| join::join(join.as_fd(), join.namespaces()));
            user_namespace::spawn_in(inside.as_fd(), own, join, || child::run(plan, wires))?
        }
        None => spawn(own, directory, || child::run(plan, wires))?,
        // Its own root is not the one to build it from layers; a directory is as its owners are.
        Some(maps) if matches!(plan.base, Base::Directory(_)) => {
            user_namespace::spawn(own, directory, maps, || child::run(plan, wires))?
        }
        Some(maps) => {
            let Building { plan, tree, scaffold } = Building::raise(plan, maps)?;
            wires.tree = Some(tree);
            let child = user_namespace::spawn(own, directory, maps, || child::run(&plan, wires));
            let down = scaffold.take_down();
            let child = child?;
            if let Err(error) = down {
                end(&child)?;
                return Err(error.into());
            }
            child
        }
    };
    processor::send_away(child.pid()).or_else(|error| end(&child).and(Err(error)))?;
    // An ordinary user cannot come back, and need not where nothing more is started.
    if !plan.is_of_a_user() || plan.hooks != Hooks::default() {
        home.come_back()?;
    }
    Ok(Started { child, report, gate })
}

/// Makes what the child needs from outside, and has it traced if it could reach this binary.
fn prepare(plan: &Plan, child: &Child, early: bool) -> Result<Option<Tracer>> {
    let tracer = if own_program::is_read_only()? { None } else { Some(Tracer::follow(child.pid())?) };
    if !early {
        furnish(plan)?;
    }
    if let Some(cgroup) = plan.cgroup.as_ref().filter(|_| plan.maps.is_some() && !early) {
        cgroup.add(child.pid())?;
    }
    if let Some(score) = plan.process.oom_score_adj {
        set_oom_score(child, score)?;
    }
    Ok(tracer)
}

/// Makes the container's cgroup with its limits, if it has one.
fn furnish(plan: &Plan) -> Result<()> {
    let Some(cgroup) = &plan.cgroup else { return Ok(()) };
    cgroup.make()?;
    cgroup.apply(&plan.limits)?;
    Ok(cgroup.carry_out(&plan.writes)?)
}

/// Sees to it that a child has ended, which may be so already. To be called again does no harm.
pub fn end(child: &Child) -> Result<()> {
    match child.signal(libc::SIGKILL) {
        Err(failure) if failure.errno() != nix::errno::Errno::ESRCH => Err(failure.into()),
        _ => match child.wait() {
            Err(failure) if failure.errno() != nix::errno::Errno::ECHILD => Err(failure.into()),
            _ => Ok(()),
        },
    }
}

/// Tells the kernel how soon to kill a process and its children when memory runs out (`proc_pid_oom_score_adj(5)`).
pub(crate) fn set_oom_score(child: &Child, score: i32) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{}/oom_score_adj", child.pid()));
    std::fs::write(&path, score.to_string()).map_err(|error| Error::file("write", &path, error))
}

/// Waits until the child says that it is ready. When it has built its root, the hooks are run that come then.
fn hear(report: &mut Hearing, plan: &Plan, gate: &mut Opener, state: &str) -> Result<()> {
    loop {
        match report.next()? {
            Heard::Ready => return Ok(()),
            Heard::Built => {
                hooks::run("createRuntime", &plan.hooks.create_runtime, state)?;
                gate.open(None, "");
            }
        }
    }
}

/// The namespaces of this process that it leaves for a moment, so that its child begins in others.
struct Home(Vec<(Namespaces, OwnedFd)>);

impl Home {
    /// Leaves them. The process ids and the clocks are those of what is started from then on. The others a child joins
    /// by itself, unless it has a user namespace of its own, from which it could not.
    fn leave(plan: &Plan, joins: &[&Join]) -> Result<Self> {
        let mut home = Vec::new();
        for join in joins {
            for kind in Namespaces::all().kinds().filter(|&kind| join.namespaces().contains(kind)) {
                if kind == Namespaces::PID || plan.maps.is_some() {
                    home.push((kind, own(kind)?));
                    join::join(join.as_fd(), kind)?;
                }
            }
        }
        if let Some(clocks) = &plan.clocks {
            home.push((Namespaces::TIME, own(Namespaces::TIME)?));
            time::set_clocks(clocks)?;
        }
        Ok(Self(home))
    }

    fn come_back(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(kind, namespace)| Ok(join::join(namespace.as_fd(), kind)?))
    }
}

/// This process's own namespace of one kind.
fn own(kind: Namespaces) -> Result<OwnedFd> {
    let path = format!("/proc/self/ns/{kind}");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new(&path), errno))
}
