//! The format of an initial root file system: cpio with `newc` headers, which the kernel unpacks at boot
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::io::{Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The bits of `stat(2)` that tell what a file is.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive in the making. All its files belong to root.
pub(super) struct Archive<W> {
    out: W,
    members: u32,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, members: 0, directories: BTreeSet::new() }
    }

    /// A file with these contents, which everybody may read and run.
    pub(super) fn file(&mut self, path: &Path, contents: &[u8]) -> Result<()> {
        self.directories_above(path)?;
        self.member(path, REGULAR | 0o755, contents)
    }

    /// A program that runs as root, whoever starts it.
    pub(super) fn set_user_id(&mut self, path: &Path, contents: &[u8]) -> Result<()> {
        self.directories_above(path)?;
        self.member(path, REGULAR | 0o4755, contents)
    }

    pub(super) fn symlink(&mut self, path: &Path, target: &str) -> Result<()> {
        self.directories_above(path)?;
        self.member(path, SYMLINK | 0o777, target.as_bytes())
    }

    /// A directory, and those above it, if they are not there yet.
    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        self.directories_above(path)?;
        if relative(path).as_os_str().is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.member(path, DIRECTORY | 0o755, b"")
    }

    /// Marks the archive's end.
    pub(super) fn finish(mut self) -> Result<W> {
        self.member(Path::new("TRAILER!!!"), 0, b"")?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// The kernel makes no directory that the archive does not name.
    fn directories_above(&mut self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |above| self.directory(above))
    }

    /// Header, name with a NUL, and contents, the latter two padded to a multiple of four. Names have no slash in
    /// front.
    fn member(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        let name = relative(path).as_os_str().as_bytes();
        let size = u32::try_from(contents.len()).map_err(std::io::Error::other)?;
        // Two files with the same number would be one with two names.
        self.members += 1;
        let (uid, gid, links, mtime, device, checksum) = (0, 0, 1, 0, [0; 4], 0);
        let fields = [self.members, mode, uid, gid, links, mtime, size];
        let fields = fields.into_iter().chain(device).chain([name.len() as u32 + 1, checksum]);
        let mut head = b"070701".to_vec();
        for field in fields {
            write!(head, "{field:08x}")?;
        }
        head.extend(name);
        head.push(0);
        head.resize(head.len().next_multiple_of(4), 0);
        self.out.write_all(&head)?;
        self.out.write_all(contents)?;
        self.out.write_all(&[0; 3][..contents.len().next_multiple_of(4) - contents.len()])
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn another_program_reads_it() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/deep/in/file"), b"five!").unwrap();
        archive.symlink(Path::new("/deep/in/link"), "file").unwrap();
        archive.directory(Path::new("/deep/in")).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);

        let into = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("busybox");
        cpio.args(["cpio", "-id"]).current_dir(into.path()).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut cpio = cpio.spawn().unwrap();
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(cpio.wait().unwrap().success());
        assert_eq!(std::fs::read(into.path().join("deep/in/link")).unwrap(), b"five!");
        assert_eq!(std::fs::read_dir(into.path().join("deep/in")).unwrap().count(), 2);
    }
}
