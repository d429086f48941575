//! The part of the cgroup tree that is an ordinary user's.
//!
//! A cgroup is delegated by giving its directory, and in it `cgroup.procs` and `cgroup.subtree_control`, to a user, who
//! may then make cgroups below it and divide among them what it has. Its other files stay root's: its own limits are not
//! the user's to change (kernel, admin-guide/cgroup-v2.rst, "Delegation"). systemd delegates `user@UID.service`.
//!
//! What is delegated cannot be left: who moves a process needs to write to `cgroup.procs` of the innermost cgroup that is
//! above both the old and the new place ("Delegation Containment"). So a tree of the user's is of use only to a process
//! that is inside already.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chroot::Error as KernelError;
use rustix::fs::{Access, AtFlags, CWD};

use crate::error::Result;

const CGROUPS: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2_MAGIC: u32 = 0x6367_7270;

/// How a user gets controllers that are not delegated.
pub const DELEGATE: &str = "as root, put into /etc/systemd/system/user@.service.d/delegate.conf the lines [Service] and \
                            Delegate=cpu cpuset io memory pids; then run: systemctl daemon-reload";

/// What a user may do with cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// The host has cgroup v1, of which nothing can be handed to users safely.
    Version1,
    /// This process's cgroup is root's, and so are those above it.
    None,
    /// The user's services have a cgroup of their own, and this process, as after a login by SSH, is outside of it.
    Elsewhere,
    /// This process is in a cgroup that is the user's.
    Here {
        /// The topmost one that is: its place does not depend on which of the user's programs asks, and systemd's holds no
        /// processes itself, which a cgroup that is to be divided must not.
        root: PathBuf,
        /// The controllers that it has to give, by their v2 names.
        controllers: BTreeSet<String>,
    },
}

impl Delegation {
    /// What this process has of the cgroup tree; it may be in a user namespace already. `uid` is its user outside.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn of(uid: u32) -> Result<Self> {
        let path = "/proc/self/cgroup";
        let text = std::fs::read_to_string(path).map_err(|error| KernelError::new("read", path, error))?;
        let version2 = rustix::fs::statfs(CGROUPS)
            .is_ok_and(|filesystem| filesystem.f_type == rustix::fs::FsWord::from(CGROUP2_MAGIC));
        let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::/")).filter(|_| version2) else {
            return Ok(Self::Version1);
        };
        let own = Path::new(CGROUPS).join(own);
        let above = own.ancestors().take_while(|directory| directory.starts_with(CGROUPS));
        if let Some(root) = above.filter(|directory| is_delegated(directory)).last() {
            let path = root.join("cgroup.controllers");
            let text = std::fs::read_to_string(&path)
                .map_err(|error| KernelError::new("read", path.display(), error))?;
            let controllers = text.split_whitespace().map(str::to_owned).collect();
            return Ok(Self::Here { root: root.to_owned(), controllers });
        }
        let service = format!("user.slice/user-{uid}.slice/user@{uid}.service");
        let elsewhere = is_delegated(&Path::new(CGROUPS).join(service));
        Ok(if elsewhere { Self::Elsewhere } else { Self::None })
    }
}

/// Whether this process may make cgroups in `directory`, move processes there, and switch controllers on.
fn is_delegated(directory: &Path) -> bool {
    ["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(|name| {
        // By its effective ids, as an open would judge.
        rustix::fs::accessat(CWD, directory.join(name), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    })
}
