//! Where this host keeps its cgroups. Nothing is to be written here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The two kinds of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree for all.
    V2,
}

/// The directories that are, or are to become, one cgroup.
#[derive(Debug, Clone)]
pub struct Group {
    pub version: Version,
    /// In the tree of the memory controller. On v2 the three are one and the same.
    pub memory: PathBuf,
    /// In that of the pids controller.
    pub pids: PathBuf,
    /// In that of the cpu controller.
    pub cpu: PathBuf,
}

impl Group {
    /// The cgroup `name`, which need not be there yet. On v2, controllers are switched on for it.
    pub fn at(name: &str) -> io::Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let tree = |controller| find(&mountinfo, "cgroup", Some(controller));
        if let (Some(memory), Some(pids), Some(cpu)) = (tree("memory"), tree("pids"), tree("cpu")) {
            let place = |tree: PathBuf| tree.join(name);
            return Ok(Self {
                version: Version::V1,
                memory: place(memory),
                pids: place(pids),
                cpu: place(cpu),
            });
        }
        let none = || io::Error::other("this host has no cgroups for memory, pids and cpu");
        let root = find(&mountinfo, "cgroup2", None).ok_or_else(none)?;
        fs::write(root.join("cgroup.subtree_control"), "+memory +pids +cpu")?;
        let place = root.join(name);
        Ok(Self { version: Version::V2, memory: place.clone(), pids: place.clone(), cpu: place })
    }

    /// Its directories, each once: three on v1 (two if trees are mounted together), one on v2.
    pub fn directories(&self) -> Vec<&Path> {
        let mut all = vec![self.memory.as_path(), &self.pids, &self.cpu];
        all.sort();
        all.dedup();
        all
    }

    /// Keeps it from using swap instead of memory, as far as this kernel counts swap.
    pub fn forbid_swap(&self, memory: u64) -> io::Result<()> {
        let (file, value) = match self.version {
            Version::V1 => ("memory.memsw.limit_in_bytes", memory),
            Version::V2 => ("memory.swap.max", 0),
        };
        let path = self.memory.join(file);
        if !path.exists() {
            return Ok(());
        }
        match fs::write(path, value.to_string()) {
            // v1 refuses a limit on both together that is below that on memory: there is none, and so nothing to keep.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            written => written,
        }
    }
}

/// Where a file system of this type is mounted, with this among its options.
fn find(mountinfo: &str, fstype: &str, option: Option<&str>) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let is_type = filesystem.next() == Some(fstype);
        let options = filesystem.nth(1)?;
        let has = option.is_none_or(|wanted| options.split(',').any(|option| option == wanted));
        (is_type && has).then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}
