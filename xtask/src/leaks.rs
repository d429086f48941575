//! What tests must not leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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

    /// Fails if there is anything now that was not there then.
    pub(crate) fn require_nothing_new(&self) -> Result<()> {
        let now = Self::take()?;
        let new: Vec<&str> = now.0.difference(&self.0).map(String::as_str).collect();
        if new.is_empty() {
            return Ok(());
        }
        bail!("the tests left behind: {}", new.join(", "));
    }
}

/// The cgroups below `directory`. Our own parent is no leak: it is made once and stays.
fn cgroups(directory: &Path, depth: usize, found: &mut BTreeSet<String>) -> Result<()> {
    const DEEP_ENOUGH: usize = 6;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && depth < DEEP_ENOUGH {
            if entry.file_name() != "mini-docker" {
                found.insert(format!("cgroup {}", entry.path().display()));
            }
            cgroups(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

/// Fails if processes other than this one and its ancestors live in this pid namespace.
pub(crate) fn require_no_processes() -> Result<()> {
    let own = std::process::id();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid != own && pid != 1 {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            left.push(format!("{} ({pid})", name.trim()));
        }
    }
    if left.is_empty() { Ok(()) } else { bail!("the tests left processes behind: {}", left.join(", ")) }
}
