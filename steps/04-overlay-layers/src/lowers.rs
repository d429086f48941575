//! What the layers below hold: a path looked up through a stack of layers as overlayfs would.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::diff;
use crate::error::{Error, Result};
use crate::metadata::xattr;
use crate::tree::{Marks, is_whiteout};

/// Opens anything, a symlink or a device too, without touching it.
const ITSELF: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A stack of layers, topmost first, open.
pub(crate) struct Lowers {
    layers: Vec<OwnedFd>,
    marks: Marks,
}

impl Lowers {
    pub(crate) fn open(layers: &[PathBuf], marks: Marks) -> Result<Self> {
        let open = |path: &PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(Error::system("open the layer", path))
        };
        Ok(Self { layers: layers.iter().map(open).collect::<Result<_>>()?, marks })
    }

    /// The file that shows under this path (relative; no symlink is followed), opened with `O_PATH`.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<(OwnedFd, Stat)>> {
        for layer in &self.layers {
            match open_beneath(layer, path, ITSELF) {
                Ok(file) => {
                    let stat = rustix::fs::fstat(&file).map_err(Error::system("look at", path))?;
                    return Ok((!is_whiteout(&stat)).then_some((file, stat)));
                }
                // Something on the way is a file, a symlink or a whiteout in this layer: it hides the layers below.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(Errno::NOENT) => {
                    if self.hides(layer, path)? {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(Error::system("look up in the layers below", path)(e)),
            }
        }
        Ok(None)
    }

    /// The names that show in a directory, from all layers.
    pub(crate) fn names(&self, path: &Path) -> Result<BTreeSet<OsString>> {
        let mut candidates = BTreeSet::new();
        for layer in &self.layers {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match open_beneath(layer, path, flags) {
                Ok(directory) => candidates.append(&mut diff::names(&directory, path)?),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(Error::system("open the directory", path)(e)),
            }
        }
        // Whiteouts and opaque directories hide some of them; the lookup knows.
        let mut names = BTreeSet::new();
        for name in candidates {
            if self.find(&path.join(&name))?.is_some() {
                names.insert(name);
            }
        }
        Ok(names)
    }

    /// Whether a directory above a path that this layer does not have is opaque in it.
    fn hides(&self, layer: &OwnedFd, path: &Path) -> Result<bool> {
        for above in path.ancestors().skip(1) {
            match open_beneath(layer, above, ITSELF) {
                Ok(directory) => {
                    if self.marks.is_opaque(&directory).map_err(Error::system("look at", above))? {
                        return Ok(true);
                    }
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::system("look up in the layers below", above)(e)),
            }
        }
        Ok(false)
    }
}

impl Marks {
    /// Whether this directory hides what the layers below hold in it.
    pub(crate) fn is_opaque(self, directory: &impl AsFd) -> rustix::io::Result<bool> {
        Ok(xattr(directory.as_fd(), OsStr::new(self.opaque()))?.is_some_and(|value| value == b"y"))
    }
}

/// Opens a path under a directory, following no symlink anywhere.
fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Whether this is a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
