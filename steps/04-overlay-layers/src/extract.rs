//! An archive put into a tree that exists, and that others may be using: `docker cp`.
//!
//! Unlike a layer, such an archive says nothing by its names: a file called `.wh.x` is a file. And what is there may be
//! somebody's: a directory is never replaced by anything else, and whatever else there is never by a directory.

use std::io::{BufReader, Read};
use std::os::fd::BorrowedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::compression::Decoder;
use crate::entries::Entries;
use crate::error::Result;
use crate::metadata::Metadata;
use crate::times::Time;
use crate::tree::{Tree, member_path};
use crate::unpack::{Contents, put};

/// Who owns a file here, by who owns it there: user and group.
pub type Owners<'a> = &'a (dyn Fn(u32, u32) -> (u32, u32) + Sync);

/// Whose the files become.
#[derive(Clone, Copy)]
pub enum Ownership<'a> {
    /// Whose the archive says they are, by way of this map.
    Kept(Owners<'a>),
    /// This user's and this group's. A program that ran as its owner would now run as that one: set-user-ID bits and
    /// file capabilities are not kept.
    Given(u32, u32),
}

impl Ownership<'_> {
    fn apply(self, metadata: &mut Metadata) {
        match self {
            Self::Kept(owners) => (metadata.uid, metadata.gid) = owners(metadata.uid, metadata.gid),
            Self::Given(uid, gid) => {
                (metadata.uid, metadata.gid) = (uid, gid);
                metadata.mode &= 0o1777;
                metadata.xattrs.retain(|(name, _)| !name.as_encoded_bytes().starts_with(b"security."));
            }
        }
    }
}

/// Extracts a tar, plain or compressed, into a directory, and reads the stream to its very end.
///
/// Without `devices`, device nodes are left out: who can open one reaches the device.
///
/// Paths are resolved below the directory, as if it were the root, however others change it meanwhile.
///
/// # Errors
/// Archives that are damaged, that try to leave the directory, or that put a directory where something else is, or the
/// other way round; and whatever the kernel refuses. What was extracted until then stays.
pub fn extract(
    directory: BorrowedFd<'_>,
    tar: impl Read,
    ownership: Ownership<'_>,
    devices: bool,
) -> Result<Contents> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mtime = Time { seconds: now.as_secs().cast_signed(), nanoseconds: now.subsec_nanos() };
    let mut implied = Metadata { mode: 0o755, mtime, ..Metadata::default() };
    ownership.apply(&mut implied);
    let mut tree = Tree::merging(directory, devices, implied);
    let mut entries = Entries::new(BufReader::new(Decoder::new(tar)?));
    let mut members = 0;
    while let Some(mut entry) = entries.next()? {
        members += 1;
        let path = member_path(&entry.path)?;
        ownership.apply(&mut entry.metadata);
        put(&mut tree, &mut entries, entry, path)?;
    }
    entries.drain()?;
    let (implied, size) = tree.finish()?;
    Ok(Contents { members, size, implied })
}
