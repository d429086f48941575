//! podman, kept to the benchmark's own folders and cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What its default limits of open files and processes are replaced by: they are above what some hosts allow, and limits
/// cost nothing.
pub(super) const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];

/// podman with folders of its own. Podman is daemonless too, so its storage can be anywhere.
pub(super) fn command(folder: &Path) -> Command {
    let mut command = Command::new("podman");
    for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        command.arg(option).arg(folder.join(name));
    }
    command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
    command
}

/// The cgroups that podman makes around its containers', and leaves. Dropped, they are removed.
pub(super) struct Cgroups;

impl Cgroups {
    /// The one above them all, for `--cgroup-parent`.
    pub(super) const PARENT: &str = "mini-docker-bench";

    /// All of them, inner ones first: one tree in each hierarchy of v1, or the one of v2.
    fn list() -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        // What cannot be read has no cgroups.
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let parents = hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(Self::PARENT));
        let all = parents.flat_map(|parent| [parent.join("conmon"), parent]);
        // Where a hierarchy is not mounted, podman makes plain directories; they are in our tmpfs.
        all.filter(|path| path.join("cgroup.procs").is_file()).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let patience = Instant::now() + Duration::from_secs(5);
        for cgroup in Self::list() {
            // podman's monitor is in there for a moment longer than podman itself.
            while let Err(error) = fs::remove_dir(&cgroup) {
                if Instant::now() > patience {
                    eprintln!("cannot remove {}: {error}", cgroup.display());
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
