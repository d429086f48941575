//! Writes tar members: POSIX ustar headers, and a pax header before those that need one.

use std::io::{Read, Write};

use tar::{EntryType, Header};

use crate::digest::{DiffId, Hasher};
use crate::entries::BLOCK;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::pax;

/// A member, as its headers describe it.
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryType,
    /// The target of a hard link or symlink; empty for what is neither.
    pub(crate) link: Vec<u8>,
    /// The numbers of a device: major and minor.
    pub(crate) device: (u32, u32),
    pub(crate) metadata: Metadata,
    /// Bytes of data that follow.
    pub(crate) length: u64,
}

impl Member {
    /// The member's headers: whole blocks.
    pub(crate) fn headers(&self) -> Vec<u8> {
        let Metadata { uid, gid, mode, mtime, xattrs } = &self.metadata;
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(*mode);
        // Numbers that octal digits have no room for go in base 256, which every reader of layers knows.
        header.set_uid(u64::from(*uid));
        header.set_gid(u64::from(*gid));
        header.set_size(self.length);
        header.set_mtime(u64::try_from(mtime.seconds).unwrap_or(0));
        let devices = header.set_device_major(self.device.0).and(header.set_device_minor(self.device.1));
        devices.expect("a ustar header has the fields");

        let mut records = Vec::new();
        if self.link.len() > header.as_old().linkname.len() {
            records.extend(pax::record(b"linkpath", &self.link));
        }
        if mtime.nanoseconds != 0 || mtime.seconds < 0 {
            records.extend(pax::record(b"mtime", mtime.to_string().as_bytes()));
        }
        if self.name.len() > header.as_old().name.len() {
            records.extend(pax::record(b"path", &self.name));
        }
        for (name, value) in xattrs {
            records.extend(pax::record(&[pax::XATTR, name.as_encoded_bytes()].concat(), value));
        }
        fill(&mut header.as_old_mut().name, &self.name);
        fill(&mut header.as_old_mut().linkname, &self.link);
        header.set_cksum();

        let mut blocks = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            fill(&mut extended.as_old_mut().name, b"PaxHeaders/member");
            extended.set_mode(0o644);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_size(records.len() as u64);
            extended.set_cksum();
            blocks.extend(extended.as_bytes());
            blocks.extend(&records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        blocks.extend(header.as_bytes());
        blocks
    }
}

/// Puts text into a header's field, cut off where it ends: a pax record has the whole.
fn fill(field: &mut [u8; 100], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Writes an archive and computes its digest.
pub(crate) struct Archive<W> {
    out: W,
    hasher: Hasher,
    length: u64,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(), length: 0 }
    }

    /// Writes one member and its data.
    ///
    /// # Errors
    /// [`Error::Write`], also when there is less data than the member says; of more, the rest is left out.
    pub(crate) fn add(&mut self, member: &Member, data: impl Read) -> Result<()> {
        self.write(&member.headers())?;
        let mut data = data.take(member.length);
        let mut left = member.length;
        let mut buffer = vec![0; (left.min(128 * 1024)) as usize];
        while left > 0 {
            let length = data.read(&mut buffer).map_err(unwritable)?;
            if length == 0 {
                let name = String::from_utf8_lossy(&member.name).into_owned();
                return Err(Error::Write(format!(
                    "{name} became shorter while it was read: pause the container first"
                )));
            }
            self.write(&buffer[..length])?;
            left -= length as u64;
        }
        let padding = member.length.wrapping_neg() % BLOCK as u64;
        self.write(&[0; BLOCK][..padding as usize])
    }

    /// Writes the end of the archive: two blocks of zeros.
    pub(crate) fn finish(mut self) -> Result<(DiffId, u64)> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(unwritable)?;
        Ok((DiffId(self.hasher.finish()), self.length))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.out.write_all(bytes).map_err(unwritable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it goes into `map_err`")]
fn unwritable(e: std::io::Error) -> Error {
    Error::write(&e)
}
