//! What the tests of remapped and of rootless containers share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use tempfile::TempDir;
use testbed::programs;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_user-namespace");

/// An ordinary user whom no real host has.
pub(crate) const UID: u32 = 54_321;
/// Its subordinate ids, 65536 of them.
pub(crate) const SUBORDINATE: u32 = 7_000_000;

/// An example of this crate: beside its tests.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(PROGRAM).with_file_name("examples").join(name)
}

/// A host with one user more, which only the commands know that are run on it: they have a mount namespace in which
/// `/etc` is another.
pub(crate) struct Host {
    directory: TempDir,
    /// What is shown in place of what.
    covers: Vec<(PathBuf, PathBuf)>,
}

impl Host {
    /// A host on which the user `tester` has subordinate ids.
    pub(crate) fn new() -> Self {
        let entry = format!("tester:{SUBORDINATE}:65536\n");
        Self::with_ids(&entry, &entry)
    }

    /// A host with these texts for `/etc/subuid` and `/etc/subgid`.
    pub(crate) fn with_ids(subuid: &str, subgid: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut host = Self { directory, covers: Vec::new() };
        // Everybody must be able to go through, and to run what is copied here.
        open_to_all(host.path());
        fs::create_dir(host.path().join("home")).expect("a fresh directory");
        chown(host.path().join("home"), Some(UID), Some(UID)).expect("these tests run as root");
        let etc = host.path().join("etc");
        fs::create_dir(&etc).expect("a fresh directory");
        let passwd = format!("root:x:0:0::/root:/bin/sh\ntester:x:{UID}:{UID}::/:/bin/sh\n");
        let group = format!("root:x:0:\ntester:x:{UID}:\n");
        for (name, text) in
            [("passwd", passwd.as_str()), ("group", &group), ("subuid", subuid), ("subgid", subgid)]
        {
            fs::write(etc.join(name), text).expect("a fresh directory");
        }
        host.cover(Path::new("/etc"), &etc);
        host
    }

    /// Shows `by` in place of `target`.
    pub(crate) fn cover(&mut self, target: &Path, by: &Path) {
        assert!(target.exists(), "this test needs {} on the host", target.display());
        self.covers.push((by.to_owned(), target.to_owned()));
    }

    /// A directory of this host's, which everybody can enter.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory that belongs to the user.
    pub(crate) fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// A copy of `program` that everybody can run, wherever it lies.
    pub(crate) fn install(&self, program: impl AsRef<Path>) -> PathBuf {
        let program = program.as_ref();
        let installed = self.path().join(program.file_name().expect("a program has a name"));
        if !installed.exists() {
            programs::copy(program, &installed);
        }
        installed
    }

    /// `program` on this host, as root.
    pub(crate) fn root(&self, program: impl AsRef<Path>) -> Command {
        self.command(program.as_ref(), None)
    }

    /// `program` on this host, as the user.
    pub(crate) fn user(&self, program: impl AsRef<Path>) -> Command {
        self.command(program.as_ref(), Some(UID))
    }

    fn command(&self, program: &Path, user: Option<u32>) -> Command {
        let mut command = Command::new(self.install(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home()).current_dir("/");
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL in these paths");
        let covers: Vec<(CString, CString)> =
            self.covers.iter().map(|(by, target)| (text(by), text(target))).collect();
        let become_it = move || {
            let none = None::<&str>;
            nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            for (by, target) in &covers {
                mount(Some(by.as_c_str()), target.as_c_str(), none, MsFlags::MS_BIND, none)?;
            }
            if let Some(id) = user {
                nix::unistd::setgroups(&[])?;
                nix::unistd::setresgid(Gid::from_raw(id), Gid::from_raw(id), Gid::from_raw(id))?;
                nix::unistd::setresuid(Uid::from_raw(id), Uid::from_raw(id), Uid::from_raw(id))?;
            }
            Ok(())
        };
        // SAFETY: only system calls, on memory that was prepared before: nothing waits for another thread.
        unsafe { command.pre_exec(become_it) };
        command
    }
}

/// Gives everything in `directory` to the user, and lets it be reached.
pub(crate) fn give(directory: &Path) {
    open_to_all(directory);
    testbed::stdout(Command::new("chown").arg("-hR").arg(format!("{UID}:{UID}")).arg(directory));
}

/// Lets everybody enter and read.
pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a directory of our own");
}

/// What a command that has to fail says, without the names of this test's folders.
pub(crate) fn complaint(command: &mut Command, host: &Host) -> String {
    let output = testbed::output(command);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).replace(&host.path().display().to_string(), "HOST")
}
