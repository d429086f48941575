//! From a compressed stream to a directory, with the two halves of the work side by side.
//!
//! Inflating and hashing keep one processor busy, making files another. The calling thread does the first and hands
//! the uncompressed bytes over a bounded channel; memory stays at a few buffers whatever the layer's size. For a Debian
//! root of 165 MB in gzip on two processors: 0.41 s and 0.15 s one after the other, 0.36 s side by side.

use std::io::{self, BufRead, Read};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::compression::{Compression, Decoder};
use crate::digest::{DiffId, Hasher};
use crate::error::{Error, Result};
use crate::tree::Marks;
use crate::unpack::{Contents, unpack};

/// Uncompressed bytes travel in buffers of this size.
const BUFFER: usize = 256 * 1024;
/// So many of them may be under way.
const BUFFERS: usize = 8;

/// A layer that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the uncompressed stream.
    pub diff_id: DiffId,
    /// Bytes that its files hold, counted once an inode.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub tar_size: u64,
    /// What the stream was compressed with.
    pub compression: Compression,
    /// Directories that the archive has no member for; see [`Contents::implied`].
    pub implied: Vec<std::path::PathBuf>,
}

/// Inflates, hashes and unpacks a layer of at most `max` bytes of tar.
pub(crate) fn run(directory: BorrowedFd<'_>, stream: impl Read, marks: Marks, max: u64) -> Result<Unpacked> {
    let mut stream = Decoder::new(stream)?;
    let (full, incoming) = sync_channel(BUFFERS);
    let (recycle, empty) = channel();
    std::thread::scope(|scope| {
        let unpacker = scope.spawn(move || {
            unpack(directory, Incoming { buffers: incoming, recycle, current: Vec::new(), at: 0 }, marks)
        });
        let hashed = feed(&mut stream, max, &full, &empty);
        // The unpacker sees the end of the stream when the channel closes.
        drop(full);
        let contents = unpacker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the stream broke off, the unpacker's complaint about a short archive is only its echo.
        let (diff_id, tar_size) = hashed?;
        let Contents { size, implied, .. } = contents?;
        Ok(Unpacked { diff_id, size, tar_size, compression: stream.compression(), implied })
    })
}

/// Reads the stream to its end, hashes it and passes it on.
fn feed(
    stream: &mut impl Read,
    max: u64,
    full: &SyncSender<Vec<u8>>,
    empty: &Receiver<Vec<u8>>,
) -> Result<(DiffId, u64)> {
    let mut hasher = Hasher::new();
    let mut total = 0;
    loop {
        let mut buffer = empty.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        let length = read_full(stream, &mut buffer).map_err(|e| Error::stream(&e))?;
        if length == 0 {
            return Ok((DiffId(hasher.finish()), total));
        }
        total += length as u64;
        if total > max {
            return Err(Error::TooLarge { limit: max });
        }
        buffer.truncate(length);
        hasher.update(&buffer);
        if full.send(buffer).is_err() {
            // The unpacker has given up, and its error is the one to report.
            return Ok((DiffId(hasher.finish()), total));
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn read_full(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// The unpacker's end of the channel.
struct Incoming {
    buffers: Receiver<Vec<u8>>,
    recycle: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            // A closed channel is the end of the stream; the feeder has the reason if it came too early.
            let next = self.buffers.recv().unwrap_or_default();
            let used = std::mem::replace(&mut self.current, next);
            self.at = 0;
            // The feeder may be done and gone, and then the buffer is simply freed.
            drop(self.recycle.send(used));
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
