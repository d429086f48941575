//! How much room a tree takes.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::diff::names;
use crate::error::{Error, Result};
use crate::lowers::is_directory;
use crate::tree::open_in_root;

/// Bytes that the files and symlinks of a tree hold, each inode once: Docker's size of a layer, or of what a container
/// has written. Not what the disk gives for it (`du`), which depends on the file system.
///
/// Files that vanish while it counts are not counted.
///
/// # Errors
/// The system call that failed.
pub fn usage(tree: &Path) -> Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(tree, flags, Mode::empty()).map_err(Error::system("open the directory", tree))?;
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut directories = vec![PathBuf::new()];
    while let Some(path) = directories.pop() {
        let directory = match open_in_root(root.as_fd(), &path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            result => result.map_err(Error::system("open the directory", &path))?,
        };
        for name in names(&directory, &path)? {
            let stat = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                result => result.map_err(Error::system("look at", path.join(&name)))?,
            };
            if is_directory(&stat) {
                directories.push(path.join(&name));
            } else if stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                total += stat.st_size.cast_unsigned();
            }
        }
    }
    Ok(total)
}
