//! The child's side of a start: from `clone3` to `execve`, in a straight line.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use cgroups::Cgroup;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Gid, Uid};
use pid_namespace::{Namespaces, descriptors, init};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::plan::Launch;
use crate::terminal;
use crate::users::{self, Identity};

/// The longest `/etc/passwd` or `/etc/group` that is read, in bytes: an image could hold an endless one.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// What connects the child to its shim.
#[derive(Debug)]
pub struct Wires {
    /// Closed by the kernel when the program starts; else an exit code and a message come out.
    pub report: OwnedFd,
    /// A byte comes out when the shim has made what the child needs from outside: its cgroup.
    pub gate: OwnedFd,
    /// Its standard streams.
    pub streams: Streams,
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

impl Wires {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.report.as_fd(), self.gate.as_fd()];
        match &self.streams {
            Streams::Pipes(pipes) => all.extend(pipes.iter().map(AsFd::as_fd)),
            Streams::Terminal { socket, .. } => all.push(socket.as_fd()),
        }
        all
    }
}

/// Becomes the container's program. Returns only if that failed; the reason has then been reported.
pub fn run(launch: &Launch, wires: Wires) -> u8 {
    if let Err(error) = descriptors::keep_only(&wires.descriptors()) {
        return tell(wires.report, &error.into());
    }
    let Wires { report, gate, streams } = wires;
    match prepare(launch, &report, gate, streams) {
        Ok(identity) if launch.init => become_init(launch, &identity, report),
        Ok(identity) => become_program(launch, &identity, report),
        Err(error) => tell(report, &error),
    }
}

/// What the binary is called when it is process 1 of a container with `--init`; its argument is the program's id.
pub const INIT: &str = "mini-docker-init";

/// Starts the program in a child, and looks after it.
///
/// This process has the command's environment, arguments and memory, with whatever secrets are in them, and in the
/// container they could be read from `/proc/1`. So it becomes itself once more, with nothing but the child's id.
fn become_init(launch: &Launch, identity: &Identity, report: OwnedFd) -> u8 {
    // The report's pipe moves into the child: process 1 must not hold it.
    let main = match init::start(move || become_program(launch, identity, report)) {
        Ok(main) => main.pid(),
        Err(error) => {
            eprintln!("Error: {error}");
            return 125;
        }
    };
    let argument = std::ffi::CString::new(main.to_string()).expect("a number has no NUL in it");
    let name = std::ffi::CString::new(INIT).expect("nor has this name");
    let Err(errno) = nix::unistd::execve(c"/proc/self/exe", &[name, argument], &[] as &[&std::ffi::CStr]);
    eprintln!("Error: cannot become the init process: {errno}");
    125
}

/// Everything up to the point where privileges are given up.
fn prepare(launch: &Launch, report: &OwnedFd, gate: OwnedFd, streams: Streams) -> Result<Identity> {
    die_with_shim()?;
    shim_lives(report)?;
    nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
    nix::unistd::sethostname(&launch.hostname)
        .map_err(|errno| Error::kernel(format!("set the hostname to {}", launch.hostname), errno))?;
    if !launch.domainname.is_empty() {
        rustix::system::setdomainname(launch.domainname.as_bytes())
            .map_err(|errno| Error::kernel(format!("set the domain name to {}", launch.domainname), errno))?;
    }
    if launch.namespaces.contains(Namespaces::NET) {
        raise_loopback()?;
    }

    let tree = launch.overlay.mount()?;
    wait_at(gate)?;
    enter_cgroup(&launch.cgroup)?;
    chroot::enter(&tree, &launch.stage, &launch.root)?;
    drop(tree);

    let identity = users::resolve(&launch.user, &accounts("/etc/passwd")?, &accounts("/etc/group")?)?;
    connect(streams, &identity)?;
    enter_working_directory(&launch.working_dir)?;
    Ok(identity)
}

/// Gives up privileges, and becomes the program.
fn become_program(launch: &Launch, identity: &Identity, report: OwnedFd) -> u8 {
    let Err(error) = assume(identity).and_then(|()| {
        let mut program = launch.program.clone();
        if !program.env.iter().any(|entry| entry.starts_with("HOME=")) {
            program.env.push(format!("HOME={}", identity.home));
        }
        tracing::info!("execve: become {} as user {}", program.args.join(" "), identity.uid);
        descriptors::close_on_exec()?;
        Err::<(), _>(Error::from(program.exec()))
    }) else {
        unreachable!("exec does not return success")
    };
    tell(report, &error)
}

/// If the shim is killed, nobody is left to record the container's end: it must end too.
fn die_with_shim() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)
        .map_err(|errno| Error::kernel("tie the container to its shim", errno))
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

/// Waits until the shim is done with its part.
fn wait_at(gate: OwnedFd) -> Result<()> {
    let mut byte = [0];
    File::from(gate)
        .read_exact(&mut byte)
        .map_err(|_| Error::new("the container's shim could not prepare the start"))
}

/// Moves into the cgroup, unless `clone3` has put this process there, and makes it the root of what is seen of the
/// tree. The namespace must come second: its root is the cgroup that its maker is in.
fn enter_cgroup(cgroup: &Cgroup) -> Result<()> {
    // A process that moves itself is some ten times quicker than one that moves another: the kernel need not
    // stop all forks meanwhile.
    if !cgroup.is_v2() {
        cgroup.join()?;
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

/// Sets the `IFF_UP` flag of the new network namespace's loopback device, which starts down.
fn raise_loopback() -> Result<()> {
    let attempt = "bring up the loopback device";
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|errno| Error::kernel(attempt, errno))?;
    // SAFETY: an all-zero `ifreq` is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(result).map(drop).map_err(|errno| Error::kernel(attempt, errno))
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
    if !file.metadata().map_err(failed)?.is_file() {
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
        .map_err(|errno| Error::kernel("give a standard stream to the user", errno))
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
fn enter_working_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .and_then(|()| std::env::set_current_dir(path))
        .map_err(|error| Error::file("enter the working directory", path, error))
}

/// Becomes the user: groups first, since only root may change them.
fn assume(identity: &Identity) -> Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    nix::unistd::setgroups(&groups)
        .and_then(|()| nix::unistd::setresgid(gid, gid, gid))
        .and_then(|()| nix::unistd::setresuid(uid, uid, uid))
        .map_err(|errno| Error::kernel(format!("become user {uid}"), errno))?;
    // A change of user clears the death signal (prctl(2)).
    die_with_shim()
}
