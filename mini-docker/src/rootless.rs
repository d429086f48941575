//! The engine of an ordinary user.
//!
//! Who is not root becomes root of a user namespace first, and from then on everything is as ever (step 9). All
//! commands and shims of a user share one such namespace, since nobody could reach a container from another one beside
//! it; and one network namespace, the *host* of this user's containers, with the bridges and the firewall in it. Both
//! are held by a process, the anchor, for as long as somebody is connected to it:
//!
//! ```text
//! EXEC/rootless.lock     held while a command looks for the anchor, or starts it
//! EXEC/rootless.sock     the anchor's; whoever is connected keeps it alive
//! EXEC/slirp.sock        slirp4netns': it takes the user's packets to the outside, and ports from there
//! EXEC/slirp.log         what it said
//! EXEC/unconnected       why it could not, if so
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use networking::Protocol;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use pid_namespace::{Child, Namespaces, descriptors, join, spawn};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use user_namespace::rootless;

use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};

/// How long an anchor waits for the command that started it, in milliseconds.
const PATIENCE: u16 = 10_000;
/// What `ps` on the host shows for the anchor.
const NAME: &std::ffi::CStr = c"md-rootless";
/// The program that connects a network namespace to the outside.
const SLIRP: &str = "slirp4netns";
/// The file that says why that one could not.
const UNCONNECTED: &str = "unconnected";
/// Its name server in the namespace, which asks the host's.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The namespace's own address there: where ports from outside arrive.
const OWN_ADDRESS: &str = "10.0.2.100";

/// A place in the user's namespaces. While it is there, or a copy of its descriptor, so is the anchor.
#[derive(Debug)]
pub struct Rootless {
    anchor: UnixStream,
    network: OwnedFd,
    exec: PathBuf,
}

impl Rootless {
    /// Becomes root of the user's namespace, which is made if there is none yet. This process must have a single thread.
    /// `exec` is the user's folder for what is fleeting.
    pub fn enter(exec: &Path) -> Result<Self> {
        files::make_dir(exec, true)?;
        let _lock = Lock::create(&exec.join("rootless.lock"))?;
        let socket = exec.join("rootless.sock");
        let anchor = if let Ok(anchor) = UnixStream::connect(&socket) {
            anchor
        } else {
            begin(exec, &socket)?;
            UnixStream::connect(&socket).map_err(|error| Error::file("connect to", &socket, error))?
        };
        // It lives while we are connected, so that its number is its own.
        let peer = rustix::net::sockopt::socket_peercred(&anchor)
            .map_err(|errno| Error::file("ask who is at", &socket, errno))?;
        let pid = peer.pid.as_raw_nonzero().get();
        let process = join::open(Pid::from_raw(pid))?;
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let here = WorkingDirectory::note();
        rootless::join(process.as_fd())?;
        here.return_to()?;
        let network = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::file("open", &path, errno))?;
        Ok(Self { anchor, network, exec: exec.to_owned() })
    }

    /// Moves this process to the network in which the user's containers are connected. There is no way back.
    pub fn enter_network(&self) -> Result<()> {
        Ok(join::join(self.network.as_fd(), Namespaces::NET)?)
    }

    /// Warns, for a container that is about to be connected, if nothing connects the network to the outside.
    pub fn warn_if_unconnected(&self) -> Result<()> {
        if let Some(reason) = files::read_json::<String>(&self.exec.join(UNCONNECTED))? {
            eprintln!(
                "WARNING: containers cannot reach the outside: {reason} (this is tried again when no container runs)"
            );
        }
        Ok(())
    }

    /// What keeps the anchor alive, and leads to the network.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.anchor.as_fd(), self.network.as_fd()]
    }

    /// What lets ports in.
    pub fn ports(&self) -> Result<Ports> {
        let stat =
            rustix::fs::fstat(&self.network).map_err(|errno| Error::kernel("look at a namespace", errno))?;
        Ok(Ports { socket: self.exec.join("slirp.sock"), network: stat.st_ino })
    }
}

/// Where relative paths begin. Joining a mount namespace makes that its root (`setns(2)`).
struct WorkingDirectory {
    path: Option<PathBuf>,
    directory: Option<OwnedFd>,
}

impl WorkingDirectory {
    /// The one of this process; it may have been removed, or be nothing that this user may open.
    fn note() -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(".", flags, Mode::empty());
        Self { path: std::env::current_dir().ok(), directory: directory.ok() }
    }

    /// Goes back: by its path, or else to the directory itself, which then has no path here.
    fn return_to(&self) -> Result<()> {
        let by_path = self.path.as_ref().is_some_and(|path| std::env::set_current_dir(path).is_ok());
        match &self.directory {
            Some(directory) if !by_path => rustix::process::fchdir(directory)
                .map_err(|errno| Error::kernel("return to the working directory", errno)),
            _ => Ok(()),
        }
    }
}

/// Starts an anchor and what connects it to the outside, and waits until both are ready.
fn begin(exec: &Path, socket: &Path) -> Result<()> {
    let (maps, reason) = rootless::own_maps()?;
    if let Some(reason) = reason {
        eprintln!("WARNING: containers have no user but root: {reason}");
    }
    files::remove(socket)?;
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| Error::kernel("make a pipe", errno))
    };
    let ((ready, said), (leash, held)) = (pipe()?, pipe()?);
    let anchor = spawn(Namespaces::NONE, None, || {
        let anchored = (|| {
            // The leash stays open for as long as this process lives: its other end is slirp4netns'.
            descriptors::keep_only(&[said.as_fd(), held.as_fd()])?;
            nix::unistd::setsid().map_err(|errno| Error::kernel("start a session", errno))?;
            // SAFETY: the name is a C string that lives for ever.
            unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
            let listener =
                UnixListener::bind(socket).map_err(|error| Error::file("listen at", socket, error))?;
            rootless::enter(&maps)?;
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::kernel("make a network namespace", errno))?;
            networking::link::loopback_up(&networking::Socket::open()?)?;
            // Whoever reads what the command writes waits for the last writer.
            crate::shim::release_streams()?;
            Ok(listener)
        })();
        let mut said = std::fs::File::from(said);
        match anchored {
            Ok(listener) if said.write_all(&[0]).is_ok() => {
                drop(said);
                stay(&listener)
            }
            Ok(_) => 1,
            Err(error) => {
                let error: Error = error;
                u8::from(said.write_all(error.to_string().as_bytes()).is_err()) + 1
            }
        }
    })?;
    let mut answer = String::new();
    // From the anchor's copy alone.
    let mut ready = std::fs::File::from(ready);
    let mut first = [0; 1];
    let heard = ready.read(&mut first).map_err(|error| Error::kernel("hear from the anchor", error))?;
    if (heard, first[0]) != (1, 0) {
        answer.push(char::from(first[0]));
        ready.read_to_string(&mut answer).map_err(|error| Error::kernel("hear from the anchor", error))?;
        anchor.wait()?;
        return Err(Error::new(answer.trim_start_matches('\0').to_owned()));
    }
    connect(&anchor, exec, &leash)
}

/// The anchor's life: it counts who is connected, and ends with the last one.
fn stay(listener: &UnixListener) -> u8 {
    let mut connected: Vec<UnixStream> = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(connected.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)));
        // Whoever started this process, and did not come to connect to it, will not come any more.
        let patience = if connected.is_empty() { PollTimeout::from(PATIENCE) } else { PollTimeout::NONE };
        match poll(&mut fds, patience) {
            Ok(0) => return 0,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return 1,
        }
        // Nobody ever says anything: what can be read is the end.
        let gone: Vec<bool> = fds[1..].iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let called = fds[0].any().unwrap_or(true);
        let mut each = gone.iter();
        connected.retain(|_| !each.next().copied().unwrap_or_default());
        if called {
            match listener.accept() {
                Ok((stream, _)) => connected.push(stream),
                Err(_) => return 1,
            }
        } else if connected.is_empty() {
            return 0;
        }
    }
}

/// Starts slirp4netns for the anchor's network, until the anchor ends. Without it containers reach each other alone, which is
/// noted for those who connect one.
fn connect(anchor: &Child, exec: &Path, leash: &OwnedFd) -> Result<()> {
    let unconnected = exec.join(UNCONNECTED);
    files::remove(&unconnected)?;
    let note = |reason: &str| files::write_json(&unconnected, &reason, Durability::Fleeting);
    let (ready, said) = rustix::pipe::pipe().map_err(|errno| Error::kernel("make a pipe", errno))?;
    let leash = leash.try_clone().map_err(|error| Error::kernel("copy a descriptor", error))?;
    let log = exec.join("slirp.log");
    let output = std::fs::File::create(&log).map_err(|error| Error::file("make", &log, error))?;
    let mut command = Command::new(SLIRP);
    command.args(["--configure", "--mtu=65520", "--disable-host-loopback"]);
    command.arg("--api-socket").arg(exec.join("slirp.sock"));
    command.arg(format!("--ready-fd={}", said.as_raw_fd())).arg(format!("--exit-fd={}", leash.as_raw_fd()));
    command.arg(anchor.pid().to_string()).arg("tap0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    let leash_number = leash.as_raw_fd();
    let keep = move || {
        nix::unistd::setsid()?;
        // SAFETY: the number is that of a descriptor which the parent holds open until after the start.
        let leash = unsafe { std::os::fd::BorrowedFd::borrow_raw(leash_number) };
        rustix::io::fcntl_setfd(leash, rustix::io::FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: the two system calls touch nothing of another thread's.
    unsafe { command.pre_exec(keep) };
    match command.spawn() {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return note(&format!("{SLIRP} is not installed (package {SLIRP})"));
        }
        Err(error) => return Err(Error::kernel(format!("run {SLIRP}"), error)),
    }
    drop(said);
    let heard = std::fs::File::from(ready).read(&mut [0; 1]);
    if !matches!(heard, Ok(1)) {
        let reason = std::fs::read_to_string(&log).unwrap_or_default();
        let reason: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return note(&format!("{SLIRP}: {}", reason.join("; ")));
    }
    Ok(())
}

/// Ports of the real host, which slirp4netns listens on.
#[derive(Debug, Clone)]
pub struct Ports {
    socket: PathBuf,
    /// The identity of the network: another anchor has another one, and counts anew.
    network: u64,
}

/// A port that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LetIn {
    /// The identity of the network that it leads to.
    network: u64,
    /// Its number there.
    id: u64,
}

impl Ports {
    /// Lets what arrives at a port of the host arrive at the same port of the user's network.
    pub fn add(&self, protocol: Protocol, host: SocketAddr) -> Result<LetIn> {
        let (address, port) = (host.ip(), host.port());
        let answer = self.ask(&json!({
            "execute": "add_hostfwd",
            "arguments": {
                "proto": protocol.to_string(),
                "host_addr": address.to_string(),
                "host_port": port,
                "guest_addr": OWN_ADDRESS,
                "guest_port": port,
            }
        }))?;
        let let_in = |id| LetIn { network: self.network, id };
        answer["return"]["id"].as_u64().map(let_in).ok_or_else(|| {
            let hint = if port < 1024 {
                " (or ports below 1024 are root's: see the sysctl net.ipv4.ip_unprivileged_port_start)"
            } else {
                ""
            };
            Error::new(format!("Bind for {address}:{port} failed: port is already allocated{hint}"))
        })
    }

    /// Takes back what [`Ports::add`] has let in. With the network that it led to, it has ended already.
    pub fn remove(&self, LetIn { network, id }: LetIn) -> Result<()> {
        if network != self.network {
            return Ok(());
        }
        self.ask(&json!({ "execute": "remove_hostfwd", "arguments": { "id": id } })).map(drop)
    }

    /// One question, one answer, and the end of the connection.
    fn ask(&self, question: &Value) -> Result<Value> {
        let failed = |error| Error::file(&format!("ask {SLIRP} at"), &self.socket, error);
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.write_all(question.to_string().as_bytes()).map_err(failed)?;
        stream.shutdown(std::net::Shutdown::Write).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        serde_json::from_str(&answer)
            .map_err(|error| Error::new(format!("cannot read the answer of {SLIRP}: {error}")))
    }
}
