//! The files of cgroups: small texts, read and written whole.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Error, Result, errno};

/// Writes a value with one `write(2)`, which is how the kernel wants it: each call is one command.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Errno> {
    Writer::default().write(path, value)
}

/// Writes values one after another, and opens a file once if several go to it: device rules are a dozen.
#[derive(Default)]
pub(crate) struct Writer {
    open: Option<(PathBuf, File)>,
}

impl Writer {
    /// Writes a value with one `write(2)`.
    pub(crate) fn write(&mut self, path: &Path, value: &str) -> Result<(), Errno> {
        let (_, file) = match self.open.take() {
            Some((open, file)) if open == path => self.open.insert((open, file)),
            _ => {
                let file = OpenOptions::new().write(true).open(path).map_err(|error| errno(&error))?;
                self.open.insert((path.to_owned(), file))
            }
        };
        file.write_all(value.as_bytes()).map_err(|error| errno(&error))
    }
}

/// Reads a file; `None` if this kernel or this cgroup has no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => match errno(&error) {
            // ENODEV: the cgroup was removed after it was opened. EOPNOTSUPP: pressure that is switched off.
            Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP => Ok(None),
            _ => Err(Error::io("read", path)(error)),
        },
    }
}

/// A file that holds one number; `None` also for `max`.
pub(crate) fn number(path: &Path) -> Result<Option<u64>> {
    Ok(read(path)?.and_then(|text| text.trim().parse().ok()))
}

/// A value out of lines of `KEY VALUE`.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The cgroups directly below one.
pub(crate) fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let links = match fs::metadata(directory) {
        Err(error) if errno(&error) == Errno::ENOENT => return Ok(Vec::new()),
        metadata => metadata.map_err(Error::io("look at", directory))?.nlink(),
    };
    // Its own name, its `.`, and a `..` in each cgroup below: most have none, and need not list their thirty files.
    if links == 2 {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(Error::io("read the directory", directory))?;
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read the directory", directory))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

/// A cgroup and all those below it, each after those below it: the order of removal.
pub(crate) fn subtree(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        found.extend(children(&directory.clone())?);
        next += 1;
    }
    found.reverse();
    Ok(found)
}

/// Opens a cgroup's directory, or says that it is gone.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io("open the cgroup", path))
}
