//! Layers: from an image's form to the kernel's, stacked, and what was written on top.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Turns the marks of an image's layer into the kernel's, in the directory `layer` and all below it:
///
/// - a file `.wh.NAME` says that NAME is gone: in its place comes a whiteout, which is a character device NAME with the
///   number 0:0;
/// - a file `.wh..wh..opq` says that its directory shows nothing of what is below it: `opaque::make` says so to the kernel.
///
/// A layer may have been converted already.
pub fn convert(_layer: &Path) -> Result<()> {
    // Yours. "Unsupported" stands for "not written yet".
    Err(Error::from(ErrorKind::Unsupported))
}

/// Mounts `layers`, the lowest first, and `upper` on top of them, as one tree at `merged`.
pub fn mount(_layers: &[PathBuf], _upper: &Path, _work: &Path, _merged: &Path) -> nix::Result<()> {
    // Yours: mount(2) of an overlay, with the options lowerdir, upperdir and workdir.
    Err(nix::errno::Errno::ENOSYS)
}

/// Lists what is in the directory `inside` of `upper`, and below it, as `docker diff` does: `A` for what is new, `C` for
/// what was changed, `D` for what was removed; each with its path inside, such as `/etc/motd`.
pub fn changes(
    _upper: &Path,
    _layers: &[PathBuf],
    _inside: &Path,
    _changes: &mut Vec<(char, PathBuf)>,
) -> Result<()> {
    // Yours. A directory that something was written to is in upper as well, and counts as changed. What was there before is
    // known to the topmost layer that has the name, which may be a whiteout. (That a directory above it may be opaque is left
    // out of account here; the engine looks at that, too.)
    Err(Error::from(ErrorKind::Unsupported))
}
