//! Reads a tar stream member by member.
//!
//! The `tar` crate decodes the 512-byte headers. What stands around them (pax records, GNU long names, sparse maps) is
//! read here, because the crate's own iterator keeps unbounded extension headers in memory and misreads binary pax
//! values; see [`crate::pax`].

use std::ffi::{OsStr, OsString};
use std::io::BufRead;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use tar::{EntryType, Header};

use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::pax::Pax;
use crate::sparse::{self, Sparse};
use crate::times::Time;

/// Tar counts in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// The most that extension headers of one member may hold: they are kept in memory. Linux allows 64 KiB an extended
/// attribute and 4 KiB a path, so real ones stay far below.
const EXTENSION_MAX: u64 = 1024 * 1024;

/// The same for global headers, whose records are copied for every member that follows.
const GLOBAL_MAX: u64 = 16 * 1024;

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink(OsString),
    Symlink(OsString),
    Directory,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// One member of the archive; its data is read through [`Entries`].
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The path as the archive spells it: hostile.
    pub(crate) path: OsString,
    pub(crate) kind: Kind,
    pub(crate) metadata: Metadata,
    /// The file's length, in bytes, holes included; 0 for what is not a file.
    pub(crate) length: u64,
    /// For a sparse file: where the data that the archive holds belongs.
    pub(crate) sparse: Option<Sparse>,
}

/// Extension headers seen before a member.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// The members of a tar stream.
pub(crate) struct Entries<R> {
    stream: R,
    globals: Pax,
    /// Data of the current member not yet taken, and the padding after it.
    remaining: u64,
    padding: u64,
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, globals: Pax::default(), remaining: 0, padding: 0 }
    }

    /// The next member, or `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut seen = Extensions::default();
        loop {
            self.skip(self.remaining + self.padding)?;
            (self.remaining, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                // An archive ends with two blocks of zeros; docker and GNU tar also take a bare end of file.
                return Ok(None);
            };
            let kind = header.entry_type();
            let size = header.entry_size().map_err(|e| Error::stream(&e))?;
            match kind {
                EntryType::XHeader => {
                    let data = self.extension(size, EXTENSION_MAX)?;
                    let pax = seen.pax.get_or_insert_with(|| self.globals.clone());
                    pax.parse(&data, EXTENSION_MAX).map_err(Error::Stream)?;
                }
                EntryType::XGlobalHeader => {
                    let data = self.extension(size, GLOBAL_MAX)?;
                    self.globals.parse(&data, GLOBAL_MAX).map_err(Error::Stream)?;
                }
                EntryType::GNULongName => seen.name = Some(until_nul(self.extension(size, EXTENSION_MAX)?)),
                EntryType::GNULongLink => seen.link = Some(until_nul(self.extension(size, EXTENSION_MAX)?)),
                _ => return self.member(&header, size, seen).map(Some),
            }
        }
    }

    /// Hands the current member's data to `take`, in pieces as they lie in the buffer: nothing is copied.
    pub(crate) fn data(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.remaining > 0 {
            let piece = self.stream.fill_buf().map_err(|e| Error::stream(&e))?;
            if piece.is_empty() {
                return Err(cut_short());
            }
            let length = self.remaining.min(piece.len() as u64) as usize;
            take(&piece[..length])?;
            self.stream.consume(length);
            self.remaining -= length as u64;
        }
        Ok(())
    }

    /// Reads what follows the end of the archive. A digest covers it, so it must be read, but it means nothing.
    pub(crate) fn drain(mut self) -> Result<()> {
        loop {
            let length = self.stream.fill_buf().map_err(|e| Error::stream(&e))?.len();
            if length == 0 {
                return Ok(());
            }
            self.stream.consume(length);
        }
    }

    /// The next header block, or `None` at a block of zeros or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.stream.fill_buf().map_err(|e| Error::stream(&e))?.is_empty() {
            return Ok(None);
        }
        let block = self.block()?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum is the sum of the header's bytes with its own field read as spaces.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(Error::Stream(
                "a tar header's checksum is wrong: this is not a tar, or it is damaged".into(),
            ));
        }
        Ok(Some(header))
    }

    pub(crate) fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.stream.read_exact(&mut block).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_short(),
            _ => Error::stream(&e),
        })?;
        Ok(block)
    }

    /// The data of an extension header, whole.
    fn extension(&mut self, size: u64, max: u64) -> Result<Vec<u8>> {
        if size > max {
            return Err(Error::Stream(format!(
                "an extended header of {size} bytes: more than {max} are refused"
            )));
        }
        self.has_data(size);
        let mut data = Vec::with_capacity(size as usize);
        self.data(|piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(data)
    }

    fn member(&mut self, header: &Header, size: u64, seen: Extensions) -> Result<Entry> {
        let pax = seen.pax.as_ref().unwrap_or(&self.globals);
        let path = match (pax.get("GNU.sparse.name"), &seen.name, pax.get("path")) {
            (Some(name), ..) | (None, None, Some(name)) => name.to_vec(),
            (None, Some(name), _) => name.clone(),
            (None, None, None) => header.path_bytes().into_owned(),
        };
        let path = OsString::from_vec(path);
        let refuse = |reason: String| Error::member(&path, reason);

        let link = seen
            .link
            .as_deref()
            .or(pax.get("linkpath"))
            .map_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned(), <[u8]>::to_vec);
        let link = OsString::from_vec(link);
        let device = || -> std::result::Result<(u32, u32), String> {
            let number = |field: std::io::Result<Option<u32>>| {
                field.ok().flatten().ok_or_else(|| "its device number is malformed".to_owned())
            };
            Ok((number(header.device_major())?, number(header.device_minor())?))
        };
        let kind = match header.entry_type() {
            // Before POSIX a directory was a file whose name ends in a slash.
            EntryType::Regular if path.as_bytes().ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink(link),
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Directory => Kind::Directory,
            EntryType::Char => {
                device().map(|(major, minor)| Kind::CharDevice { major, minor }).map_err(refuse)?
            }
            EntryType::Block => {
                device().map(|(major, minor)| Kind::BlockDevice { major, minor }).map_err(refuse)?
            }
            EntryType::Fifo => Kind::Fifo,
            other => return Err(refuse(format!("unknown member type {:?}", char::from(other.as_byte())))),
        };
        let metadata = metadata(header, pax).map_err(refuse)?;
        // Where a pax record and the header disagree, the record counts (POSIX); a parser that took the other one
        // would see other members in the same bytes.
        let stored = pax.number("size").map_err(refuse)?.unwrap_or(size);
        // Only files have data. Old archives give hard links and directories a size that means nothing; GNU tar and
        // Go's archive/tar, which made the layers there are, pass over it.
        let stored = if kind == Kind::File { stored } else { 0 };

        let pax = seen.pax.unwrap_or_else(|| self.globals.clone());
        self.has_data(stored);
        let sparse = sparse::read(self, header, &pax).map_err(|reason| Error::member(&path, reason))?;
        let length = sparse.as_ref().map_or(stored, |sparse| sparse.length);
        Ok(Entry { path, kind, metadata, length, sparse })
    }

    /// The next `size` bytes, and padding to a whole block, belong to the current member.
    fn has_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// One block of the current member's data (the map at the start of a sparse file).
    pub(crate) fn data_block(&mut self) -> Result<[u8; BLOCK]> {
        self.remaining = self.remaining.checked_sub(BLOCK as u64).ok_or_else(cut_short)?;
        self.block()
    }

    /// Bytes of the current member's data not yet taken.
    pub(crate) fn stored(&self) -> u64 {
        self.remaining
    }

    fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let piece = self.stream.fill_buf().map_err(|e| Error::stream(&e))?.len();
            if piece == 0 {
                return Err(cut_short());
            }
            let step = length.min(piece as u64);
            self.stream.consume(step as usize);
            length -= step;
        }
        Ok(())
    }
}

fn cut_short() -> Error {
    Error::Stream("it ends in the middle of a member: the download was cut short".into())
}

/// GNU's long names are C strings.
fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|&b| b == 0).unwrap_or(name.len()));
    name
}

/// Owner, mode, time and attributes: pax records first, the header's fields where there are none.
fn metadata(header: &Header, pax: &Pax) -> std::result::Result<Metadata, String> {
    let id = |key: &str, field: std::io::Result<u64>| {
        let id = match pax.number(key)? {
            Some(id) => id,
            None => field.map_err(|_| format!("its {key} is malformed"))?,
        };
        // 2^32-1 is not an owner: chown(2) reads it as "leave as it is".
        u32::try_from(id)
            .ok()
            .filter(|&id| id != u32::MAX)
            .ok_or_else(|| format!("{key} {id} is out of range"))
    };
    let mtime = match pax.time("mtime")? {
        Some(time) => time,
        None => Time {
            // A negative time is in base 256 and comes back as the two's complement that it is.
            seconds: header.mtime().map_err(|_| "its mtime is malformed")?.cast_signed(),
            nanoseconds: 0,
        },
    };
    Ok(Metadata {
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        mode: header.mode().map_err(|_| "its mode is malformed")? & 0o7777,
        mtime,
        xattrs: pax
            .xattrs()
            .map(|(name, value)| (OsStr::from_bytes(name).to_owned(), value.to_vec()))
            .collect(),
    })
}
