//! Small root file systems made from the host's static busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::programs;

/// Where Debian's package `busybox-static` puts the program.
const BUSYBOX: &str = "/bin/busybox";

/// Programs that the tests call by name.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "chown", "cp", "cut", "dd", "df", "echo", "env", "false", "find", "grep", "head",
    "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc", "nproc", "nslookup",
    "ping", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sh", "sleep", "sort", "stat", "sync",
    "tail", "tar", "test", "touch", "tr", "trap", "true", "tty", "umount", "uname", "unlink", "unshare",
    "usleep", "wc", "whoami", "yes",
];

/// A directory that can serve as a root, removed when dropped.
pub struct Rootfs {
    directory: TempDir,
}

impl Rootfs {
    /// `/bin/busybox` with its links, and an `/etc/passwd` and `/etc/group` with root and one user.
    pub fn busybox() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Self { directory };
        fs::create_dir_all(root.join("bin")).expect("a fresh directory");
        fs::create_dir_all(root.join("etc")).expect("a fresh directory");
        programs::copy(BUSYBOX, root.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("a fresh directory");
        }
        root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
        root.write("etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n");
        root
    }

    /// The host's path of the root.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The host's path of `path` inside the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file inside the root.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
        fs::write(self.join(path), contents).expect("a directory of our own");
    }
}
