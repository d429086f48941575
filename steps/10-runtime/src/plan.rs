//! A container before it is there: everything the start needs, as plain data.
//!
//! Whoever wants a container decides a [`Plan`], from an OCI config or from a record of the engine's; nothing that
//! comes after decides anything.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cgroups::{Cgroup, Limits};
use chroot::Program;
use overlay_layers::Overlay;
use pid_namespace::Namespaces;
use user_namespace::IdMaps;

use crate::confinement::Confinement;
use crate::error::Result;
use crate::rlimits::Rlimit;

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The namespaces that are made for it.
    pub namespaces: Namespaces,
    /// Which ids inside are which outside, if not the same: it has a user namespace then.
    pub maps: Option<IdMaps>,
    /// Whether its root is root of a user namespace only: its own, or the one that this process is in.
    pub in_user_namespace: bool,
    /// Its hostname, if it is to be set.
    pub hostname: Option<String>,
    /// Its NIS domain name, likewise.
    pub domainname: Option<String>,
    /// What its root is made of.
    pub base: Base,
    /// A directory that the root is attached to on its way to `/`.
    pub stage: PathBuf,
    /// What the root is furnished with.
    pub root: chroot::Plan,
    /// Its cgroup, which may not be there yet; none where this process may not make any.
    pub cgroup: Option<Cgroup>,
    /// What it may use.
    pub limits: Limits,
    /// Limits of its processes, each by itself.
    pub rlimits: Vec<Rlimit>,
    /// Kernel parameters of its own namespaces, name and value.
    pub sysctls: Vec<(String, String)>,
    /// How soon it is killed when the host's memory runs out, -1000 to 1000, if not as soon as this process.
    pub oom_score_adj: Option<i32>,
    /// What its programs may not do.
    pub confinement: Confinement,
    /// What runs. `HOME` is added when the user is known.
    pub program: Program,
    /// Whether an init process runs it.
    pub init: bool,
    /// Who runs it.
    pub user: User,
    /// Where it starts.
    pub working_dir: PathBuf,
    /// Whether the container ends when the process does that has started it.
    pub dies_with_parent: bool,
}

/// What a root is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// An image's layers and a writable one.
    Overlay(Overlay),
}

/// Who runs a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By names, looked up in the container's own files.
    Named {
        /// `USER[:GROUP]`, each a name or a number; empty is root.
        user: String,
        /// Groups that this user is in too, names or numbers.
        groups: Vec<String>,
    },
}

impl Base {
    /// A mount of it that is attached nowhere.
    pub(crate) fn mount(&self) -> Result<OwnedFd> {
        match self {
            Self::Overlay(overlay) => Ok(overlay.mount()?),
        }
    }
}

impl Plan {
    /// Whether it is started by an ordinary user, as whose children all its processes count.
    pub fn is_of_a_user(&self) -> bool {
        self.in_user_namespace && self.maps.is_none()
    }
}
