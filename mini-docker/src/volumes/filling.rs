//! A new volume gets what the image has in its place.
//!
//! The copy is made beside the volume, and is moved into it when it is complete and on the disk: whoever comes after a
//! crash starts again, or finishes the moving, and never takes a part for the whole.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use overlay_layers::{Owners, Ownership, extract, write_tree};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Hold, Volume, Volumes};
use crate::error::{Error, Result};
use crate::{files, pipe};

impl Volumes {
    /// Fills `volume`, if nothing is in it, with what is in `directory`, a view of the image's; owner and mode of that
    /// become the volume's. `owners` says who owns a file here that belongs to somebody there; `devices`, whether devices can be
    /// made.
    pub fn fill(
        &self,
        hold: &Hold,
        volume: &Volume,
        directory: BorrowedFd<'_>,
        owners: Owners<'_>,
        devices: bool,
    ) -> Result<()> {
        let (filling, filled) = (self.directory(&volume.name).join("_filling"), self.filled(volume));
        files::remove(&filling)?;
        if !filled.exists() {
            if !is_empty(&volume.mountpoint)? {
                return Ok(());
            }
            files::make_dir(&filling, true)?;
            copy(directory, &filling, owners, devices)?;
            fs::rename(&filling, &filled).map_err(|error| Error::file("rename", &filling, error))?;
        }
        self.finish_filling(hold, volume)
    }

    /// Moves what a complete copy still has into the volume, if there is one.
    pub fn finish_filling(&self, _hold: &Hold, volume: &Volume) -> Result<()> {
        let (filled, place) = (self.filled(volume), &volume.mountpoint);
        let Ok(metadata) = fs::symlink_metadata(&filled) else { return Ok(()) };
        let failed = |error| Error::file("fill", place, error);
        for entry in fs::read_dir(&filled).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            match renameat_with(CWD, filled.join(&name), CWD, place.join(&name), RenameFlags::NOREPLACE) {
                // A container that uses the volume has made one of its own.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        chown(place, Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
        fs::set_permissions(place, fs::Permissions::from_mode(metadata.mode() & 0o7777)).map_err(failed)?;
        files::remove(&filled)
    }

    fn filled(&self, volume: &Volume) -> std::path::PathBuf {
        self.directory(&volume.name).join("_filled")
    }
}

fn is_empty(directory: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(directory).map_err(|error| Error::file("read", directory, error))?;
    Ok(entries.next().is_none())
}

/// Copies what is in `from`, and what that itself is like, into a directory of ours.
fn copy(from: BorrowedFd<'_>, to: &Path, owners: Owners<'_>, devices: bool) -> Result<()> {
    let target = File::open(to).map_err(|error| Error::file("open", to, error))?;
    pipe::through(
        |writer| Ok(write_tree(from, Path::new(""), Path::new("."), &|uid, gid| (uid, gid), writer)?),
        |reader| Ok(extract(target.as_fd(), reader, Ownership::Kept(owners), devices)?),
    )?;
    rustix::fs::syncfs(&target).map_err(|errno| Error::file("flush", to, errno))
}
