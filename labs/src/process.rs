//! What the kernel shows of a process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process, by its number in our pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub u32);

impl Process {
    /// This process.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Its directory in `/proc`.
    pub fn path(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.0))
    }

    /// Its children, in the order in which they were made. Nobody's, if it has ended.
    pub fn children(self) -> Vec<Self> {
        let mut found = Vec::new();
        // A process that ends meanwhile has no children.
        for task in fs::read_dir(self.path().join("task")).into_iter().flatten().flatten() {
            let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Self));
        }
        found
    }

    /// It and all that descend from it.
    pub fn family(self) -> Vec<Self> {
        let mut family = vec![self];
        let mut next = 0;
        while let Some(member) = family.get(next).copied() {
            family.extend(member.children());
            next += 1;
        }
        family
    }

    /// Whether it runs the file `program`.
    pub fn runs(self, program: &Path) -> bool {
        let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let running = identity(&self.path().join("exe"));
        running.is_some() && running == identity(program)
    }

    /// The identity of its namespace of one kind, such as `mnt`.
    pub fn namespace(self, kind: &str) -> Result<u64> {
        let link = self.path().join("ns").join(kind);
        Ok(fs::metadata(&link).with_context(|| format!("cannot look at {}", link.display()))?.ino())
    }

    /// What follows `key:` in its `status`; nothing, if it has ended.
    pub fn status(self, key: &str) -> String {
        let status = fs::read_to_string(self.path().join("status")).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    /// The processor time that it has taken, in hundredths of a second (`utime` and `stime`, proc(5)).
    pub fn ticks(self) -> u64 {
        let stat = fs::read_to_string(self.path().join("stat")).unwrap_or_default();
        // The name is in parentheses, and may hold anything. The fields after it begin with the third.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Whether it has not ended. One that was not waited for yet has.
    pub fn is_alive(self) -> bool {
        let state = self.status("State");
        !state.is_empty() && !state.starts_with('Z')
    }

    /// Its numbers, from our pid namespace inwards.
    pub fn numbers(self) -> Vec<u32> {
        self.status("NSpid").split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Ends it. One that has ended already is left alone.
    pub fn kill(self) -> Result<()> {
        match kill(Pid::from_raw(self.0.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot end process {}", self.0)),
        }
    }
}
