//! A container's output on the disk: Docker's `json-file` lines.
//!
//! ```text
//! {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A line longer than this many bytes becomes several entries, all but the last without a line end, as with Docker.
const MAX_LINE: usize = 16 * 1024;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The text with its line end. What was not UTF-8 is replaced.
    pub log: String,
    /// Where it was written to.
    pub stream: Stream,
    /// When, RFC 3339 in UTC.
    pub time: String,
}

/// Writes a container's output.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// Unfinished lines of the two outputs.
    pending: [Vec<u8>; 2],
}

impl Writer {
    /// Appends to the file at `path`, making it if missing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)
            .map_err(|error| Error::file("open", path, error))?;
        Ok(Self { file, pending: [Vec::new(), Vec::new()] })
    }

    /// Adds `bytes` that a container wrote to `stream` now.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        let pending = &mut self.pending[stream as usize];
        let mut text = Vec::new();
        let time = now();
        for &byte in bytes {
            pending.push(byte);
            if byte == b'\n' || pending.len() == MAX_LINE {
                add_entry(&mut text, stream, pending, &time);
                pending.clear();
            }
        }
        self.append(&text)
    }

    /// Adds whole lines. If there is no room for all of them, none is added: half a line would spoil the next.
    fn append(&mut self, text: &[u8]) -> std::io::Result<()> {
        let before = self.file.metadata()?.len();
        self.file.write_all(text).or_else(|error| {
            self.file.set_len(before)?;
            Err(error)
        })
    }

    /// Writes what is left of unfinished lines: the container has ended.
    pub fn finish(&mut self) -> std::io::Result<()> {
        let mut text = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                add_entry(&mut text, stream, &pending, &now());
            }
        }
        self.append(&text)
    }
}

fn add_entry(text: &mut Vec<u8>, stream: Stream, line: &[u8], time: &str) {
    let entry = Entry { log: String::from_utf8_lossy(line).into_owned(), stream, time: time.to_owned() };
    serde_json::to_writer(&mut *text, &entry).expect("three strings are JSON");
    text.push(b'\n');
}

/// This moment as Docker writes it: RFC 3339 in UTC, with nanoseconds.
pub fn now() -> String {
    format!("{:.9}", Timestamp::now())
}

/// Reads a container's output as it grows.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    /// The beginning of a line whose end was not written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Reads the file at `path` from its beginning.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::file("read", path, error))?;
        Ok(Self { file: BufReader::new(file), partial: Vec::new() })
    }

    /// The next entry, or `None` where the file ends for now.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.file
            .read_until(b'\n', &mut self.partial)
            .map_err(|error| Error::new(format!("cannot read the log: {error}")))?;
        if self.partial.last() != Some(&b'\n') {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.partial);
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| Error::new(format!("cannot read the log: {error}")))
    }
}
