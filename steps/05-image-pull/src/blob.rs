//! One blob on its way from a registry: read once, and by that written to disk, hashed and handed on.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;

use overlay_layers::{Error as Layers, Hasher};

use crate::error::{Error, Result};
use crate::http::{io_reason, shown};
use crate::manifest::Descriptor;
use crate::progress::LayerState;
use crate::registry::{Incoming, Registry};

/// So many new bytes make earlier failures forgotten.
const PROGRESS: u64 = 64 << 10;
/// The piece in which bytes are read that nobody wants.
const PIECE: usize = 128 << 10;

/// A blob's bytes: first those that are already in the file, then those that come from the registry, which go into the
/// file too. Connections that break are made again, from the byte where they broke.
///
/// It gives exactly as many bytes as the descriptor promises: what a registry sends beyond is not read. Nothing it
/// gives is to be trusted until [`finish`](Self::finish) has compared the digest.
pub(crate) struct BlobReader<'a> {
    registry: &'a Registry,
    wanted: &'a Descriptor,
    file: &'a File,
    path: &'a Path,
    /// So many bytes were in the file at the start.
    on_disk: u64,
    /// So many bytes were given.
    position: u64,
    hasher: Hasher,
    incoming: Option<Incoming>,
    /// Failures in a row, and where the first of them was.
    failures: u32,
    failed_at: u64,
    give_up: &'a AtomicBool,
    tell: &'a dyn Fn(LayerState),
    /// What went wrong. A reader's errors are I/O errors, which have no room for it.
    error: Option<Error>,
}

impl<'a> BlobReader<'a> {
    /// `file` may hold the beginning of the blob. `give_up` ends the reading at the next piece; `tell` hears how it goes.
    pub(crate) fn new(
        registry: &'a Registry,
        wanted: &'a Descriptor,
        (file, path): (&'a File, &'a Path),
        give_up: &'a AtomicBool,
        tell: &'a dyn Fn(LayerState),
    ) -> Result<Self> {
        let length = file.metadata().map_err(Error::system("inspect", path))?.len();
        if length > 0 {
            tracing::info!("going on with {}: {length} of {} bytes are here", wanted.digest, wanted.size);
        }
        Ok(Self {
            registry,
            wanted,
            file,
            path,
            on_disk: length.min(wanted.size),
            position: 0,
            hasher: Hasher::new(),
            incoming: None,
            failures: 0,
            failed_at: 0,
            give_up,
            tell,
            error: None,
        })
    }

    /// Reads what is left, and compares the digest.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.next(&mut piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        let actual = self.hasher.finish();
        if actual != self.wanted.digest {
            return Err(Error::WrongDigest { what: "blob", expected: self.wanted.digest, actual });
        }
        Ok(())
    }

    /// Whether reading failed; then what the bytes were for must fail too, and this is why.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.give_up.load(Ordering::Relaxed) {
            return Err(Error::GivenUp);
        }
        let left = usize::try_from(self.wanted.size - self.position).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let buffer = &mut buffer[..room];
        if buffer.is_empty() {
            return Ok(0);
        }
        let length =
            if self.position < self.on_disk { self.read_disk(buffer)? } else { self.read_registry(buffer)? };
        self.hasher.update(&buffer[..length]);
        self.position += length as u64;
        (self.tell)(LayerState::Downloading { current: self.position, total: self.wanted.size });
        Ok(length)
    }

    fn read_disk(&self, buffer: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.on_disk - self.position).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        match self.file.read_at(&mut buffer[..room], self.position) {
            Ok(0) => Err(Error::Damaged {
                path: self.path.to_owned(),
                reason: "it became shorter while it was read".to_owned(),
            }),
            Ok(length) => Ok(length),
            Err(error) => Err(Error::system("read", self.path)(error)),
        }
    }

    fn read_registry(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.receive(buffer) {
                Ok(length) => {
                    self.file
                        .write_all_at(&buffer[..length], self.position)
                        .map_err(Error::system("write", self.path))?;
                    return Ok(length);
                }
                Err(error) => {
                    self.incoming = None;
                    if self.position >= self.failed_at + PROGRESS {
                        self.failures = 0;
                    }
                    if self.failures == 0 {
                        self.failed_at = self.position;
                    }
                    self.failures += 1;
                    let wait = self.registry.patience().wait_after(self.failures, error)?;
                    (self.tell)(LayerState::Retrying { wait });
                    sleep(wait);
                }
            }
        }
    }

    /// At least one byte from the connection, which is made if there is none.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut incoming = match self.incoming.take() {
            Some(incoming) => incoming,
            None => self.connect()?,
        };
        let (reason, transient) = match incoming.body.read(buffer) {
            Ok(0) => ("the server sent less than the blob's size".to_owned(), true),
            Ok(length) => {
                self.incoming = Some(incoming);
                return Ok(length);
            }
            Err(error) => io_reason(&error, &incoming.url),
        };
        Err(Error::Connection { url: shown(&incoming.url), reason, transient })
    }

    /// Asks for the bytes from where we are.
    fn connect(&self) -> Result<Incoming> {
        let mut incoming = match self.registry.blob(&self.wanted.digest, self.position) {
            // "Range Not Satisfiable": to the server the blob ends before here.
            Err(Error::Status { status, .. }) if status.starts_with("416") => {
                let what = format!("blob {}", self.wanted.digest);
                return Err(Error::WrongSize { what, expected: self.wanted.size, actual: self.position });
            }
            incoming => incoming?,
        };
        // A server that does not know ranges begins at the beginning: what is here already is read past.
        let excess = self.position.checked_sub(incoming.start).ok_or_else(|| Error::Connection {
            url: shown(&incoming.url),
            reason: format!(
                "asked for the bytes from {}, the server sent those from {}",
                self.position, incoming.start
            ),
            transient: false,
        })?;
        let skipped =
            io::copy(&mut incoming.body.as_mut().take(excess), &mut io::sink()).map_err(|error| {
                let (reason, transient) = io_reason(&error, &incoming.url);
                Error::Connection { url: shown(&incoming.url), reason, transient }
            })?;
        if skipped < excess {
            let what = format!("blob {}", self.wanted.digest);
            return Err(Error::WrongSize { what, expected: self.wanted.size, actual: skipped });
        }
        Ok(incoming)
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(|error| {
            let echo = io::Error::other(error.to_string());
            self.error = Some(error);
            echo
        })
    }
}

/// Whether what was downloaded is worthless after this error: not what was promised, or no layer at all. Other errors
/// (a connection, a full disk) leave a good beginning.
pub(crate) fn spoils(error: &Error) -> bool {
    match error {
        Error::WrongDigest { .. } | Error::WrongSize { .. } => true,
        Error::Layers(error) => !matches!(error, Layers::System { .. }),
        _ => false,
    }
}
