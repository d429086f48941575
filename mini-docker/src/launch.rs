//! The child's side of a start: from `clone3` to `execve`, in a straight line.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use cgroups::Cgroup;
use chroot::Program;
use chroot::resolve::Rooted;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use pid_namespace::{Exit, descriptors, init};
use rustix::fs::{Mode, OFlags};
use seccomp::Filter;

use crate::error::{Error, Result};
use crate::neighbour::Neighbour;
use crate::plan::Launch;
use crate::sharing::Share;
use crate::users::{self, Identity};
use crate::{keyring, own_program, provenance, sysctls, terminal, ulimits};

/// Where shared memory is.
const SHM: &str = "/dev/shm";

/// The longest `/etc/passwd` or `/etc/group` that is read, in bytes: an image could hold an endless one.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// What connects the child to its shim.
#[derive(Debug)]
pub struct Wires<'a> {
    /// Closed by the kernel when the program starts; else an exit code and a message come out.
    pub report: OwnedFd,
    /// When the shim has made what the child needs from outside, its cgroup and its connections, a byte comes out, and then the filter on
    /// system calls.
    pub gate: OwnedFd,
    /// Its standard streams.
    pub streams: Streams,
    /// The containers whose namespaces it joins.
    pub neighbours: &'a [Neighbour],
    /// The root, if it was made outside because the container's own root could not.
    pub tree: Option<OwnedFd>,
    /// Another container's `/dev/shm`, if it shares that.
    pub shared_memory: Option<OwnedFd>,
    /// The engine's binary ([`crate::own_program`]), if it is to be process 1.
    pub program: Option<OwnedFd>,
    /// Whether that binary runs here in a way in which it could be written to, so that it must not be the container's
    /// program.
    pub writable: bool,
}

/// A container's standard streams.
#[derive(Debug)]
pub enum Streams {
    /// Three descriptors.
    Pipes([OwnedFd; 3]),
    /// A terminal, made inside; its master is sent through this socket.
    Terminal {
        /// To the shim.
        socket: UnixStream,
        /// Its size at first, lines and columns, if there is a terminal to take it from.
        size: Option<(u16, u16)>,
    },
}

impl Wires<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.report.as_fd(), self.gate.as_fd()];
        match &self.streams {
            Streams::Pipes(pipes) => all.extend(pipes.iter().map(AsFd::as_fd)),
            Streams::Terminal { socket, .. } => all.push(socket.as_fd()),
        }
        all.extend(self.neighbours.iter().map(AsFd::as_fd));
        all.extend(self.tree.iter().chain(&self.shared_memory).chain(&self.program).map(AsFd::as_fd));
        all
    }
}

/// Becomes the container's program. Returns only if that failed; the reason has then been reported.
pub fn run(launch: &Launch, wires: Wires<'_>) -> u8 {
    if let Err(error) = descriptors::keep_only(&wires.descriptors()) {
        return tell(wires.report, &error.into());
    }
    let Wires { report, gate, streams, neighbours, tree, shared_memory, program, writable } = wires;
    let prepared = enter_namespaces(launch, &report, neighbours)
        .and_then(|()| enter_root(launch, gate, tree, shared_memory))
        .and_then(|filter| settle(launch, streams).map(|identity| Ready { launch, identity, filter }))
        .and_then(|ready| if writable { vet(&launch.program).map(|()| ready) } else { Ok(ready) });
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
    launch: &'a Launch,
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
    // The end of this process would be the child's, which has to tell the shim first.
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
fn enter_namespaces(launch: &Launch, report: &OwnedFd, neighbours: &[Neighbour]) -> Result<()> {
    die_with_shim()?;
    shim_lives(report)?;
    if !launch.is_of_a_user() {
        hide()?;
    }
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    keyring::leave_the_callers()?;
    neighbours.iter().try_for_each(Neighbour::join_others)?;
    if launch.sharing.uts == Share::Own {
        nix::unistd::sethostname(&launch.hostname)
            .map_err(|errno| Error::kernel(format!("set the hostname to {}", launch.hostname), errno))?;
        if !launch.domainname.is_empty() {
            rustix::system::setdomainname(launch.domainname.as_bytes()).map_err(|errno| {
                Error::kernel(format!("set the domain name to {}", launch.domainname), errno)
            })?;
        }
    }
    if launch.sharing.network == Share::Own {
        networking::link::loopback_up(&networking::Socket::open()?)?;
    }
    sysctls::apply(&launch.sysctls)?;
    match &launch.confinement.security_module {
        Some(module) => module.prepare(),
        None => Ok(()),
    }
}

/// Makes the overlay the root, and furnishes it. From here on the host's files are out of reach.
///
/// Returns the filter on system calls, which the shim has compiled meanwhile.
fn enter_root(
    launch: &Launch,
    gate: OwnedFd,
    tree: Option<OwnedFd>,
    shared_memory: Option<OwnedFd>,
) -> Result<Option<Filter>> {
    let tree = tree.map_or_else(|| launch.overlay.mount().map_err(Error::from), Ok)?;
    let filter = wait_at(gate)?;
    if launch.is_of_a_user() {
        // Not earlier: an ordinary user's shim has no privilege to connect a process that hides.
        hide()?;
    }
    // Root of a user namespace may not write to the host's cgroups: the shim has moved it.
    let joined = launch.cgroup.as_ref().filter(|cgroup| launch.maps.is_none() && !cgroup.is_v2());
    enter_cgroup(joined, launch.sharing.cgroup == Share::Own)?;
    if launch.in_user_namespace {
        user_namespace::root::enter(&tree, &launch.root)?;
    } else {
        chroot::enter(&tree, &launch.stage, &launch.root)?;
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
fn settle(launch: &Launch, streams: Streams) -> Result<Identity> {
    let group = accounts("/etc/group")?;
    let mut identity = users::resolve(&launch.user, &accounts("/etc/passwd")?, &group)?;
    identity.join(&launch.groups, &group)?;
    connect(streams, &identity)?;
    enter_working_directory(&launch.working_dir)?;
    Ok(identity)
}

/// Gives up privileges.
fn confine(Ready { launch, identity, filter }: &Ready<'_>) -> Result<()> {
    // Late, as a low limit of open files would be in our own way.
    ulimits::apply(&launch.ulimits)?;
    launch.confinement.assume(identity, filter.as_ref())?;
    // A change of user clears the death signal (prctl(2)).
    die_with_shim()
}

/// Gives up privileges and becomes the program.
fn become_program(ready: &Ready<'_>, report: OwnedFd) -> u8 {
    let mut program = ready.launch.program.clone();
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

/// If the shim is killed, nobody is left to record the container's end: it must end too.
fn die_with_shim() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)
        .map_err(|errno| Error::kernel("tie the container to its shim", errno))
}

/// Keeps others from looking into this process, and opening its files: in a pid namespace that is not its own, they
/// could.
fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| Error::kernel("hide from other processes", errno))
}

/// Fails if the shim had died already when its death signal was asked for: the report's other end is then closed.
fn shim_lives(report: &OwnedFd) -> Result<()> {
    let mut fds = [PollFd::new(report.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).map_err(|errno| Error::kernel("look for the shim", errno))?;
    match fds[0].revents() {
        Some(events) if events.contains(PollFlags::POLLERR) => {
            Err(Error::new("the container's shim has died"))
        }
        _ => Ok(()),
    }
}

/// Waits until the shim is done with its part, and takes the filter from it.
fn wait_at(gate: OwnedFd) -> Result<Option<Filter>> {
    let mut message = Vec::new();
    File::from(gate)
        .read_to_end(&mut message)
        .map_err(|error| Error::kernel("hear from the container's shim", error))?;
    match message.as_slice() {
        [] => Err(Error::new("the container's shim could not prepare the start")),
        [_] => Ok(None),
        [_, filter @ ..] => Ok(Some(Filter::from_bytes(filter)?)),
    }
}

/// Moves into the cgroup `joined`, unless `clone3` or the shim has put this process there, and makes it the root of what is seen of the
/// tree, if that is to be its own. The namespace must come second: its root is the cgroup that its maker is in.
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

/// Tells the shim why the container did not start.
fn tell(report: OwnedFd, error: &Error) -> u8 {
    let code = error.exit_code().unwrap_or(125);
    let message = [&[code], error.to_string().as_bytes()].concat();
    // If the shim has gone there is nobody to tell; the exit code says the same.
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

/// Puts the container's streams in place of the shim's.
fn connect(streams: Streams, identity: &Identity) -> Result<()> {
    let streams = match streams {
        Streams::Pipes(pipes) => pipes,
        Streams::Terminal { socket, size } => {
            let (master, slave) = terminal::open()?;
            if let Some((rows, columns)) = size {
                terminal::set_size(&slave, rows, columns)?;
            }
            show_console(&slave)?;
            rustix::process::ioctl_tiocsctty(&slave)
                .map_err(|errno| Error::kernel("make the terminal the session's", errno))?;
            let descriptors = [master.as_raw_fd()];
            let message = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(
                socket.as_raw_fd(),
                &[std::io::IoSlice::new(&[0])],
                &message,
                MsgFlags::empty(),
                None,
            )
            .map_err(|errno| Error::kernel("hand the terminal to the shim", errno))?;
            let copy = || slave.try_clone().map_err(|error| Error::kernel("copy a descriptor", error));
            [copy()?, copy()?, slave]
        }
    };
    for (stream, place) in streams.iter().zip(0..) {
        own(stream, identity)?;
        // SAFETY: the three standard descriptors belong to nobody in this process.
        nix::errno::Errno::result(unsafe { libc::dup2(stream.as_raw_fd(), place) })
            .map_err(|errno| Error::kernel("set up the standard streams", errno))?;
    }
    Ok(())
}

/// Lets a user other than root open `/dev/stdout` and its like: they lead to these pipes, or this terminal.
fn own(stream: &OwnedFd, identity: &Identity) -> Result<()> {
    let stat =
        rustix::fs::fstat(stream).map_err(|errno| Error::kernel("look at a standard stream", errno))?;
    let null = rustix::fs::makedev(1, 3);
    if stat.st_uid == identity.uid || stat.st_rdev == null {
        return Ok(());
    }
    rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(identity.uid)), None)
        .map_err(|errno| match errno {
            rustix::io::Errno::INVAL => Error::new(format!(
                "cannot run as user {}: EINVAL: the container's user namespace has no such id (it has those of \
                 /etc/subuid; 'mini-docker doctor' says what is missing)",
                identity.uid
            )),
            _ => Error::kernel("give a standard stream to the user", errno),
        })
}

/// Shows the terminal as `/dev/console`.
fn show_console(slave: &OwnedFd) -> Result<()> {
    let console = Path::new("/dev/console");
    let file = rustix::fs::open(
        console,
        OFlags::CREATE
            | OFlags::RDONLY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .map_err(|errno| Error::file("make", console, errno))?;
    let tree = chroot::mount::clone_tree_at(slave.as_fd(), Path::new(""), false)?;
    Ok(chroot::mount::attach(&tree, &file, console)?)
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
