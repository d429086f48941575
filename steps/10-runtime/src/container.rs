//! A container from its making to its removal, as the commands see it.

use std::fmt;
use std::path::{Path, PathBuf};

use cgroups::{Cgroup, Hierarchy};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, geteuid};
use pid_namespace::{Child, join};
use rustix::fs::{Mode, OFlags};
use user_namespace::UserNamespace;

use crate::config::{Config, Facts};
use crate::error::{Error, Result};
use crate::exec::Target;
use crate::hooks::{self, Hooks, Subject};
use crate::network::Network;
use crate::plan::Plan;
use crate::start::{Inputs, Streams, end, start};
use crate::state::{Folder, Held, Record, process};

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its making was cut short.
    Creating,
    /// It waits for its start.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container that is known, and held.
#[derive(Debug)]
pub struct Container {
    held: Held,
    /// What is written about it.
    pub record: Record,
    /// Its config; none if its making was cut short before it was kept.
    pub config: Option<Config>,
    hierarchy: Option<Hierarchy>,
}

/// How a container is to be made.
#[derive(Debug)]
pub struct Request {
    /// Its name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Whether `linux.cgroupsPath` is of systemd's form.
    pub systemd_cgroup: bool,
    /// How many descriptors from 3 on it gets.
    pub descriptors: u32,
    /// Whether it leaves the caller's session keyring.
    pub own_keyring: bool,
    /// Whether its root gets its place without `pivot_root`.
    pub no_pivot: bool,
    /// Whether it waits for its start. Otherwise it begins at once.
    pub waits: bool,
}

/// The host's control groups, for those who may use them.
fn hierarchy(mountinfo: &str) -> Result<Option<Hierarchy>> {
    if geteuid().is_root() { Ok(Some(Hierarchy::detect_in(mountinfo.as_bytes())?)) } else { Ok(None) }
}

impl Container {
    /// Makes a container, up to the point where it waits for its start, or has begun.
    ///
    /// # Errors
    /// What its config asks for and cannot be had; nothing is left then. With [`crate::own_program::AGAIN`], the same is
    /// to be asked of this binary when it is run through a read-only mount.
    pub fn create(
        folder: &Folder,
        request: &Request,
        streams: impl FnOnce(&Config) -> Result<Streams>,
    ) -> Result<(Self, Child)> {
        // Nearly all have one, so this need not wait for what the config says.
        let network = if geteuid().is_root() { Some(Network::begin()?) } else { None };
        let path = request.bundle.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| Error::file("read", &path, error))?;
        let config = Config::parse(&text)?;
        let network = match network {
            // Whether it could be made is of no interest then. But only who has a single thread may fork.
            Some(network) if !config.makes_network() => network.get().ok().and(None),
            network => network,
        };
        let mountinfo = chroot::mount::mountinfo()?;
        let hierarchy = hierarchy(&mountinfo)?;
        let record = Record {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            created: jiff::Timestamp::now().to_string(),
            owner: geteuid().as_raw(),
            systemd_cgroup: request.systemd_cgroup,
            ..Record::default()
        };
        let user_namespace = config
            .user_namespace()
            .map(|path| UserNamespace::at(path).map(|namespace| namespace.maps().clone()))
            .transpose()?;
        let facts = Facts {
            hierarchy: hierarchy.clone(),
            descriptors: request.descriptors,
            own_keyring: request.own_keyring,
            no_pivot: request.no_pivot,
            user_namespace,
            ..record.facts(mountinfo)
        };
        let plan = config.plan(&facts)?;
        let streams = streams(&config)?;
        let held = folder.create(&request.id)?;
        let mut container = Self { held, record, config: Some(config), hierarchy };
        let made = container.begin(&text, &plan, (streams, network), request.waits);
        match made {
            Ok(child) => {
                if !request.waits {
                    container.announce()?;
                }
                Ok((container, child))
            }
            Err(error) => {
                // What has failed is the reason; what cannot be tidied is found by the next who looks.
                if let Err(untidy) = container.remove() {
                    tracing::warn!("{untidy}");
                }
                Err(error)
            }
        }
    }

    fn begin(
        &mut self,
        config: &str,
        plan: &Plan,
        (streams, network): (Streams, Option<Network>),
        waits: bool,
    ) -> Result<Child> {
        if let Some(cgroup) = plan.cgroup.as_ref().filter(|cgroup| cgroup.exists())
            && !cgroup.processes()?.is_empty()
        {
            return Err(Error::new(
                "invalid config: linux.cgroupsPath: there are processes in that cgroup already",
            ));
        }
        self.held.keep_config(config)?;
        self.held.write(&self.record)?;
        let fifo = if waits { Some(self.held.make_fifo()?) } else { None };
        let inputs = Inputs { streams, joins: &[], network, shared_memory: None, program: None, fifo };
        let (child, ()) = start(plan, inputs, |_| Ok::<_, Error>(()))?;
        self.record.pid = child.pid().as_raw();
        let recorded = process(child.pid())
            .ok_or_else(|| Error::new("the container has ended before its start"))
            .and_then(|(_, start_time)| {
                self.record.start_time = start_time;
                self.held.write(&self.record)
            });
        if let Err(error) = recorded {
            end(&child)?;
            return Err(error);
        }
        Ok(child)
    }

    /// The container called `id`.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(folder: &Folder, id: &str) -> Result<Self> {
        Self::open_on(folder, id, hierarchy(&chroot::mount::mountinfo()?)?)
    }

    /// Lets others look at it, until the returned function takes hold of it again.
    pub fn let_go(self, folder: Folder) -> impl FnOnce() -> Result<Self> {
        let (id, hierarchy) = (self.record.id, self.hierarchy);
        drop(self.held);
        move || Self::open_on(&folder, &id, hierarchy)
    }

    fn open_on(folder: &Folder, id: &str, hierarchy: Option<Hierarchy>) -> Result<Self> {
        let held = folder.open(id)?;
        let record = held.record()?.unwrap_or_else(|| Record { id: id.to_owned(), ..Record::default() });
        let config = held.config()?.map(|text| Config::parse(&text)).transpose()?;
        Ok(Self { held, record, config, hierarchy })
    }

    /// What it is doing.
    pub fn status(&self) -> Result<Status> {
        if self.record.pid == 0 {
            return Ok(Status::Creating);
        }
        if !self.record.lives() {
            return Ok(Status::Stopped);
        }
        if self.held.waits() {
            return Ok(Status::Created);
        }
        let frozen = match self.cgroup()? {
            Some(cgroup) if cgroup.exists() => cgroup.frozen()?,
            _ => false,
        };
        Ok(if frozen { Status::Paused } else { Status::Running })
    }

    /// An error unless its status is one of `wanted`.
    pub fn require(&self, wanted: &[Status], attempt: &str) -> Result<()> {
        let status = self.status()?;
        if wanted.contains(&status) {
            return Ok(());
        }
        Err(Error::new(format!("cannot {attempt} container {}: it is {status}", self.record.id)))
    }

    /// Its cgroup, if it has one.
    pub fn cgroup(&self) -> Result<Option<Cgroup>> {
        match &self.config {
            Some(config) => config.cgroup(&self.facts()),
            None => Ok(None),
        }
    }

    /// Its cgroup.
    ///
    /// # Errors
    /// If it has none.
    pub fn require_cgroup(&self) -> Result<Cgroup> {
        self.cgroup()?.ok_or_else(|| Error::new(format!("container {} has no cgroup", self.record.id)))
    }

    fn facts(&self) -> Facts {
        Facts { hierarchy: self.hierarchy.clone(), ..self.record.facts(String::new()) }
    }

    /// What `state` and hooks say about it.
    pub fn subject(&self) -> Subject {
        self.config.as_ref().map_or_else(
            || Subject { id: self.record.id.clone(), ..Subject::default() },
            |config| config.subject(&self.facts()),
        )
    }

    fn hooks(&self) -> Result<Hooks> {
        self.config.as_ref().map_or(Ok(Hooks::default()), Config::hooks)
    }

    /// Lets it begin.
    pub fn start(&self) -> Result<()> {
        self.require(&[Status::Created], "start")?;
        self.held.begin()?;
        self.announce()
    }

    /// Runs the hooks that are to hear of its start.
    fn announce(&self) -> Result<()> {
        let state = self.subject().state("running", self.record.pid);
        hooks::run_all("poststart", &self.hooks()?.poststart, &state);
        Ok(())
    }

    /// Sends its first process a signal, or with `all`, every process of its cgroup.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        if all {
            return self.kill_all(signal);
        }
        self.require(&[Status::Created, Status::Running, Status::Paused], "kill")?;
        let process = join::open(Pid::from_raw(self.record.pid))?;
        // The number has meant the container's process before the descriptor was opened, and does so still.
        if !self.record.lives() {
            return Err(Error::new(format!("cannot kill container {}: it is stopped", self.record.id)));
        }
        send(&process, signal)?;
        // What is frozen does not die before it thaws (kernel: cgroup-v1/freezer-subsystem.rst).
        if signal == Signal::SIGKILL as i32 && self.status()? == Status::Paused {
            self.require_cgroup()?.thaw()?;
        }
        Ok(())
    }

    fn kill_all(&self, signal: i32) -> Result<()> {
        let cgroup = self.require_cgroup()?;
        if signal == Signal::SIGKILL as i32 {
            return Ok(cgroup.kill()?);
        }
        for pid in cgroup.processes()? {
            // SAFETY: kill takes no memory. By number, since real-time signals have no name.
            match Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }) {
                Ok(_) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(Error::kernel(format!("send a signal to process {pid}"), errno)),
            }
        }
        Ok(())
    }

    /// Removes it. With `force`, whatever still runs is killed.
    pub fn delete(self, force: bool) -> Result<()> {
        if !force {
            self.require(&[Status::Stopped], "delete")?;
        }
        let (hooks, subject) = (self.hooks()?, self.subject());
        self.remove()?;
        hooks::run_all("poststop", &hooks.poststop, &subject.state("stopped", 0));
        Ok(())
    }

    fn remove(self) -> Result<()> {
        if self.record.lives() {
            send(&join::open(Pid::from_raw(self.record.pid))?, Signal::SIGKILL as i32)?;
        }
        if let Some(cgroup) = self.cgroup()?.filter(Cgroup::exists) {
            cgroup.kill()?;
            cgroup.remove()?;
        }
        self.held.remove()
    }

    /// Where one more process of it goes.
    pub fn target(&self) -> Result<Target> {
        let state = self.subject().state(&self.status()?.to_string(), self.record.pid);
        Target::find(Pid::from_raw(self.record.pid), self.cgroup()?, state)
    }
}

fn send(process: &std::os::fd::OwnedFd, signal: i32) -> Result<()> {
    use std::os::fd::AsRawFd;
    let information: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: no memory is passed but a null `siginfo_t`, which stands for that of kill(2).
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, information, 0) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::kernel("send a signal to the container", errno)),
    }
}

/// The socket that a terminal is sent through.
///
/// # Errors
/// If nobody listens there.
pub fn console(path: &Path) -> Result<std::os::unix::net::UnixStream> {
    std::os::unix::net::UnixStream::connect(path)
        .map_err(|error| Error::file("connect to the console socket", path, error))
}

/// An error unless descriptors 3 and on, `count` of them, are open.
pub fn check_descriptors(count: u32) -> Result<()> {
    for number in 3..3_u32.saturating_add(count) {
        let path = format!("/proc/self/fd/{number}");
        if let Err(errno) =
            rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        {
            return Err(Error::kernel(format!("hand over descriptor {number}"), errno));
        }
    }
    Ok(())
}
