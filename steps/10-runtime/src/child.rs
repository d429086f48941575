//! The child's side of a start: from `clone3` to `execve`, in a straight line.
//!
//! [`run`] is the line; its second half, which every program in a container goes through, is [`crate::process`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroups::Cgroup;
use chroot::resolve::Rooted;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pid_namespace::{Namespaces, descriptors, join};
use rustix::fs::{Mode, OFlags};
use seccomp::Filter;

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::init::become_init;
use crate::join::{Join, SHM};
use crate::plan::Plan;
use crate::process::{Ready, become_program, die_with_parent, hide, preserved, settle};
use crate::start::Streams;
use crate::talk::{Gate, Report};
use crate::{hooks, keyring, sysctls};

/// What connects the child to its parent.
#[derive(Debug)]
pub(crate) struct Wires<'a> {
    /// What the child says, at most why it fails.
    pub(crate) report: Report,
    /// What the parent says: when it has made what the child needs from outside, and with which filter to go on.
    pub(crate) gate: Gate,
    /// Its standard streams.
    pub(crate) streams: Streams,
    /// The namespaces that it joins.
    pub(crate) joins: &'a [&'a Join],
    /// Its network namespace, if that was made ahead.
    pub(crate) network: Option<OwnedFd>,
    /// The root, if it was made outside because the container's own root could not.
    pub(crate) tree: Option<OwnedFd>,
    /// The trees of [`Plan::given`], in that order.
    pub(crate) given: Vec<OwnedFd>,
    /// Another container's `/dev/shm`, if it shares that.
    pub(crate) shared_memory: Option<OwnedFd>,
    /// This binary ([`crate::own_program`]), if it is to be process 1.
    pub(crate) program: Option<OwnedFd>,
    /// What the child waits at before its program, if anything.
    pub(crate) fifo: Option<OwnedFd>,
    /// Whoever its filter asks, if it asks anybody.
    pub(crate) agent: Option<Agent>,
}

impl Wires<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.report.as_fd(), self.gate.as_fd()];
        all.extend(self.streams.descriptors());
        all.extend(self.given.iter().map(AsFd::as_fd));
        all.extend(self.joins.iter().map(|join| join.as_fd()));
        all.extend(self.agent.iter().map(AsFd::as_fd));
        all.extend(
            self.tree
                .iter()
                .chain(&self.network)
                .chain(&self.shared_memory)
                .chain(&self.program)
                .chain(&self.fifo)
                .map(AsFd::as_fd),
        );
        all
    }
}

/// Becomes the container's program. Returns only if that failed; the reason has then been reported.
pub(crate) fn run(plan: &Plan, wires: Wires<'_>) -> u8 {
    let mut kept = wires.descriptors();
    kept.extend(preserved(plan.process.descriptors));
    if let Err(error) = descriptors::keep_only(&kept) {
        return wires.report.fail(&error.into());
    }
    drop(kept);
    let Wires {
        report,
        mut gate,
        streams,
        joins,
        network,
        tree,
        given,
        shared_memory,
        program,
        fifo,
        mut agent,
    } = wires;
    let prepared = agent
        .as_mut()
        .map_or(Ok(()), Agent::introduce)
        .and_then(|()| enter_namespaces(plan, &report, joins, network))
        .and_then(|()| enter_root(plan, &report, &mut gate, Trees { root: tree, given, shared_memory }))
        .and_then(|Passed { filter, state }| {
            let identity = settle(&plan.process, streams, true)?;
            Ok(Ready {
                process: &plan.process,
                identity,
                filter,
                agent,
                tied: plan.dies_with_parent,
                hold: fifo,
                state,
                hooks: &plan.hooks.start_container,
            })
        });
    drop(gate);
    match (prepared, program) {
        (Ok(ready), Some(program)) => become_init(&ready, &program, report),
        (Ok(ready), None) => become_program(&ready, report),
        (Err(error), _) => report.fail(&error),
    }
}

/// What the parent has made for the root.
struct Trees {
    root: Option<OwnedFd>,
    given: Vec<OwnedFd>,
    shared_memory: Option<OwnedFd>,
}

/// What came through the gate.
struct Passed {
    filter: Option<Filter>,
    state: String,
}

/// Sets up what is this process's own, while the host's files are still there.
fn enter_namespaces(plan: &Plan, report: &Report, joins: &[&Join], network: Option<OwnedFd>) -> Result<()> {
    if plan.dies_with_parent {
        die_with_parent()?;
        parent_lives(report)?;
    }
    if !plan.is_of_a_user() {
        hide()?;
    }
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    if plan.own_keyring {
        keyring::leave_the_callers()?;
    }
    joins.iter().try_for_each(|join| join.join_others())?;
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name)
            .map_err(|errno| Error::kernel(format!("set the hostname to {name}"), errno))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .map_err(|errno| Error::kernel(format!("set the domain name to {name}"), errno))?;
    }
    if let Some(network) = network {
        join::join(network.as_fd(), Namespaces::NET)?;
    } else if plan.namespaces.contains(Namespaces::NET) {
        networking::link::loopback_up(&networking::Socket::open()?)?;
    }
    sysctls::apply(&plan.sysctls)?;
    match &plan.process.confinement.security_module {
        Some(module) => module.prepare(),
        None => Ok(()),
    }
}

/// Makes the container's root the root, and furnishes it. From here on the host's files are out of reach.
fn enter_root(plan: &Plan, report: &Report, gate: &mut Gate, trees: Trees) -> Result<Passed> {
    let Trees { root, given, shared_memory } = trees;
    let tree = root.map_or_else(|| plan.base.mount(), Ok)?;
    gate.wait_for_cgroup()?;
    // Root of a user namespace may not write to the host's cgroups: the parent has moved it.
    let joined = plan.cgroup.as_ref().filter(|cgroup| plan.maps.is_none() && !cgroup.is_v2());
    let outer = enter_cgroup(joined, plan.namespaces.contains(Namespaces::CGROUP), shows_cgroups(plan))?;
    let stage = if plan.in_user_namespace { Path::new("/") } else { &plan.stage };
    chroot::build(&tree, stage, &plan.root, &given)?;
    drop(given);
    if let Some(outer) = outer {
        join::join(outer.as_fd(), Namespaces::CGROUP)?;
    }
    let (filter, state) = gate.wait()?;
    if plan.is_of_a_user() {
        // Not earlier: an ordinary user's process has no privilege to connect a process that hides.
        hide()?;
    }
    if !plan.hooks.create_runtime.is_empty() {
        report.built()?;
        gate.wait()?;
    }
    hooks::run("createContainer", &plan.hooks.create_container, &state)?;
    chroot::change_root(&tree, &plan.root)?;
    if plan.in_user_namespace {
        user_namespace::root::link_devices()?;
    }
    if let Some(shared) = shared_memory {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::file("open", Path::new("/"), errno))?;
        let target = Rooted::new(&root).make_dir(Path::new(SHM))?;
        chroot::mount::attach(&shared, &target, Path::new(SHM))?;
    }
    Ok(Passed { filter, state })
}

/// Whether control groups are mounted in the root.
fn shows_cgroups(plan: &Plan) -> bool {
    plan.root.mounts.iter().any(|mount| {
        matches!(&mount.source, chroot::Source::Filesystem { fstype, .. } if fstype.starts_with("cgroup"))
    })
}

/// Fails if the parent had died already when its death signal was asked for: the report's other end is then closed.
fn parent_lives(report: &Report) -> Result<()> {
    let mut fds = [PollFd::new(report.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look for the parent", errno))?;
    match fds[0].revents() {
        Some(events) if events.contains(PollFlags::POLLERR) => {
            Err(Error::new("the container's parent has died"))
        }
        _ => Ok(()),
    }
}

/// Moves into the cgroup `joined`, unless `clone3` or the parent has put this process there, and makes it the root of
/// what is seen of the tree, if that is to be its own. The namespace must come second: its root is the cgroup that its
/// maker is in.
///
/// What is mounted of the tree begins at the root of the mounter's namespace. A container that is to see the host's
/// tree must not find its way into it, so `shown` has its mounts made in a namespace too, which is left afterwards: it
/// is what this returns then.
fn enter_cgroup(joined: Option<&Cgroup>, own: bool, shown: bool) -> Result<Option<OwnedFd>> {
    // A process that moves itself is some ten times quicker than one that moves another: the kernel need not
    // stop all forks meanwhile.
    if let Some(cgroup) = joined {
        cgroup.join()?;
    }
    if !own && !shown {
        return Ok(None);
    }
    let outer = if own { None } else { Some(open_namespace("/proc/self/ns/cgroup")?) };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .map_err(|errno| Error::kernel("make a cgroup namespace", errno))?;
    Ok(outer)
}

fn open_namespace(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new(path), errno))
}
