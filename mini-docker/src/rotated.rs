//! Files of lines that are put aside when they are full: `NAME`, which grows, then `NAME.1`, and so on to the oldest.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The name of the file at `path` when it has been put aside `number` times.
fn aside(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Puts the file at `path` aside, the oldest away, and `fresh` in its place. A reader that is in one of them keeps it, and
/// sees by the name that it is another's.
pub fn rotate(path: &Path, fresh: &Path, max_file: u32) -> std::io::Result<()> {
    for number in (1..max_file).rev() {
        match fs::rename(aside(path, number - 1), aside(path, number)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(fresh, path)
}

/// Reads such files, from the oldest to the one that grows.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// Newer files, the last of them the one that grows.
    next: VecDeque<File>,
    /// The beginning of a line whose end was not written yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Reads from the beginning of the oldest; `None` if there is no file.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let mut files = generations(path)?;
        Ok(files.pop_front().map(|oldest| Self {
            path: path.to_owned(),
            file: BufReader::new(oldest),
            next: files,
            partial: Vec::new(),
        }))
    }

    /// The next line with its end, or `None` where there is no more for now.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.line_here()? {
                return Ok(Some(line));
            }
            // What is put aside is not written to any more; but it may have been after our last look.
            if self.next.is_empty()
                && self.find_newer()?
                && let Some(line) = self.line_here()?
            {
                return Ok(Some(line));
            }
            let Some(next) = self.next.pop_front() else { return Ok(None) };
            // An unfinished line there, which only a crash leaves, will not be finished.
            self.partial.clear();
            self.file = BufReader::new(next);
        }
    }

    fn line_here(&mut self) -> Result<Option<Vec<u8>>> {
        let read = self.file.read_until(b'\n', &mut self.partial);
        read.map_err(|error| Error::file("read", &self.path, error))?;
        let is_whole = self.partial.last() == Some(&b'\n');
        Ok(is_whole.then(|| std::mem::take(&mut self.partial)))
    }

    /// Looks for files newer than the one that is read; whether there are any.
    fn find_newer(&mut self) -> Result<bool> {
        let mut files = generations(&self.path)?;
        let failed = |error| Error::file("look at", &self.path, error);
        let own = identity(self.file.get_ref()).map_err(failed)?;
        let mut place = None;
        for (index, file) in files.iter().enumerate() {
            if identity(file).map_err(failed)? == own {
                place = Some(index);
            }
        }
        // One that is there no more was older than all that are.
        self.next = files.split_off(place.map_or(0, |place| place + 1));
        Ok(!self.next.is_empty())
    }
}

/// The files, oldest first.
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
