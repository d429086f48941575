//! Reads a container's output, from the oldest file that is kept to the one that still grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Entry, aside};
use crate::error::{Error, Result};

/// Reads a container's output as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Newer files, the last of them the one that grows.
    next: VecDeque<File>,
    /// The beginning of a line whose end was not written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Reads the log at `path` from its beginning; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let mut files = generations(path)?;
        Ok(files.pop_front().map(|oldest| Self {
            path: path.to_owned(),
            file: BufReader::new(oldest),
            next: files,
            partial: Vec::new(),
        }))
    }

    /// The next entry, or `None` where the log ends for now.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(line) = self.next_line()? {
                return serde_json::from_slice(&line).map(Some).map_err(|error| self.failed(&error));
            }
            // What is put aside is not written to any more; but it may have been after our last look.
            let put_aside = self.next.is_empty() && self.find_newer()?;
            if put_aside && let Some(line) = self.next_line()? {
                return serde_json::from_slice(&line).map(Some).map_err(|error| self.failed(&error));
            }
            let Some(next) = self.next.pop_front() else { return Ok(None) };
            // An unfinished line there, which only a crash leaves, will not be finished.
            self.partial.clear();
            self.file = BufReader::new(next);
        }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let read = self.file.read_until(b'\n', &mut self.partial);
        read.map_err(|error| self.failed(&error))?;
        let is_whole = self.partial.last() == Some(&b'\n');
        Ok(is_whole.then(|| std::mem::take(&mut self.partial)))
    }

    /// Looks for files newer than the one that is read; whether there are any.
    fn find_newer(&mut self) -> Result<bool> {
        let mut files = generations(&self.path)?;
        let own = identity(self.file.get_ref()).map_err(|error| self.failed(&error))?;
        let mut place = None;
        for (index, file) in files.iter().enumerate() {
            if identity(file).map_err(|error| self.failed(&error))? == own {
                place = Some(index);
            }
        }
        // One that is there no more was older than all that are.
        self.next = files.split_off(place.map_or(0, |place| place + 1));
        Ok(!self.next.is_empty())
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::new(format!("cannot read the log {}: {error}", self.path.display()))
    }
}

/// The files of a log, oldest first.
fn generations(path: &Path) -> Result<VecDeque<File>> {
    let failed = |error| Error::file("read", path, error);
    loop {
        let mut files = VecDeque::new();
        let mut seen = Vec::new();
        let (mut number, mut missing) = (0, 0);
        // While they are put aside, or after a crash then, one name in between has no file.
        while missing < 2 {
            missing += 1;
            if let Some(file) = open(&aside(path, number))? {
                missing = 0;
                let identity = identity(&file).map_err(failed)?;
                // It may have been given the next name between our two looks.
                if !seen.contains(&identity) {
                    seen.push(identity);
                    files.push_front(file);
                }
            }
            number += 1;
        }
        // If the newest is still the newest, the others are those before it.
        let newest = open(path)?.map_or_else(|| open(&aside(path, 1)), |file| Ok(Some(file)))?;
        if newest.as_ref().map(identity).transpose().map_err(failed)? == seen.first().copied() {
            return Ok(files);
        }
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

/// Which file it is, whatever its name.
fn identity(file: &File) -> std::io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
