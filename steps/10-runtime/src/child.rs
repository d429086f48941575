//! The child's side of a start: from `clone3` to `execve`, in a straight line.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroups::Cgroup;
use chroot::Program;
use chroot::resolve::Rooted;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pid_namespace::{Exit, Namespaces, descriptors, init};
use rustix::fs::{Mode, OFlags};
use seccomp::Filter;

use crate::error::{Error, Result};
use crate::join::{Join, SHM};
use crate::plan::{Plan, User};
use crate::start::Streams;
use crate::users::{self, Identity};
use crate::{console, keyring, own_program, provenance, rlimits, sysctls};

/// The longest `/etc/passwd` or `/etc/group` that is read, in bytes: an image could hold an endless one.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// What connects the child to its parent.
#[derive(Debug)]
pub(crate) struct Wires<'a> {
    /// Closed by the kernel when the program starts; else an exit code and a message come out.
    pub(crate) report: OwnedFd,
    /// When the parent has made what the child needs from outside, its cgroup and its connections, a byte comes out, and
    /// then the filter on system calls.
    pub(crate) gate: OwnedFd,
    /// Its standard streams.
    pub(crate) streams: Streams,
    /// The namespaces that it joins.
    pub(crate) joins: &'a [Join],
    /// The root, if it was made outside because the container's own root could not.
    pub(crate) tree: Option<OwnedFd>,
    /// Another container's `/dev/shm`, if it shares that.
    pub(crate) shared_memory: Option<OwnedFd>,
    /// This binary ([`crate::own_program`]), if it is to be process 1.
    pub(crate) program: Option<OwnedFd>,
    /// Whether that binary runs here in a way in which it could be written to, so that it must not be the container's
    /// program.
    pub(crate) writable: bool,
}

impl Wires<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.report.as_fd(), self.gate.as_fd()];
        match &self.streams {
            Streams::Pipes(pipes) => all.extend(pipes.iter().map(AsFd::as_fd)),
            Streams::Terminal { socket, .. } => all.push(socket.as_fd()),
        }
        all.extend(self.joins.iter().map(AsFd::as_fd));
        all.extend(self.tree.iter().chain(&self.shared_memory).chain(&self.program).map(AsFd::as_fd));
        all
    }
}

/// Becomes the container's program. Returns only if that failed; the reason has then been reported.
pub(crate) fn run(plan: &Plan, wires: Wires<'_>) -> u8 {
    if let Err(error) = descriptors::keep_only(&wires.descriptors()) {
        return tell(wires.report, &error.into());
    }
    let Wires { report, gate, streams, joins, tree, shared_memory, program, writable } = wires;
    let prepared = enter_namespaces(plan, &report, joins)
        .and_then(|()| enter_root(plan, gate, tree, shared_memory))
        .and_then(|filter| settle(plan, streams).map(|identity| Ready { plan, identity, filter }))
        .and_then(|ready| if writable { vet(&plan.program).map(|()| ready) } else { Ok(ready) });
    match (prepared, program) {
        (Ok(ready), Some(program)) => become_init(&ready, &program, report),
        (Ok(ready), None) => become_program(&ready, report),
        (Err(error), _) => tell(report, &error),
    }
}

/// Fails if the program may be the engine's own binary ([`crate::own_program`]).
fn vet(program: &Program) -> Result<()> {
    if provenance::is_of_the_root(program) {
        return Ok(());
    }
    Err(own_program::again("the program may not be the image's own"))
}

/// What is left to do when everything is in its place.
struct Ready<'a> {
    plan: &'a Plan,
    identity: Identity,
    filter: Option<Filter>,
}

/// What the binary is called when it is process 1 of a container with `--init`; its argument is the program's id.
pub const INIT: &str = "mini-docker-init";

/// Starts the program in a child, and looks after it.
///
/// This process has the command's environment, arguments and memory, with whatever secrets are in them, and in the
/// container they could be read from `/proc/1`. So it becomes itself once more, with nothing but the child's id. The
/// child waits for that: its pipe is closed by the kernel when this process is as confined as the child will be.
fn become_init(ready: &Ready<'_>, own: &OwnedFd, report: OwnedFd) -> u8 {
    let (word, mut speaker) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
        Ok((word, speaker)) => (word, File::from(speaker)),
        Err(errno) => return tell(report, &Error::kernel("make a pipe", errno)),
    };
    // The report's pipe moves into the child: process 1 must not hold it.
    let main = match init::start(move || become_main(ready, report, word)) {
        Ok(main) => main,
        Err(error) => {
            eprintln!("Error: {error}");
            return 125;
        }
    };
    let error = match confine(ready) {
        Ok(()) => {
            let argument = std::ffi::CString::new(main.pid().to_string()).expect("a number has no NUL in it");
            let name = std::ffi::CString::new(INIT).expect("nor has this name");
            let nothing: [&std::ffi::CStr; 0] = [];
            let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
            let Err(errno) = nix::unistd::execveat(own, c"", &[name, argument], &nothing, flags);
            Error::kernel("become the init process", errno)
        }
        Err(error) => error,
    };
    if let Err(failure) = speaker.write_all(error.to_string().as_bytes()) {
        eprintln!("Error: {error} ({failure})");
    }
    drop(speaker);
    // The end of this process would be the child's, which has to tell the parent first.
    main.wait().map_or(125, Exit::code)
}

/// Becomes the program as soon as process 1 is confined.
fn become_main(ready: &Ready<'_>, report: OwnedFd, word: OwnedFd) -> u8 {
    let mut failure = String::new();
    let heard = descriptors::keep_only(&[report.as_fd(), word.as_fd()]).map_err(Error::from).and_then(|()| {
        let mut word = File::from(word);
        word.read_to_string(&mut failure).map_err(|error| Error::kernel("hear from process 1", error))
    });
    match heard {
        Ok(0) => become_program(ready, report),
        Ok(_) => tell(report, &Error::new(failure)),
        Err(error) => tell(report, &error),
    }
}

/// Sets up what is this process's own, while the host's files are still there.
fn enter_namespaces(plan: &Plan, report: &OwnedFd, joins: &[Join]) -> Result<()> {
    if plan.dies_with_parent {
        die_with_parent()?;
        parent_lives(report)?;
    }
    if !plan.is_of_a_user() {
        hide()?;
    }
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    keyring::leave_the_callers()?;
    joins.iter().try_for_each(Join::join_others)?;
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name)
            .map_err(|errno| Error::kernel(format!("set the hostname to {name}"), errno))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .map_err(|errno| Error::kernel(format!("set the domain name to {name}"), errno))?;
    }
    if plan.namespaces.contains(Namespaces::NET) {
        networking::link::loopback_up(&networking::Socket::open()?)?;
    }
    sysctls::apply(&plan.sysctls)?;
    match &plan.confinement.security_module {
        Some(module) => module.prepare(),
        None => Ok(()),
    }
}

/// Makes the container's root the root, and furnishes it. From here on the host's files are out of reach.
///
/// Returns the filter on system calls, which the parent has compiled meanwhile.
fn enter_root(
    plan: &Plan,
    gate: OwnedFd,
    tree: Option<OwnedFd>,
    shared_memory: Option<OwnedFd>,
) -> Result<Option<Filter>> {
    let tree = tree.map_or_else(|| plan.base.mount(), Ok)?;
    let filter = wait_at(gate)?;
    if plan.is_of_a_user() {
        // Not earlier: an ordinary user's process has no privilege to connect a process that hides.
        hide()?;
    }
    // Root of a user namespace may not write to the host's cgroups: the parent has moved it.
    let joined = plan.cgroup.as_ref().filter(|cgroup| plan.maps.is_none() && !cgroup.is_v2());
    enter_cgroup(joined, plan.namespaces.contains(Namespaces::CGROUP))?;
    if plan.in_user_namespace {
        user_namespace::root::enter(&tree, &plan.root)?;
    } else {
        chroot::enter(&tree, &plan.stage, &plan.root)?;
    }
    if let Some(shared) = shared_memory {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::file("open", Path::new("/"), errno))?;
        let target = Rooted::new(&root).make_dir(Path::new(SHM))?;
        chroot::mount::attach(&shared, &target, Path::new(SHM))?;
    }
    Ok(filter)
}

/// Finds out who the user is, connects the streams, and goes to the working directory.
fn settle(plan: &Plan, streams: Streams) -> Result<Identity> {
    let group = accounts("/etc/group")?;
    let User::Named { user, groups } = &plan.user;
    let mut identity = users::resolve(user, &accounts("/etc/passwd")?, &group)?;
    identity.join(groups, &group)?;
    console::connect(streams, &identity)?;
    enter_working_directory(&plan.working_dir)?;
    Ok(identity)
}

/// Gives up privileges.
fn confine(Ready { plan, identity, filter }: &Ready<'_>) -> Result<()> {
    // Late, as a low limit of open files would be in our own way.
    rlimits::apply(&plan.rlimits)?;
    plan.confinement.assume(identity, filter.as_ref())?;
    // A change of user clears the death signal (prctl(2)).
    if plan.dies_with_parent { die_with_parent() } else { Ok(()) }
}

/// Gives up privileges and becomes the program.
fn become_program(ready: &Ready<'_>, report: OwnedFd) -> u8 {
    let mut program = ready.plan.program.clone();
    if !program.env.iter().any(|entry| entry.starts_with("HOME=")) {
        program.env.push(format!("HOME={}", ready.identity.home));
    }
    tracing::info!("execve: become {} as user {}", program.args.join(" "), ready.identity.uid);
    // First, as the filter might refuse this call.
    match descriptors::close_on_exec().map_err(Error::from).and_then(|()| confine(ready)) {
        Ok(()) => tell(report, &program.exec().into()),
        Err(error) => tell(report, &error),
    }
}

/// If the parent is killed, nobody is left to record the container's end: it must end too.
fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)
        .map_err(|errno| Error::kernel("tie the container to its parent", errno))
}

/// Keeps others from looking into this process, and opening its files: in a pid namespace that is not its own, they
/// could.
fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| Error::kernel("hide from other processes", errno))
}

/// Fails if the parent had died already when its death signal was asked for: the report's other end is then closed.
fn parent_lives(report: &OwnedFd) -> Result<()> {
    let mut fds = [PollFd::new(report.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look for the parent", errno))?;
    match fds[0].revents() {
        Some(events) if events.contains(PollFlags::POLLERR) => {
            Err(Error::new("the container's parent has died"))
        }
        _ => Ok(()),
    }
}

/// Waits until the parent is done with its part, and takes the filter from it.
fn wait_at(gate: OwnedFd) -> Result<Option<Filter>> {
    let mut message = Vec::new();
    File::from(gate)
        .read_to_end(&mut message)
        .map_err(|error| Error::kernel("hear from the container's parent", error))?;
    match message.as_slice() {
        [] => Err(Error::new("the container's parent could not prepare the start")),
        [_] => Ok(None),
        [_, filter @ ..] => Ok(Some(Filter::from_bytes(filter)?)),
    }
}

/// Moves into the cgroup `joined`, unless `clone3` or the parent has put this process there, and makes it the root of
/// what is seen of the tree, if that is to be its own. The namespace must come second: its root is the cgroup that its maker is in.
fn enter_cgroup(joined: Option<&Cgroup>, own: bool) -> Result<()> {
    // A process that moves itself is some ten times quicker than one that moves another: the kernel need not
    // stop all forks meanwhile.
    if let Some(cgroup) = joined {
        cgroup.join()?;
    }
    if !own {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .map_err(|errno| Error::kernel("make a cgroup namespace", errno))
}

/// Tells the parent why the container did not start.
fn tell(report: OwnedFd, error: &Error) -> u8 {
    let code = error.exit_code();
    let message = [&[code], error.to_string().as_bytes()].concat();
    // If the parent has gone there is nobody to tell; the exit code says the same.
    let told = File::from(report).write_all(&message);
    if told.is_err() { 125 } else { code }
}

/// The text of one of the image's account files; empty if the image has none.
fn accounts(path: &str) -> Result<String> {
    // NONBLOCK: opening a fifo that an image put there must not hang.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(Error::file("read the image's", Path::new(path), errno)),
    };
    let failed = |error| Error::file("read the image's", Path::new(path), error);
    // A link may lead into /proc, where to read is to act: /proc/kmsg gives each of the kernel's messages once, and
    // the host would miss those that were read here.
    let status = rustix::fs::fstatfs(&file).map_err(|errno| failed(errno.into()))?;
    if !file.metadata().map_err(failed)?.is_file() || status.f_type == libc::PROC_SUPER_MAGIC {
        return Err(Error::new(format!("the image's {path} is not a file")));
    }
    let mut text = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut text).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Starts where the image, or the user, says; the directory is made if it is missing, as Docker does.
///
/// Magic links are refused: `/proc/self/fd/7` as the working directory must not lead to whatever this process has open
/// (CVE-2024-21626).
fn enter_working_directory(path: &Path) -> Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new("/"), errno))?;
    let directory = Rooted::new(&root).make_dir(path)?;
    rustix::process::fchdir(&directory)
        .map_err(|errno| Error::file("enter the working directory", path, errno))
}
