//! Files that survive a power cut, and locks that end with their holder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Whether a write must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk when the call returns.
    Durable,
    /// It may be lost with the power: for what a reboot makes meaningless anyway.
    Fleeting,
}

/// Writes `value` to `path` as JSON, so that a reader sees the old text or the new one and never a part.
pub fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value).expect("the engine's records have text keys only");
    json.push(b'\n');
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&json)?;
        if durability == Durability::Durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match (durability, path.parent()) {
            // The new name is the directory's to keep.
            (Durability::Durable, Some(directory)) => File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    };
    let written = write().or_else(|error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            // An empty one may stand in the way of a disk that counts files.
            fs::remove_file(&temporary)?;
            overwrite(path, &json).map_err(|_| error)
        }
        _ => Err(error),
    });
    written.map_err(|error| Error::file("write", path, error))
}

/// Writes `json` in the place of what is in the file at `path`, for a disk that is full: the file has its block. In one
/// write, padded to the old length, so that a reader finds nothing of the old text.
fn overwrite(path: &Path, json: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let old = file.metadata()?.len() as usize;
    let mut text = json.to_vec();
    text.resize(old.max(json.len()), b'\n');
    file.write_all(&text)?;
    file.sync_all()
}

/// Reads the JSON at `path`; `None` if there is no such file, or an empty one: that is what a power cut can make of
/// a [`Durability::Fleeting`] write.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path, error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))
}

/// Removes a file, or a directory with all that is in it. That it is not there is no error. A link is removed, and not
/// what it leads to.
pub fn remove(path: &Path) -> Result<()> {
    let is_directory = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("look at", path, error)),
    };
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is in it.
pub fn remove_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Error::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes a directory and those above it, for root's eyes only where `private`.
pub fn make_dir(path: &Path, private: bool) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = if private { 0o700 } else { 0o755 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| Error::file("make", path, error))
}

/// A lock on a file (`flock(2)`). The kernel releases it when the last copy of the descriptor is closed, also
/// when its holder is killed: a lock that is held has a living holder.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Makes the file at `path` if it is missing, and waits for the exclusive lock on it.
    pub fn create(path: &Path) -> Result<Self> {
        let lock = Self::take(path, OFlags::CREATE, FlockOperation::LockExclusive)?;
        lock.ok_or_else(|| Error::file("lock", path, rustix::io::Errno::NOENT))
    }

    /// Waits for the exclusive lock on the file at `path`; `None` if there is no such file.
    pub fn exclusive(path: &Path) -> Result<Option<Self>> {
        Self::take(path, OFlags::empty(), FlockOperation::LockExclusive)
    }

    /// The exclusive lock on the file at `path`; `None` if somebody holds it, or there is no such file.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::take(path, OFlags::empty(), FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether somebody holds the exclusive lock on the file at `path`.
    pub fn is_held(path: &Path) -> Result<bool> {
        let free = Self::take(path, OFlags::empty(), FlockOperation::NonBlockingLockShared)?.is_some();
        // What cannot be locked is held, unless it is not there.
        Ok(!free && path.exists())
    }

    fn take(path: &Path, make: OFlags, operation: FlockOperation) -> Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | make;
        let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::file("open", path, errno)),
        };
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::file("lock", path, errno)),
            }
        }
    }

    /// Whether `path` is still the file that is locked: its holder may have removed it while we waited.
    pub fn is_still(&self, path: &Path) -> bool {
        match (rustix::fs::fstat(&self.0), rustix::fs::stat(path)) {
            (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino),
            _ => false,
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
