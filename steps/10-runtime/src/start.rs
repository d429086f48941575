//! The parent's side of a start: it makes what the child cannot, and lets it go on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use cgroups::Cgroup;
use pid_namespace::{Child, Namespaces, spawn};
use rustix::pipe::PipeFlags;
use seccomp::Filter;

use crate::building::Building;
use crate::child::{self, Wires};
use crate::error::{Error, Result};
use crate::join::Join;
use crate::own_program;
use crate::plan::Plan;

/// What is handed to a container at its start, beside its plan.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Its standard streams.
    pub streams: Streams,
    /// The namespaces that it joins.
    pub joins: &'a [Join],
    /// Another container's `/dev/shm`, if it shares that ([`Join::shared_memory`]).
    pub shared_memory: Option<OwnedFd>,
    /// This binary ([`crate::own_program`]), if it is to be process 1.
    pub program: Option<OwnedFd>,
}

/// A container's standard streams.
#[derive(Debug)]
pub enum Streams {
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

/// Starts a container, and returns when its program runs. `connect` makes what only the caller knows how to make, such as
/// the container's end of a network, while the child is busy with its mounts.
///
/// This process must have a single thread. If it fails, the child is gone; what else was made for the container, its
/// cgroup say, is the caller's to remove.
///
/// # Errors
/// What the kernel refuses, here or in the child, with the exit code that belongs to it; and those of `connect`.
pub fn start<T, E: From<Error>>(
    plan: &Plan,
    inputs: Inputs<'_>,
    connect: impl FnOnce(&Child) -> Result<T, E>,
) -> Result<(Child, T), E> {
    // Where the kernel can put the child into its cgroup by itself (v2), it starts inside. On v1 it moves itself,
    // and the half a dozen directories are made while it is busy with its mounts, as is its filter.
    let early = plan.cgroup.as_ref().is_some_and(Cgroup::is_v2);
    let Started { child, report, gate } = begin(plan, inputs, early)?;
    let prepared = prepare(plan, &child, early).map_err(E::from).and_then(|()| {
        let connected = connect(&child)?;
        Ok((connected, plan.confinement.filter()?))
    });
    let started = match prepared {
        Ok((connected, filter)) => {
            open_gate(gate, filter.as_ref());
            hear(report).map_err(E::from).map(|()| connected)
        }
        // It may have failed because the child did, and then the child's word is the reason. The gate stays closed
        // until the child has ended: it would take an open one for the parent's own failure.
        Err(error) => {
            end(&child)?;
            drop(gate);
            Err(hear(report).err().map_or(error, E::from))
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
    report: OwnedFd,
    gate: OwnedFd,
}

/// Starts the child.
fn begin(plan: &Plan, inputs: Inputs<'_>, early: bool) -> Result<Started> {
    let (report, report_child) = pipe()?;
    let (gate_child, gate) = pipe()?;
    if early {
        furnish(plan)?;
    }
    let entered = plan.cgroup.as_ref().filter(|_| early);
    let directory = entered.map(Cgroup::directory).transpose()?.flatten();
    let directory = directory.as_ref().map(AsFd::as_fd);
    inputs.joins.iter().try_for_each(Join::join_pid)?;
    let Inputs { streams, joins, shared_memory, program } = inputs;
    let mut wires = Wires {
        report: report_child,
        gate: gate_child,
        streams,
        joins,
        tree: None,
        shared_memory,
        program,
        writable: !own_program::is_read_only()?,
    };
    // The cgroup namespace is not the clone's to make: its root is the cgroup of the process that makes it, so the child
    // makes it, inside its cgroup.
    let own = plan.namespaces.without(Namespaces::CGROUP);
    let child = match &plan.maps {
        None => spawn(own, directory, || child::run(plan, wires))?,
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
    Ok(Started { child, report, gate })
}

/// Makes what the child needs from outside.
fn prepare(plan: &Plan, child: &Child, early: bool) -> Result<()> {
    if !early {
        furnish(plan)?;
    }
    if let Some(cgroup) = plan.cgroup.as_ref().filter(|_| plan.maps.is_some() && !early) {
        cgroup.add(child.pid())?;
    }
    plan.oom_score_adj.map_or(Ok(()), |score| set_oom_score(child, score))
}

/// Makes the container's cgroup with its limits, if it has one.
fn furnish(plan: &Plan) -> Result<()> {
    let Some(cgroup) = &plan.cgroup else { return Ok(()) };
    cgroup.make()?;
    Ok(cgroup.apply(&plan.limits)?)
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
fn set_oom_score(child: &Child, score: i32) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{}/oom_score_adj", child.pid()));
    std::fs::write(&path, score.to_string()).map_err(|error| Error::file("write", &path, error))
}

/// Lets the child go on, with its filter on system calls. If it has ended already, its report says why.
fn open_gate(gate: OwnedFd, filter: Option<&Filter>) {
    let mut message = vec![1];
    message.extend(filter.map(Filter::to_bytes).unwrap_or_default());
    if let Err(error) = File::from(gate).write_all(&message) {
        tracing::info!("the container ended before all was ready: {error}");
    }
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

/// A pipe: the end to read from, the end to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::kernel("make a pipe", errno))
}
