//! What is known about a container between two commands.
//!
//! A container is a folder `ROOT/ID`, with a lock for whoever changes something, `config.json` as it was when the
//! container was made, `state.json`, and until the start, the fifo that the container waits at. The state is written
//! before the container is there, and once more when it is: whatever moment a `kill -9` hits, its cgroup is known.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::config::Facts;
use crate::error::{Error, Result};

/// The longest name of a container, in bytes: it is a file's name.
const MAX_ID: usize = 255;

/// Where containers are known.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// A container's folder, held: nobody else changes it.
#[derive(Debug)]
pub struct Held {
    directory: PathBuf,
    _lock: Flock<File>,
}

/// What is written about a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub id: String,
    /// Its first process, or 0 while there is none.
    pub pid: i32,
    /// When that started, in clock ticks since the host's start: with it, the number cannot mean another process.
    pub start_time: u64,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Who made it: a user's number.
    pub owner: u32,
    /// Whether its `linux.cgroupsPath` is of systemd's form.
    pub systemd_cgroup: bool,
}

impl Folder {
    /// The folder at `path`, which need not be there yet.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes a new container's folder.
    ///
    /// # Errors
    /// Names that are none, and those that are taken.
    pub fn create(&self, id: &str) -> Result<Held> {
        check(id)?;
        let failed = |path: &Path, error| Error::file("make", path, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| failed(&self.0, error))?;
        let directory = self.0.join(id);
        DirBuilder::new().mode(0o711).create(&directory).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::new(format!("container {id} already exists")),
            _ => failed(&directory, error),
        })?;
        hold(directory)?.ok_or_else(|| Error::new(format!("container {id} was removed while it was made")))
    }

    /// Holds a container's folder.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(&self, id: &str) -> Result<Held> {
        check(id)?;
        hold(self.0.join(id))?.ok_or_else(|| Error::new(format!("container {id} does not exist")))
    }

    /// The names of all containers, sorted.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn list(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Error::file("read the directory", &self.0, error))?,
        };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }
}

/// A name becomes a part of paths.
fn check(id: &str) -> Result<()> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(plain) {
        return Err(Error::new(format!("invalid container id {id:?}: use letters, digits and _ + - .")));
    }
    Ok(())
}

/// Waits for the lock of a container's folder; `None` if the folder is gone by then, or another of that name.
fn hold(directory: PathBuf) -> Result<Option<Held>> {
    let path = directory.join("lock");
    let file = match File::create(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file.map_err(|error| Error::file("make", &path, error))?,
    };
    let lock =
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| Error::file("lock", &path, errno))?;
    let identity = |metadata: std::io::Result<Metadata>| metadata.map(|file| (file.dev(), file.ino())).ok();
    let is_still = identity(lock.metadata()) == identity(fs::metadata(&path));
    Ok(is_still.then_some(Held { directory, _lock: lock }))
}

impl Held {
    /// Writes the record.
    pub fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_string(record).expect("texts and numbers are always JSON");
        self.replace("state.json", &text)
    }

    /// Keeps the config as it is now.
    pub fn keep_config(&self, text: &str) -> Result<()> {
        self.replace("config.json", text)
    }

    /// The record; none if the container's making was cut short before there was one.
    pub fn record(&self) -> Result<Option<Record>> {
        let Some(text) = self.read("state.json")? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Error::new(format!("{}/state.json is not what was written: {error}", self.directory.display()))
        })
    }

    /// The config.
    pub fn config(&self) -> Result<Option<String>> {
        self.read("config.json")
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.directory.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    fn replace(&self, name: &str, text: &str) -> Result<()> {
        let (new, path) = (self.directory.join(format!(".{name}")), self.directory.join(name));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            // Below /run nothing outlives a power cut: no sync.
            fs::rename(&new, &path)
        };
        write().map_err(|error| Error::file("write", &path, error))
    }

    fn fifo(&self) -> PathBuf {
        self.directory.join("exec.fifo")
    }

    /// Makes the fifo that the container waits at, and opens it for the container.
    pub fn make_fifo(&self) -> Result<OwnedFd> {
        let path = self.fifo();
        let failed = |errno| Error::file("make the fifo", &path, errno);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::file("make the fifo", &path, errno))?;
        // For both, so that opening does not wait, and reading never ends for want of a writer.
        rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
    }

    /// Whether the container has not been told to begin.
    pub fn waits(&self) -> bool {
        fs::metadata(self.fifo()).is_ok_and(|metadata| metadata.file_type().is_fifo())
    }

    /// Tells the container to begin.
    pub fn begin(&self) -> Result<()> {
        let path = self.fifo();
        let fifo =
            rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| match errno {
                    rustix::io::Errno::NXIO => Error::new("the container has ended before its start"),
                    errno => Error::file("open", &path, errno),
                })?;
        rustix::io::write(&fifo, &[1]).map_err(|errno| Error::file("write to", &path, errno))?;
        fs::remove_file(&path).map_err(|error| Error::file("remove", &path, error))
    }

    /// Removes all that is known about the container.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory).map_err(|error| Error::file("remove", &self.directory, error))
    }
}

impl Record {
    /// What a config is read with, apart from what is the host's.
    pub fn facts(&self, mountinfo: String) -> Facts {
        Facts {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            mountinfo,
            hierarchy: None,
            systemd_cgroup: self.systemd_cgroup,
            descriptors: 0,
            own_keyring: true,
            no_pivot: false,
            user_namespace: None,
        }
    }

    /// Whether its first process is there. A zombie has ended.
    pub fn lives(&self) -> bool {
        self.pid > 0
            && process(Pid::from_raw(self.pid))
                .is_some_and(|(state, start)| !matches!(state, 'Z' | 'X') && start == self.start_time)
    }
}

/// A process's state and start time (`proc_pid_stat(5)`: 3 and 22).
pub(crate) fn process(pid: Pid) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}
