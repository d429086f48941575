//! A container before it is there: everything the start needs, as plain data.
//!
//! Whoever wants a container decides a [`Plan`], from an OCI config ([`crate::config`]) or from a record of the
//! engine's; nothing that comes after decides anything.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use cgroups::{Cgroup, Limits, Step};
use chroot::{Program, mount};
use overlay_layers::Overlay;
use pid_namespace::Namespaces;
use user_namespace::{IdMaps, UserNamespace};

use crate::confinement::Confinement;
use crate::error::{Error, Result};
use crate::hooks::{Hooks, Subject};
use crate::rlimits::Rlimit;
use crate::schedule::Schedule;

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The namespaces that are made for it.
    pub namespaces: Namespaces,
    /// The namespaces that it joins, each by a path such as `/run/netns/x`.
    pub joined: Vec<(Namespaces, PathBuf)>,
    /// Which ids inside are which outside, if not the same: it has a user namespace then, its own or one that it joins.
    pub maps: Option<IdMaps>,
    /// Whether its root is root of a user namespace only: its own, or the one that this process is in.
    pub in_user_namespace: bool,
    /// What its clocks are set to, as `/proc/PID/timens_offsets` takes it (`time_namespaces(7)`).
    pub clocks: Option<String>,
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
    /// The trees that mounts of the root count on, and that are made outside ([`chroot::plan::Finer::given`]).
    pub given: Vec<Given>,
    /// Its cgroup, which may not be there yet; none where this process may not make any.
    pub cgroup: Option<Cgroup>,
    /// What it may use.
    pub limits: Limits,
    /// What is to be written into its cgroup besides.
    pub writes: Vec<Step>,
    /// Kernel parameters of its own namespaces, name and value.
    pub sysctls: Vec<(String, String)>,
    /// Whether it leaves the session keyring of whoever starts it for one of its own.
    pub own_keyring: bool,
    /// What runs in it.
    pub process: Process,
    /// Whether an init process runs it.
    pub init: bool,
    /// Whether the container ends when the process does that has started it.
    pub dies_with_parent: bool,
    /// Programs that are run on its way.
    pub hooks: Hooks,
    /// What those are told about it.
    pub subject: Subject,
}

impl Plan {
    /// Whether others may look into its processes before its program starts, or this binary is what runs there, or what
    /// is run cannot be looked at first: programs other than its own, or one that a security module lets nobody trace.
    pub fn is_exposed(&self) -> bool {
        self.init
            || self.maps.is_some()
            || !self.namespaces.contains(Namespaces::PID)
            || self.hooks != Hooks::default()
            || self.process.confinement.security_module.is_some()
    }
}

/// A tree that the container's own process could not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Only the host's root can show one under other owners.
    Shifted(Shifted),
    /// The container's cgroup does not let its processes open the device that this lies on.
    Filesystem(chroot::Mount),
}

/// A piece of the host's tree that is shown under other owners (step 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shifted {
    /// The host's path.
    pub from: PathBuf,
    /// Whether what is mounted in it comes along.
    pub recursive: bool,
    /// Whether that is shown under other owners too.
    pub all: bool,
    /// Which owners on the disk are shown as which.
    pub maps: IdMaps,
}

/// A program in a container: its first, or one that comes later.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// What runs. `HOME` is added when the user is known.
    pub program: Program,
    /// Who runs it.
    pub user: User,
    /// Where it starts.
    pub working_dir: PathBuf,
    /// Which permissions the files that it makes are to lack, if not those that the caller's lack (`umask(2)`).
    pub umask: Option<u32>,
    /// Limits of its processes, each by itself.
    pub rlimits: Vec<Rlimit>,
    /// How soon it is killed when the host's memory runs out, -1000 to 1000, if not as soon as this process.
    pub oom_score_adj: Option<i32>,
    /// When it runs, and what it seems to run on.
    pub schedule: Schedule,
    /// What it may not do.
    pub confinement: Confinement,
    /// How many of this process's descriptors, from 3 on, it gets.
    pub descriptors: u32,
}

/// What a root is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// An image's layers and a writable one.
    Overlay(Overlay),
    /// A directory of the host's.
    Directory(PathBuf),
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
    /// By numbers, whatever the container's files say.
    Numbers {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// The groups that it is in too; none but these.
        groups: Vec<u32>,
    },
}

impl Base {
    /// A mount of it that is attached nowhere.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn mount(&self) -> Result<OwnedFd> {
        match self {
            Self::Overlay(overlay) => Ok(overlay.mount()?),
            Self::Directory(path) => Ok(mount::clone_tree(path, true)?),
        }
    }
}

impl Given {
    /// The tree, attached nowhere. This process must have a single thread, and be the host's root.
    pub(crate) fn tree(&self) -> Result<OwnedFd> {
        match self {
            Self::Shifted(shifted) => shifted.tree(),
            Self::Filesystem(mount) => Ok(chroot::open_mount(mount, &[])?
                .ok_or_else(|| Error::new(format!("{mount} makes no mount, and nothing to give")))?),
        }
    }
}

impl Shifted {
    fn tree(&self) -> Result<OwnedFd> {
        let tree = mount::clone_tree(&self.from, self.recursive)?;
        user_namespace::shift(&tree, UserNamespace::with(&self.maps)?.as_fd(), self.all)?;
        Ok(tree)
    }
}

impl Plan {
    /// Whether it joins a namespace of this kind by a path.
    pub fn joins(&self, kind: Namespaces) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    /// Whether it is started by an ordinary user, as whose children all its processes count.
    pub fn is_of_a_user(&self) -> bool {
        self.in_user_namespace && self.maps.is_none()
    }
}
