//! Writes a container's output.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Driver, Entry, Settings, Stream, now};
use crate::error::{Error, Result};
use crate::rotated;

/// A line longer than this many bytes becomes several entries, all but the last without a line end, as with Docker.
const MAX_LINE: usize = 16 * 1024;

/// Writes a container's output.
#[derive(Debug)]
pub struct Writer {
    /// Where to; `None` where nothing is kept.
    file: Option<LogFile>,
    settings: Settings,
    /// Unfinished lines of the two outputs.
    pending: [Vec<u8>; 2],
}

/// The file that is written to now.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    size: u64,
}

impl Writer {
    /// Appends to the file at `path`, making it if missing.
    pub fn open(path: &Path, settings: Settings) -> Result<Self> {
        let file = match settings.driver {
            Driver::JsonFile => Some(LogFile::open(path).map_err(|error| Error::file("open", path, error))?),
            Driver::None => None,
        };
        Ok(Self { file, settings, pending: [Vec::new(), Vec::new()] })
    }

    /// Adds `bytes` that a container wrote to `stream` now.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let pending = &mut self.pending[stream as usize];
        let mut text = Vec::new();
        let time = now();
        for &byte in bytes {
            pending.push(byte);
            if byte == b'\n' || pending.len() == MAX_LINE {
                add_entry(&mut text, &self.settings, stream, pending, &time);
                pending.clear();
                if self.settings.rotation.max_size.is_some() {
                    file.append(&text, &self.settings)?;
                    text.clear();
                }
            }
        }
        file.append(&text, &self.settings)
    }

    /// Writes what is left of unfinished lines: the container has ended.
    pub fn finish(&mut self) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                let mut text = Vec::new();
                add_entry(&mut text, &self.settings, stream, &pending, &now());
                file.append(&text, &self.settings)?;
            }
        }
        Ok(())
    }
}

impl LogFile {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o640).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size })
    }

    /// Adds whole entries. If there is no room for all of them, none is added: half a line would spoil the next.
    fn append(&mut self, text: &[u8], settings: &Settings) -> std::io::Result<()> {
        if settings.rotation.max_size.is_some_and(|max| self.size >= max) && !text.is_empty() {
            self.rotate(settings.rotation.max_file)?;
        }
        self.file.write_all(text).or_else(|error| {
            self.file.set_len(self.size)?;
            Err(error)
        })?;
        self.size += text.len() as u64;
        Ok(())
    }

    /// Puts the full file aside, and begins a new one.
    fn rotate(&mut self, max_file: u32) -> std::io::Result<()> {
        // First, so that a disk without room for it leaves everything as it is.
        let fresh = self.path.with_extension("new");
        let mut next = Self::open(&fresh)?;
        rotated::rotate(&self.path, &fresh, max_file)?;
        next.path.clone_from(&self.path);
        *self = next;
        Ok(())
    }
}

fn add_entry(text: &mut Vec<u8>, settings: &Settings, stream: Stream, line: &[u8], time: &str) {
    let log = String::from_utf8_lossy(line).into_owned();
    let entry = Entry { log, stream, attrs: settings.attrs.clone(), time: time.to_owned() };
    serde_json::to_writer(&mut *text, &entry).expect("strings are JSON");
    text.push(b'\n');
}
