//! One more process in a container that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroups::Cgroup;
use nix::unistd::Pid;
use pid_namespace::{Child, Namespaces, descriptors, join, namespaces, spawn};

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::plan::Process;
use crate::process::{Ready, become_program, hide, preserved, settle};
use crate::start::{Streams, end, set_oom_score};
use crate::talk::{self, Report};

/// Where the process goes.
#[derive(Debug)]
pub struct Target {
    process: OwnedFd,
    namespaces: Namespaces,
    cgroup: Option<Cgroup>,
    state: String,
}

impl Target {
    /// The container whose first process is `pid`, and whose cgroup `cgroup`; `state` is what others are told about it
    /// ([`crate::hooks::Subject::state`]).
    ///
    /// # Errors
    /// If it has ended.
    pub fn find(pid: Pid, cgroup: Option<Cgroup>, state: String) -> Result<Self> {
        Self::of(join::open(pid)?, pid, cgroup, state)
    }

    /// Likewise, with `process`, a pidfd of its first process: in another pid namespace than the one that `/proc` shows, this
    /// process may know that one by no number.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(process: OwnedFd, pid: Pid, cgroup: Option<Cgroup>, state: String) -> Result<Self> {
        let own = namespaces::inodes(Path::new("/proc/self"))?;
        let others = namespaces::inodes(Path::new(&format!("/proc/{pid}")))?;
        // To join what one is in already is refused for some kinds, and of no use for the others.
        let namespaces = Namespaces::all()
            .kinds()
            .zip(own.iter().zip(&others))
            .filter(|(_, (own, other))| own != other)
            .fold(Namespaces::NONE, |set, (kind, _)| set | kind);
        Ok(Self { process, namespaces, cgroup, state })
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// Starts `process` there, and returns when it runs. This process must have a single thread.
///
/// # Errors
/// What the kernel refuses, here or in the child, with the exit code that belongs to it.
pub fn exec(target: &Target, process: &Process, streams: Streams) -> Result<Child> {
    let mut agent = Agent::of(&process.confinement)?;
    let ((report_child, mut report), _) = talk::pair()?;
    if target.namespaces.contains(Namespaces::PID) {
        join::join(target.process.as_fd(), Namespaces::PID)?;
    }
    let filter = process.confinement.filter()?;
    let child = spawn(Namespaces::NONE, None, || {
        let mut kept: Vec<BorrowedFd<'_>> = vec![report_child.as_fd(), target.process.as_fd()];
        kept.extend(streams.descriptors());
        kept.extend(agent.iter().map(AsFd::as_fd));
        kept.extend(preserved(process.descriptors));
        let closed = descriptors::keep_only(&kept);
        drop(kept);
        let introduced =
            closed.map_err(Error::from).and_then(|()| agent.as_mut().map_or(Ok(()), Agent::introduce));
        match introduced.and_then(|()| enter(target, process)) {
            Ok(()) => run(target, process, streams, (filter, agent), report_child),
            Err(error) => report_child.fail(&error),
        }
    })?;
    let scored = process.oom_score_adj.map_or(Ok(()), |score| set_oom_score(&child, score));
    match scored.and_then(|()| report.next()) {
        Ok(_) => Ok(child),
        Err(error) => {
            end(&child)?;
            Err(error)
        }
    }
}

/// Moves this process into the container, and lets nobody there look into it.
fn enter(target: &Target, process: &Process) -> Result<()> {
    hide()?;
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    crate::keyring::leave_the_callers()?;
    if let Some(module) = &process.confinement.security_module {
        module.prepare()?;
    }
    if let Some(cgroup) = &target.cgroup {
        cgroup.join()?;
    }
    let others = target.namespaces.without(Namespaces::PID);
    if others != Namespaces::NONE {
        join::join(target.process.as_fd(), others)?;
    }
    Ok(())
}

fn run(
    target: &Target,
    process: &Process,
    streams: Streams,
    (filter, agent): (Option<seccomp::Filter>, Option<Agent>),
    report: Report,
) -> u8 {
    match settle(process, streams, false) {
        Ok(identity) => {
            let ready = Ready {
                process,
                identity,
                filter,
                agent,
                tied: false,
                hold: None,
                hooks: &[],
                state: target.state.clone(),
            };
            become_program(&ready, report)
        }
        Err(error) => report.fail(&error),
    }
}
