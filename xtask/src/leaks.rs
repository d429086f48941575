//! What tests must not leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What there is on this host of the kinds of things that containers are made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at mounts, cgroups, network namespaces and links.
    pub(crate) fn take() -> Result<Self> {
        let mut found = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            found.extend(line.split(' ').nth(4).map(|target| format!("mount {target}")));
        }
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut found)?;
        for (directory, kind) in [("/run/netns", "network namespace"), ("/sys/class/net", "link")] {
            if let Ok(entries) = fs::read_dir(directory) {
                for entry in entries {
                    found.insert(format!("{kind} {}", entry?.file_name().to_string_lossy()));
                }
            }
        }
        Ok(Self(found))
    }

    /// Fails if there is anything now that was not there then. The cgroup that the engine makes for all containers,
    /// and keeps, is removed if it is empty.
    pub(crate) fn require_nothing_new(&self) -> Result<()> {
        let now = Self::take()?.0;
        let mut left = Vec::new();
        // What is inside another comes after it in the set, and goes first.
        for found in now.iter().rev().filter(|found| !self.0.contains(*found)) {
            match found.strip_prefix("cgroup ").filter(|path| path.ends_with("/mini-docker")) {
                Some(parent) if fs::remove_dir(parent).is_ok() => {}
                _ => left.push(found.clone()),
            }
        }
        if left.is_empty() { Ok(()) } else { bail!("the tests left behind: {}", left.join(", ")) }
    }
}

/// Removes the cgroups that the engine makes for all containers, and keeps, as far as they are empty.
pub(crate) fn remove_engine_cgroups() -> Result<()> {
    let mut found = BTreeSet::new();
    cgroups(Path::new("/sys/fs/cgroup"), 0, &mut found)?;
    for path in found.iter().filter_map(|found| found.strip_prefix("cgroup ")) {
        if path.ends_with("/mini-docker")
            && let Err(error) = fs::remove_dir(path)
            && error.kind() != std::io::ErrorKind::ResourceBusy
        {
            bail!("cannot remove {path}: {error}");
        }
    }
    Ok(())
}

/// The cgroups below `directory`.
fn cgroups(directory: &Path, depth: usize, found: &mut BTreeSet<String>) -> Result<()> {
    const DEEP_ENOUGH: usize = 6;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && depth < DEEP_ENOUGH {
            found.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

/// Fails if processes other than this one and process 1 live in this pid namespace, and do not end by themselves: a
/// shim answers before it has tidied up.
pub(crate) fn require_no_processes() -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = processes()?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the tests left processes behind: {}", left.join(", "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of this pid namespace, but for this one and process 1.
fn processes() -> Result<Vec<String>> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid != own && pid != 1 {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("{} ({pid})", name.trim()));
        }
    }
    Ok(found)
}
