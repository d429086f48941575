//! Where events are written to and read from.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::Event;
use crate::error::{Error, Result};
use crate::files;
use crate::rotated::{self, Lines};

/// Bytes after which the journal is put aside: some thousand events. There are two such files at most.
const MAX_SIZE: u64 = 1 << 20;
const MAX_FILE: u32 = 2;

/// The journal of one data folder.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// That of `data`. Nothing is made before something happens.
    pub fn of(data: &Path) -> Self {
        Self { path: data.join("events").join("journal") }
    }

    /// Adds events. That this is not possible is no reason not to do what they are about.
    pub fn record(&self, events: &[Event]) {
        if let Err(error) = self.append(events) {
            tracing::info!("an event is not recorded in {}: {error}", self.path.display());
        }
    }

    fn append(&self, events: &[Event]) -> Result<()> {
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, event).expect("an event has text keys only");
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        let failed = |error| Error::file("write", &self.path, error);
        loop {
            let mut file = self.open()?;
            // Until the file is closed: others must not put it aside meanwhile, nor come between our look and our write.
            file.lock().map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            match std::fs::metadata(&self.path) {
                Ok(named) if (named.dev(), named.ino()) == (metadata.dev(), metadata.ino()) => {}
                _ => continue,
            }
            if metadata.len() >= MAX_SIZE {
                let fresh = self.path.with_extension("new");
                File::create(&fresh)
                    .and_then(|_| rotated::rotate(&self.path, &fresh, MAX_FILE))
                    .map_err(failed)?;
                continue;
            }
            // What a power cut left of a line is that line's loss only.
            let mut last = [b'\n'];
            if metadata.len() > 0 {
                file.read_exact_at(&mut last, metadata.len() - 1).map_err(failed)?;
            }
            if last != [b'\n'] {
                text.insert(0, b'\n');
            }
            return file.write_all(&text).map_err(failed);
        }
    }

    fn open(&self) -> Result<File> {
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o640);
        match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                files::make_dir(self.directory(), true)?;
                options.open(&self.path).map_err(|error| Error::file("open", &self.path, error))
            }
            opened => opened.map_err(|error| Error::file("open", &self.path, error)),
        }
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("the journal is in a directory")
    }

    /// Reads the events that are there, and those that come.
    pub fn follow(&self) -> Result<Follower> {
        let failed = |errno| Error::file("watch", self.directory(), errno);
        files::make_dir(self.directory(), true)?;
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, self.directory(), changes).map_err(failed)?;
        Ok(Follower { path: self.path.clone(), watch, lines: None })
    }
}

/// Somebody who reads the journal as it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    watch: OwnedFd,
    /// `None` as long as there is no journal.
    lines: Option<Lines>,
}

impl Follower {
    /// The next event, or `None` where there is no more for now.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            if self.lines.is_none() {
                self.lines = Lines::open(&self.path)?;
            }
            let Some(lines) = &mut self.lines else { return Ok(None) };
            let Some(line) = lines.next_line()? else { return Ok(None) };
            // What cannot be read was cut off by a crash.
            if let Ok(event) = serde_json::from_slice(&line) {
                return Ok(Some(event));
            }
        }
    }

    /// Waits until something is written, for `patience` at most.
    pub fn wait(&self, patience: Option<Duration>) -> Result<()> {
        // Rounded up, so that the last round does not spin; one that is too long is followed by another.
        let timeout = patience.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis() as i64 + 1).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Error::kernel("wait for events", errno)),
        }
        // What exactly has changed does not matter.
        let mut changes = [0; 4096];
        loop {
            match rustix::io::read(&self.watch, &mut changes) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(Error::kernel("read what has changed", errno)),
            }
        }
    }
}
