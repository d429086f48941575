//! What this machine has of what labs need.

use std::fmt;
use std::path::{Path, PathBuf};

use cgroups::Hierarchy;
use nix::sys::statvfs::FsFlags;
use serde::Deserialize;
use user_namespace::obstacles::{Facts, obstacles};

use crate::lab::Lab;
use crate::world::World;

/// Something that a lab needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To be root.
    Root,
    /// Limits on memory, on the number of processes, and on processor time.
    Limits,
    /// The overlay file system.
    Overlay,
    /// Bridges, cables, and nft for the firewall.
    Network,
    /// Debian's registry.
    Registry,
    /// That set-user-ID programs are such, where learners' programs are tried.
    SetUserId,
    /// User namespaces, also for ordinary users.
    UserNamespaces,
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What, and why it is needed.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// Whether the check asks for it itself.
    pub can_be_asked_for: bool,
}

impl Lack {
    fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into(), can_be_asked_for: false }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.what, self.advice)
    }
}

/// A shell and a few programs in one file that needs no other.
pub fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

/// Where the program of this name is: also where only root's shell looks, as it is root who runs it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(roots).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether `lab` needs root, and this user is another one.
pub fn needs_sudo(lab: &Lab) -> bool {
    lab.card.needs.contains(&Need::Root) && !nix::unistd::geteuid().is_root()
}

/// What `lab` needs and this machine does not have.
pub fn lacks(lab: &Lab) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if busybox().is_none() {
        lacks.push(Lack::new(
            "There is no busybox, of which the root for the lab is made.",
            "cargo xtask setup installs it (on Debian, the package busybox-static).",
        ));
    }
    if needs_sudo(lab) {
        lacks.push(root(lab, program("sudo").is_some()));
    }
    lacks.extend(lab.card.needs.iter().filter_map(|need| need.lack()));
    lacks
}

/// That this user is not root.
fn root(lab: &Lab, has_sudo: bool) -> Lack {
    // What the virtual machine has no room for.
    let is_elsewhere = lab.card.needs.iter().any(|need| matches!(need, Need::Registry | Need::Network));
    let machine =
        format!("cargo xtask vm --lab {} checks in a virtual machine, which needs no root.", lab.number());
    let how =
        if has_sudo { ": the check asks for it, by sudo." } else { ", and there is no sudo to ask for it." };
    Lack {
        what: format!("The grader makes mounts and namespaces, which only root may do{how}"),
        advice: match (has_sudo, is_elsewhere) {
            (true, false) => format!("Without sudo: {machine}"),
            (false, false) => machine,
            (_, true) => "Without sudo: become root in another way, by su for example.".to_owned(),
        },
        can_be_asked_for: has_sudo,
    }
}

impl Need {
    fn lack(self) -> Option<Lack> {
        match self {
            // Of this one, `lacks` knows more.
            Self::Root => None,
            Self::Overlay => {
                // mount(2) would load it by itself where modules can be found; to have looked is better than to hope.
                let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                let has = known.lines().any(|line| line.ends_with("\toverlay"));
                (!has).then(|| {
                    Lack::new(
                        "This lab stacks layers; the overlay file system is not loaded here.",
                        "modprobe overlay, as root; cargo lab doctor says whether that helped",
                    )
                })
            }
            Self::Network => {
                if program("nft").is_none() {
                    return Some(Lack::new(
                        "This lab writes firewall rules; there is no nft here to take them.",
                        "cargo xtask setup installs it (on Debian, the package nftables).",
                    ));
                }
                if !nix::unistd::geteuid().is_root() {
                    // Who cannot try hears that root is needed.
                    return None;
                }
                let tried = World::new().and_then(|world| world.nft(&["list", "ruleset"]));
                tried.err().map(|error| {
                    Lack::new(
                        format!("This lab makes bridges, cables and firewall rules. Here: {error:#}."),
                        "modprobe -a bridge veth nf_tables, as root; or use a virtual machine that has them",
                    )
                })
            }
            Self::Registry => program("docker-registry").is_none().then(|| {
                Lack::new(
                    "This lab fetches from a real registry; there is no docker-registry here.",
                    "cargo xtask setup installs it (on Debian, the package docker-registry).",
                )
            }),
            Self::SetUserId => {
                let room = std::env::temp_dir();
                let flags = nix::sys::statvfs::statvfs(&room).map(|found| found.flags());
                // Where it cannot be looked at, no program can be tried, and that says why.
                flags.is_ok_and(|flags| flags.contains(FsFlags::ST_NOSUID)).then(|| {
                    Lack::new(
                        format!(
                            "This lab runs a set-user-ID program; what is in {} cannot be one (nosuid).",
                            room.display()
                        ),
                        "TMPDIR=/var/tmp cargo lab check, or another directory where it can",
                    )
                })
            }
            Self::UserNamespaces => match Facts::gather() {
                Ok(facts) => obstacles(&facts).into_iter().find(|obstacle| obstacle.fatal).map(|obstacle| {
                    Lack::new(
                        format!(
                            "This lab makes user namespaces, also as an ordinary user. Here: {}.",
                            obstacle.found
                        ),
                        obstacle.advice,
                    )
                }),
                Err(error) => Some(Lack::new(
                    format!("This lab makes user namespaces. Here: {error}."),
                    "mini-docker doctor says more; or use a virtual machine that has them",
                )),
            },
            Self::Limits => {
                let missing: Vec<&str> = match Hierarchy::detect() {
                    Ok(host) => {
                        ["memory", "pids", "cpu"].into_iter().filter(|name| !host.has(name)).collect()
                    }
                    Err(_) => vec!["memory", "pids", "cpu"],
                };
                let writable = Path::new("/sys/fs/cgroup").exists();
                (!missing.is_empty() || !writable).then(|| {
                    Lack::new(
                        format!(
                            "This lab sets limits; this machine has no cgroups for: {}.",
                            missing.join(", ")
                        ),
                        "mini-docker doctor says more; or use a virtual machine that has them",
                    )
                })
            }
        }
    }
}
