//! Files that are there whole or not at all, and locks that end with their holder.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Makes a directory and those above it, for root's eyes only: images may hold secrets and set-uid programs.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::system("make the directory", path))
}

/// How the names of files end that [`replace`] has not finished.
pub(crate) const TEMPORARY: &str = "new";

/// Puts `content` at `path`. Whenever the process or the machine stops, what is there is the old or the new content.
///
/// The caller holds a lock that covers `path`: two writers would share the temporary file.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension(TEMPORARY);
    let mut file = File::create(&temporary).map_err(Error::system("create", &temporary))?;
    file.write_all(content).map_err(Error::system("write", &temporary))?;
    settle(&file, &temporary, path)
}

/// Makes a finished file durable and gives it its final name.
///
/// Without the first fsync the name could survive a power cut and the content not; without the second, the name
/// could be lost although we went on (rename(2), fsync(2)).
pub(crate) fn settle(file: &File, temporary: &Path, path: &Path) -> Result<()> {
    file.sync_all().map_err(Error::system("flush", temporary))?;
    std::fs::rename(temporary, path).map_err(Error::system("rename into place", temporary))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::system("flush", directory))
}

/// Removes a file. One that is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// An open file with a lock of ours (flock(2)). The kernel ends the lock with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Flock(File);

impl Drop for Flock {
    fn drop(&mut self) {
        // Closing would do, but for children: one that another thread has just forked has the same open file until it
        // executes its program. Unlocking ends the lock for all of them.
        let unlocked = rustix::fs::flock(&self.0, FlockOperation::Unlock);
        debug_assert!(unlocked.is_ok(), "unlocking a file that is open cannot fail");
    }
}

/// A file under a lock that nobody else has.
#[derive(Debug)]
pub(crate) struct Locked {
    lock: Flock,
    path: PathBuf,
}

impl Locked {
    /// Locks the file, and makes it if it is missing. Calls `waiting` once before it waits for another holder.
    pub(crate) fn exclusive(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let mut waiting = Some(waiting);
        loop {
            let file = open(path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    flock(&file, path, FlockOperation::LockExclusive)?;
                }
                result => result.map_err(Error::system("lock", path))?,
            }
            // While we waited, the holder may have renamed or removed the file; then we hold the lock of nothing.
            let ours = file.metadata().map_err(Error::system("inspect", path))?;
            if std::fs::metadata(path).is_ok_and(|there| there.ino() == ours.ino()) {
                return Ok(Self { lock: Flock(file), path: path.to_owned() });
            }
        }
    }

    /// The file, open for reading and writing.
    pub(crate) fn file(&self) -> &File {
        &self.lock.0
    }

    /// Removes the file and gives up its lock.
    pub(crate) fn remove(self) -> Result<()> {
        remove(&self.path)
    }
}

/// A lock on something that has no file of its own: the file is there only while somebody holds or wants it.
#[derive(Debug)]
pub(crate) struct Token(Locked);

impl Token {
    /// Takes the lock. Calls `waiting` once before it waits for another holder.
    pub(crate) fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        Locked::exclusive(path, waiting).map(Self)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // Removed before it is unlocked, so that who waits for it sees that it holds the lock of nothing. An empty file
        // that cannot be removed does no harm: the next holder will try again.
        drop(std::fs::remove_file(&self.0.path));
    }
}

/// Locks a file that is never removed, together with others who do the same.
pub(crate) fn lock_shared(path: &Path) -> Result<Flock> {
    let file = open(path)?;
    flock(&file, path, FlockOperation::LockShared)?;
    Ok(Flock(file))
}

/// Removes a file, unless somebody holds its lock.
pub(crate) fn remove_unlocked(path: &Path) -> Result<()> {
    match try_lock_exclusive(path)? {
        Some(_lock) => remove(path),
        None => Ok(()),
    }
}

/// Locks a file if nobody else has.
pub(crate) fn try_lock_exclusive(path: &Path) -> Result<Option<Flock>> {
    let file = open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Flock(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::system("lock", path)(error)),
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::system("open", path))
}

fn flock(file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Error::system("lock", path)),
        }
    }
}
