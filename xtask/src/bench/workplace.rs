//! Where the contenders work: one place for all, of which nothing is left afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::command;

/// What podman, its network plugins, crun and skopeo keep for the whole machine, wherever they are told to work: a table
/// of locks, network namespaces, a list of containers, addresses that are taken, and a cache of which registry had which
/// blob, which would let later rounds skip work.
const MACHINE_WIDE: &[&str] = &["/dev/shm", "/run/netns", "/run/crun", "/var/lib/cni", "/var/lib/containers"];

/// The cgroup v2 tree of a host whose controllers are all in v1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A directory in memory or on a disk. Dropped, it is gone.
pub(super) struct Workplace {
    directory: TempDir,
    in_memory: bool,
    /// Those of [`MACHINE_WIDE`] that were not there before.
    made: Vec<PathBuf>,
    remarks: Vec<String>,
}

impl Workplace {
    /// Puts this process into a mount namespace of its own and makes a directory to work in: a tmpfs, or one on the
    /// disk of `disk`.
    pub(super) fn enter(disk: Option<&Path>) -> Result<Self> {
        command::become_root("The contenders make namespaces and mounts")?;
        chroot::private_mounts()?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("cannot make mounts private")?;
        let directory = match disk {
            Some(disk) => tempfile::tempdir_in(disk),
            None => tempfile::tempdir(),
        }
        .context("cannot make a temporary directory")?;
        let place = match disk {
            Some(disk) => format!("All work on the file system of {}", disk.display()),
            None => "All work in memory, in one tmpfs".to_owned(),
        };
        let mut workplace = Self {
            directory,
            in_memory: disk.is_none(),
            made: Vec::new(),
            remarks: vec![format!("{place}, in a mount namespace of their own.")],
        };
        if workplace.in_memory {
            tmpfs(workplace.path())?;
        }
        for directory in MACHINE_WIDE.iter().map(Path::new) {
            if !directory.exists() {
                fs::create_dir_all(directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
                workplace.made.push(directory.to_owned());
            }
            tmpfs(directory)?;
        }
        workplace.hide_unified()?;
        Ok(workplace)
    }

    /// crun refuses a host that has both versions of cgroups mounted, even one where v2 has no controllers. In this
    /// namespace it has v1 only; the same for all, since one hierarchy less is a little less work.
    fn hide_unified(&mut self) -> Result<()> {
        let mounted = chroot::mount::mountinfo()?.lines().any(|line| line.split(' ').nth(4) == Some(UNIFIED));
        if mounted {
            umount2(UNIFIED, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {UNIFIED}"))?;
            // The directory stays, and podman makes others in it: they must not end up in the host's tmpfs.
            tmpfs(Path::new(UNIFIED))?;
            self.remarks.push(format!(
                "This host has cgroups v1 and v2 (hybrid), which crun refuses; {UNIFIED} is unmounted there."
            ));
        }
        Ok(())
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory below it, made with those above it.
    pub(super) fn make(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let directory = self.path().join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    /// Frees the memory that a finished run took. On a disk that waits for the end: ext4 makes new files slowly for a
    /// while after many were removed, and the next contender would pay.
    pub(super) fn discard(&self, directory: &Path) -> Result<()> {
        if !self.in_memory {
            return Ok(());
        }
        unmount_below(directory)?;
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
    }

    /// What a reader of the results must know about the place.
    pub(super) fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // The directory itself is removed next, which mounts would prevent.
        if let Err(error) = unmount_below(self.path()) {
            eprintln!("{error:#}");
        }
        for directory in &self.made {
            if let Err(error) = unmount_below(directory).and_then(|()| Ok(fs::remove_dir(directory)?)) {
                eprintln!("cannot remove {}: {error:#}", directory.display());
            }
        }
    }
}

/// Unmounts what is mounted on `directory` and below, the last first: podman leaves its storage mounted on itself.
fn unmount_below(directory: &Path) -> Result<()> {
    let mountinfo = chroot::mount::mountinfo()?;
    let targets: Vec<&Path> =
        mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new).collect();
    for target in targets.into_iter().rev().filter(|target| target.starts_with(directory)) {
        umount2(target, MntFlags::MNT_DETACH)
            .with_context(|| format!("cannot unmount {}", target.display()))?;
    }
    Ok(())
}

fn tmpfs(directory: &Path) -> Result<()> {
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .with_context(|| format!("cannot mount a tmpfs on {}", directory.display()))
}
