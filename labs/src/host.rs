//! What this machine has of what labs need.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Whether there is a program of this name.
fn runs(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok()
}

/// What `lab` needs and this machine does not have.
pub fn lacks(lab: &Lab) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if busybox().is_none() {
        lacks.push(Lack {
            what: "There is no busybox, of which the root for the lab is made.".into(),
            advice: "cargo xtask setup installs it (on Debian, the package busybox-static).".into(),
        });
    }
    lacks.extend(lab.card.needs.iter().filter_map(|need| need.lack()));
    lacks
}

impl Need {
    fn lack(self) -> Option<Lack> {
        match self {
            Self::Root if nix::unistd::geteuid().is_root() => None,
            Self::Root => Some(Lack {
                what: "This lab makes mounts and namespaces, which only root may do.".into(),
                advice: "sudo -E env PATH=\"$PATH\" cargo lab check, or, without root, cargo xtask vm --lab NUMBER: \
                         in a virtual machine"
                    .into(),
            }),
            Self::Overlay => {
                // mount(2) would load it by itself where modules can be found; to have looked is better than to hope.
                let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                let has = known.lines().any(|line| line.ends_with("\toverlay"));
                (!has).then(|| Lack {
                    what: "This lab stacks layers; the overlay file system is not loaded here.".into(),
                    advice: "modprobe overlay, as root; cargo lab doctor says whether that helped".into(),
                })
            }
            Self::Network => {
                if !runs("nft") {
                    return Some(Lack {
                        what: "This lab writes firewall rules; there is no nft here to take them.".into(),
                        advice: "cargo xtask setup installs it (on Debian, the package nftables).".into(),
                    });
                }
                if !nix::unistd::geteuid().is_root() {
                    // Who cannot try hears that root is needed.
                    return None;
                }
                let tried = World::new().and_then(|world| world.nft(&["list", "ruleset"]));
                tried.err().map(|error| Lack {
                    what: format!("This lab makes bridges, cables and firewall rules. Here: {error:#}."),
                    advice:
                        "modprobe -a bridge veth nf_tables, as root; or use a virtual machine that has them"
                            .into(),
                })
            }
            Self::Registry => (!runs("docker-registry")).then(|| Lack {
                what: "This lab fetches from a real registry; there is no docker-registry here.".into(),
                advice: "cargo xtask setup installs it (on Debian, the package docker-registry).".into(),
            }),
            Self::SetUserId => {
                let room = std::env::temp_dir();
                let flags = nix::sys::statvfs::statvfs(&room).map(|found| found.flags());
                // Where it cannot be looked at, no program can be tried, and that says why.
                flags.is_ok_and(|flags| flags.contains(FsFlags::ST_NOSUID)).then(|| Lack {
                    what: format!(
                        "This lab runs a set-user-ID program; what is in {} cannot be one (nosuid).",
                        room.display()
                    ),
                    advice: "TMPDIR=/var/tmp cargo lab check, or another directory where it can".into(),
                })
            }
            Self::UserNamespaces => match Facts::gather() {
                Ok(facts) => {
                    obstacles(&facts).into_iter().find(|obstacle| obstacle.fatal).map(|obstacle| Lack {
                        what: format!(
                            "This lab makes user namespaces, also as an ordinary user. Here: {}.",
                            obstacle.found
                        ),
                        advice: obstacle.advice,
                    })
                }
                Err(error) => Some(Lack {
                    what: format!("This lab makes user namespaces. Here: {error}."),
                    advice: "mini-docker doctor says more; or use a virtual machine that has them".into(),
                }),
            },
            Self::Limits => {
                let missing: Vec<&str> = match Hierarchy::detect() {
                    Ok(host) => {
                        ["memory", "pids", "cpu"].into_iter().filter(|name| !host.has(name)).collect()
                    }
                    Err(_) => vec!["memory", "pids", "cpu"],
                };
                let writable = Path::new("/sys/fs/cgroup").exists();
                (!missing.is_empty() || !writable).then(|| Lack {
                    what: format!(
                        "This lab sets limits; this machine has no cgroups for: {}.",
                        missing.join(", ")
                    ),
                    advice: "mini-docker doctor says more; or use a virtual machine that has them".into(),
                })
            }
        }
    }
}
