//! What every program in a container goes through last, its first and those that come later: it becomes its user, gives
//! up privileges, and is executed.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use chroot::resolve::Rooted;
use nix::errno::Errno;
use pid_namespace::descriptors;
use rustix::fs::{Mode, OFlags};
use seccomp::Filter;

use crate::agent::Agent;
use crate::config::Hook;
use crate::error::{Error, Result};
use crate::plan::Process;
use crate::start::Streams;
use crate::talk::Report;
use crate::users::Identity;
use crate::{console, hooks, rlimits};

/// What is left to do when everything is in its place.
pub(crate) struct Ready<'a> {
    pub(crate) process: &'a Process,
    pub(crate) identity: Identity,
    pub(crate) filter: Option<Filter>,
    /// Whoever the filter asks.
    pub(crate) agent: Option<Agent>,
    /// Whether it ends with its parent.
    pub(crate) tied: bool,
    /// A fifo out of which the word comes to begin.
    pub(crate) hold: Option<OwnedFd>,
    /// What is run before the program.
    pub(crate) hooks: &'a [Hook],
    /// What that is told, and the agent.
    pub(crate) state: String,
}

/// This process's descriptors from 3 on, `count` of them, as the caller has handed them over.
pub(crate) fn preserved<'a>(count: u32) -> impl Iterator<Item = BorrowedFd<'a>> {
    // SAFETY: the caller has looked that they are open, and nobody in this process closes them.
    (3..3 + count).map(|fd| unsafe { BorrowedFd::borrow_raw(fd.cast_signed()) })
}

/// Finds out who the user is, connects the streams, and goes to the working directory. With `first`, a terminal is the
/// container's console, and the directory is made if it is missing.
pub(crate) fn settle(process: &Process, streams: Streams, first: bool) -> Result<Identity> {
    let identity = Identity::find(&process.user)?;
    console::connect(streams, &identity, first)?;
    enter_working_directory(&process.working_dir, first)?;
    Ok(identity)
}

impl Ready<'_> {
    /// Gives up privileges, as far as waiting and hooks let it.
    pub(crate) fn confine(&self) -> Result<()> {
        let Self { process, identity, tied, .. } = self;
        process.schedule.assume()?;
        if let Some(umask) = process.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        // Late, as a low limit of open files would be in our own way.
        rlimits::apply(&process.rlimits)?;
        process.confinement.assume(identity, || self.install())?;
        // A change of user clears the death signal (prctl(2)).
        if *tied { die_with_parent() } else { Ok(()) }
    }

    /// The last of it: a filter that could come as late as this.
    pub(crate) fn seal(&self) -> Result<()> {
        if self.process.confinement.no_new_privileges { self.install() } else { Ok(()) }
    }

    /// Puts the filter on. Whoever it asks is told at once, since every call from here on may wait for an answer.
    fn install(&self) -> Result<()> {
        let agent = self.agent.as_ref().map(|agent| (agent, agent.message(&self.state)));
        let listener = self.filter.as_ref().map(Filter::install).transpose()?.flatten();
        match (listener, agent) {
            (Some(listener), Some((agent, message))) => agent.hand_over(&listener, &message),
            _ => Ok(()),
        }
    }
}

/// Gives up privileges and becomes the program.
pub(crate) fn become_program(ready: &Ready<'_>, report: Report) -> u8 {
    let process = ready.process;
    let mut program = process.program.clone();
    if !program.env.iter().any(|entry| entry.starts_with("HOME=")) {
        program.env.push(format!("HOME={}", ready.identity.home));
    }
    // First, as the filter might refuse this call.
    let confined = descriptors::close_on_exec_after(process.descriptors)
        .map_err(Error::from)
        .and_then(|()| ready.confine());
    if let Err(error) = confined {
        return report.fail(&error);
    }
    // Before the filter, where that comes last: it might refuse what it takes to tell.
    tracing::info!("execve: become {} as user {}", program.args.join(" "), ready.identity.uid);
    let Some(fifo) = &ready.hold else {
        let begun = hooks::run("startContainer", ready.hooks, &ready.state).and_then(|()| ready.seal());
        return report.fail(&begun.err().unwrap_or_else(|| program.exec().into()));
    };
    // Who creates a container is told now that there is no such program.
    if let Err(error) = program.find() {
        return report.fail(&error.into());
    }
    let begun = report
        .ready()
        .and_then(|()| wait(fifo))
        .and_then(|()| hooks::run("startContainer", ready.hooks, &ready.state))
        .and_then(|()| ready.seal());
    let error = begun.err().unwrap_or_else(|| program.exec().into());
    // Nobody else is left to be told.
    eprintln!("Error: {error}");
    error.exit_code()
}

/// Waits for a byte out of the fifo. It is open for writing too, so that it never ends.
fn wait(fifo: &OwnedFd) -> Result<()> {
    loop {
        match rustix::io::read(fifo, &mut [0]) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("wait for the start", errno)),
        }
    }
}

/// If the parent is killed, nobody is left to record the container's end: it must end too.
pub(crate) fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)
        .map_err(|errno| Error::kernel("tie the container to its parent", errno))
}

/// Keeps others from looking into this process, and opening its files: in a pid namespace that is not its own, they
/// could.
pub(crate) fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| Error::kernel("hide from other processes", errno))
}

/// Starts where the image, or the user, says. For a container's first process, the directory is made if it is missing; for
/// those that come later, that is an error, as with Docker.
///
/// No link leads out of the root. `/proc/self/fd/7` as the working directory once led to whatever the runtime had open
/// (CVE-2024-21626): the kernel does not follow such a magic link here (`RESOLVE_NO_MAGICLINKS`, `openat2(2)`). That is an
/// error for those that come later; for the first, whose directory may have to be made, only its text counts, which is
/// looked for inside the root like any other path.
fn enter_working_directory(path: &Path, make: bool) -> Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new("/"), errno))?;
    let root = Rooted::new(&root);
    let directory = if make { root.make_dir(path) } else { root.open(path, OFlags::PATH) };
    let failed = |errno| Error::file("enter the working directory", path, errno);
    let directory = directory.map_err(|error| if make { error.into() } else { failed(error.errno()) })?;
    rustix::process::fchdir(&directory).map_err(|errno| failed(Errno::from_raw(errno.raw_os_error())))
}
