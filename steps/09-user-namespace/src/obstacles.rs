//! What stands between an ordinary user and containers on this host, and how to get it out of the way.
//!
//! Looking ([`Facts::gather`]) and judging ([`obstacles`]) are apart, so that every host can be had in a test.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::MsFlags;
use pid_namespace::{Exit, Namespaces};
use rustix::fs::{Mode, OFlags};

use crate::assign::{find, is_privileged};
use crate::delegation::{DELEGATE, Delegation};
use crate::error::Result;
use crate::folders;
use crate::subordinate::{Accounts, User};

/// The controllers of cgroup v2 that limits of a container need.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Where a program in user space gets the packets of a network namespace (`tuntap`).
const TUN: &str = "/dev/net/tun";

/// One thing that is missing for an ordinary user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is about, in a word or two.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What does not work for it.
    pub means: &'static str,
    /// How to get it. What takes root says so.
    pub advice: String,
    /// Whether it keeps every container from starting.
    pub fatal: bool,
}

/// What was found on a host.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who is asking.
    pub user: User,
    /// Users, and their subordinate ids.
    pub accounts: Accounts,
    /// Debian's own switch, `kernel.unprivileged_userns_clone`; most kernels have none.
    pub unprivileged_userns_clone: Option<u64>,
    /// Ubuntu's own switch, `kernel.apparmor_restrict_unprivileged_userns` (from 23.10).
    pub apparmor_restricts: Option<u64>,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// Why a user namespace could not be made, when it was tried.
    pub refused: Option<String>,
    /// `newuidmap` and `newgidmap`.
    pub helpers: [Helper; 2],
    /// Whether this user may divide cgroups.
    pub cgroups: Delegation,
    /// Why `XDG_RUNTIME_DIR` cannot be used.
    pub runtime_directory: Result<PathBuf, String>,
    /// What connects a network namespace to the host's network without privileges.
    pub connector: Connector,
}

/// A program that sets maps for ordinary users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helper {
    /// It is not installed.
    Missing,
    /// It has lost its privileges, perhaps in a copy of the system.
    Powerless(PathBuf),
    /// It is as it should be.
    Ready,
}

/// `slirp4netns`, which takes packets from a network namespace to the host's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connector {
    /// It is not installed.
    Missing,
    /// The device from which it gets the packets cannot be opened, for this reason.
    NoDevice(String),
    /// It is as it should be.
    Ready,
}

/// What is missing for this process's user, the fatal first. For root, nothing is.
///
/// Whether a user namespace can be made is tried, if this process has a single thread.
///
/// # Errors
/// What the kernel refuses that has nothing to do with the question.
pub fn examine() -> Result<Vec<Obstacle>> {
    let facts = Facts::gather()?;
    Ok(if facts.user.uid == 0 { Vec::new() } else { obstacles(&facts) })
}

/// What is missing according to `facts`, the fatal first.
pub fn obstacles(facts: &Facts) -> Vec<Obstacle> {
    let mut found = namespaces(facts);
    found.extend(ids(facts));
    found.extend(cgroups(facts));
    if let Err(reason) = &facts.runtime_directory {
        found.push(Obstacle {
            what: "runtime folder",
            found: reason.clone(),
            means: "sockets of containers lie in /tmp, and outlive a logout",
            advice: "log in by a session of systemd's (pam_systemd), not by su".to_owned(),
            fatal: false,
        });
    }
    found.extend(network(&facts.connector));
    found.sort_by_key(|obstacle| !obstacle.fatal);
    found
}

/// Whether containers can be connected to the outside.
fn network(connector: &Connector) -> Option<Obstacle> {
    let (found, advice) = match connector {
        Connector::Ready => return None,
        Connector::Missing => {
            ("slirp4netns is not installed".to_owned(), "as root, install the package slirp4netns")
        }
        Connector::NoDevice(reason) => (
            format!("{TUN} cannot be opened: {reason}"),
            "as root, run: modprobe tun && chmod 666 /dev/net/tun (which udev does on most systems)",
        ),
    };
    Some(Obstacle {
        what: "network",
        found,
        means: "containers reach each other, but nothing outside",
        advice: advice.to_owned(),
        fatal: false,
    })
}

/// Whether user namespaces can be made at all.
fn namespaces(facts: &Facts) -> Vec<Obstacle> {
    let fatal = |found: &str, advice: &str| Obstacle {
        what: "user namespaces",
        found: found.to_owned(),
        means: "no container can be started without root",
        advice: advice.to_owned(),
        fatal: true,
    };
    let mut all = Vec::new();
    if facts.unprivileged_userns_clone == Some(0) {
        all.push(fatal(
            "kernel.unprivileged_userns_clone is 0",
            "as root, run: sysctl -w kernel.unprivileged_userns_clone=1",
        ));
    }
    if facts.max_user_namespaces == Some(0) {
        all.push(fatal(
            "user.max_user_namespaces is 0",
            "as root, run: sysctl -w user.max_user_namespaces=15000",
        ));
    }
    // The switch does not hold for programs that have a profile with the rule `userns`: what counts is the attempt.
    if let Some(reason) = &facts.refused
        && all.is_empty()
    {
        all.push(if facts.apparmor_restricts.is_some_and(|value| value != 0) {
            fatal(
                "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces have no privileges",
                "as root, give this program an AppArmor profile with the rule `userns,`, or run: \
                 sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            )
        } else {
            fatal(reason, "is this a container, or a kernel without CONFIG_USER_NS?")
        });
    }
    all
}

/// Whether there are more ids than the user's own.
fn ids(facts: &Facts) -> Vec<Obstacle> {
    let missing = |found: String, advice: String| Obstacle {
        what: "subordinate ids",
        found,
        means: "containers have one user, 0: images with files of others cannot be unpacked",
        advice,
        fatal: false,
    };
    let mut all = Vec::new();
    if let Err(crate::Error::NoIds { file, name, advice }) = facts.accounts.own_maps(&facts.user) {
        all.push(missing(format!("{file} gives no ids to {name}"), format!("as root, {advice}")));
    }
    for (helper, name) in facts.helpers.iter().zip(["newuidmap", "newgidmap"]) {
        match helper {
            Helper::Ready => {}
            Helper::Missing => all.push(missing(
                format!("{name} is not installed"),
                "as root, install the package uidmap".to_owned(),
            )),
            Helper::Powerless(path) => all.push(missing(
                format!("{} is not set-user-ID root", path.display()),
                format!("as root, run: chmod u+s {}", path.display()),
            )),
        }
    }
    all
}

/// Whether containers can have limits.
fn cgroups(facts: &Facts) -> Option<Obstacle> {
    let missing = |found: String, advice: &str| -> Option<Obstacle> {
        let means = "containers have no limits of memory, processors or processes, and cannot be paused";
        Some(Obstacle { what: "cgroups", found, means, advice: advice.to_owned(), fatal: false })
    };
    match &facts.cgroups {
        Delegation::Version1 => missing(
            "this host has cgroup v1, which cannot be handed to users".to_owned(),
            "as root, boot with systemd.unified_cgroup_hierarchy=1",
        ),
        Delegation::None => missing(
            "no cgroup is this user's".to_owned(),
            &format!("as root, run: loginctl enable-linger {}; then log in again", facts.user.uid),
        ),
        Delegation::Elsewhere => missing(
            "this session is not in the cgroup of the user's services".to_owned(),
            "start it by: systemd-run --user --scope --property=Delegate=yes mini-docker …",
        ),
        Delegation::Here { controllers, .. } => {
            let lacking: Vec<&str> =
                CONTROLLERS.into_iter().filter(|wanted| !controllers.contains(*wanted)).collect();
            (!lacking.is_empty()).then(|| Obstacle {
                what: "cgroups",
                found: format!("the user's cgroup lacks {}", lacking.join(", ")),
                means: "limits of these kinds cannot be set",
                advice: DELEGATE.to_owned(),
                fatal: false,
            })
        }
    }
}

impl Facts {
    /// Looks at this host as this process's user sees it.
    ///
    /// # Errors
    /// What the kernel refuses that has nothing to do with the question.
    pub fn gather() -> Result<Self> {
        let accounts = Accounts::read()?;
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let sysctl = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse().ok();
        Ok(Self {
            user: accounts.user(uid, gid),
            accounts,
            unprivileged_userns_clone: sysctl("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            max_user_namespaces: sysctl("/proc/sys/user/max_user_namespaces"),
            refused: attempt()?,
            helpers: ["newuidmap", "newgidmap"].map(Helper::look_for),
            cgroups: Delegation::of(uid)?,
            runtime_directory: folders::runtime_directory(),
            connector: Connector::look_for(),
        })
    }
}

impl Helper {
    fn look_for(name: &str) -> Self {
        match find(name) {
            None => Self::Missing,
            Some(path) if is_privileged(&path) => Self::Ready,
            Some(path) => Self::Powerless(path),
        }
    }
}

impl Connector {
    fn look_for() -> Self {
        if find("slirp4netns").is_none() {
            return Self::Missing;
        }
        match rustix::fs::open(TUN, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => Self::Ready,
            Err(errno) => Self::NoDevice(Errno::from_raw(errno.raw_os_error()).to_string()),
        }
    }
}

/// Makes a user namespace and uses a privilege in it; why that failed, if it did.
fn attempt() -> Result<Option<String>> {
    let child = pid_namespace::spawn(Namespaces::USER | Namespaces::MOUNT, None, || {
        let none = None::<&str>;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        u8::from(nix::mount::mount(none, "/", none, flags, none).is_err())
    });
    match child {
        // Another thread is in the way, which says nothing about the host.
        Err(error) if error.errno() == Errno::EBUSY => Ok(None),
        Err(error) => Ok(Some(error.to_string())),
        Ok(child) => Ok(match child.wait()? {
            Exit::Code(0) => None,
            _ => Some("a user namespace was made, and has no privileges".to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        let accounts = Accounts {
            passwd: "alice:x:1000:1000::/home/alice:/bin/sh\n".to_owned(),
            subuid: "alice:100000:65536\n".to_owned(),
            subgid: "alice:100000:65536\n".to_owned(),
            ..Accounts::default()
        };
        Facts {
            user: accounts.user(1000, 1000),
            accounts,
            unprivileged_userns_clone: Some(1),
            apparmor_restricts: Some(0),
            max_user_namespaces: Some(15_000),
            refused: None,
            helpers: [Helper::Ready, Helper::Ready],
            cgroups: here(&CONTROLLERS),
            runtime_directory: Ok(PathBuf::from("/run/user/1000")),
            connector: Connector::Ready,
        }
    }

    fn here(controllers: &[&str]) -> Delegation {
        let controllers = controllers.iter().map(ToString::to_string).collect();
        Delegation::Here { root: PathBuf::from("/sys/fs/cgroup/user"), controllers }
    }

    #[test]
    fn nothing_is_in_the_way() {
        assert_eq!(obstacles(&good()), []);
    }

    #[test]
    fn what_is_in_the_way_of_each_host() {
        let refused = Some("EPERM".to_owned());
        let hosts = [
            ("old Debian", Facts { unprivileged_userns_clone: Some(0), refused: refused.clone(), ..good() }),
            ("Ubuntu", Facts { apparmor_restricts: Some(1), refused: refused.clone(), ..good() }),
            ("Ubuntu with a profile", Facts { apparmor_restricts: Some(1), ..good() }),
            ("RHEL 7", Facts { max_user_namespaces: Some(0), refused: refused.clone(), ..good() }),
            ("in a container", Facts { refused, ..good() }),
            ("no ids", Facts { accounts: Accounts::default(), ..good() }),
            ("no uidmap", Facts { helpers: [Helper::Missing, Helper::Missing], ..good() }),
            (
                "a copy",
                Facts { helpers: [Helper::Ready, Helper::Powerless("/bin/newgidmap".into())], ..good() },
            ),
            ("cgroup v1", Facts { cgroups: Delegation::Version1, ..good() }),
            ("no systemd", Facts { cgroups: Delegation::None, ..good() }),
            ("by SSH", Facts { cgroups: Delegation::Elsewhere, ..good() }),
            ("as delivered", Facts { cgroups: here(&["memory", "pids"]), ..good() }),
            ("su", Facts { runtime_directory: Err("XDG_RUNTIME_DIR is not set".to_owned()), ..good() }),
            ("no network", Facts { connector: Connector::Missing, ..good() }),
            ("no device", Facts { connector: Connector::NoDevice("EACCES".to_owned()), ..good() }),
        ];
        let said: String = hosts
            .into_iter()
            .map(|(name, facts)| {
                let all: String = obstacles(&facts)
                    .iter()
                    .map(|Obstacle { what, found, means, advice, fatal }| {
                        format!(
                            "  {what}{}: {found}\n    {means}\n    {advice}\n",
                            if *fatal { "!" } else { "" }
                        )
                    })
                    .collect();
                format!("{name}\n{all}")
            })
            .collect();
        insta::assert_snapshot!(said);
    }
}
