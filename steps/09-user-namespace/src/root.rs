//! Root of a user namespace: becoming it, and furnishing a root as it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use chroot::mount::Attributes;
use chroot::{Error as KernelError, Plan, Source, devices, plan};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use pid_namespace::Namespaces;

use crate::error::Result;
use crate::map::IdMaps;

/// Becomes user 0 and group 0 of the user namespace that this process is in, and gives up all other groups.
///
/// A process in a new namespace keeps the ids it had outside. Until the maps are set, and it has taken on ids that they
/// have, it is nobody (65534) inside, and cannot make a file.
///
/// A change of ids makes a process *undumpable* (`PR_SET_DUMPABLE(2const)`), and the files in `/proc/self` then belong to
/// the host's root until the next `execve(2)`: `oom_score_adj` has to be written before, or by somebody else.
///
/// # Errors
/// EINVAL if the maps are not set yet, or lack 0.
pub fn become_root() -> Result<()> {
    match nix::unistd::setgroups(&[]) {
        // `deny` was the price for a map that nobody with privileges has written: the groups stay.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(KernelError::new("give up", "the groups", errno).into()),
    }
    take_ids()
}

/// Becomes user 0 and group 0, with the groups that the process has.
pub(crate) fn take_ids() -> Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid).and_then(|()| nix::unistd::setresuid(uid, uid, uid)).map_err(
        |errno| KernelError::new("become", "root of the user namespace", errno).hint("its maps must hold 0"),
    )?;
    tracing::info!("this process is root of its user namespace now");
    Ok(())
}

/// Changes `plan` to what root of a user namespace with `maps` may do, whose process has made the namespaces `own` as
/// well. To be applied before [`crate::Scaffold::raise`] or [`host_devices`].
///
/// - A kernel file system can be mounted by root of the namespace that it shows: procfs belongs to the pid namespace,
///   sysfs to the network's, cgroup to that of cgroups. What is shared with the host is bound from there, where it has its
///   usual place; elsewhere the host has another thing by that name, and the kernel is left to refuse. That of message
///   queues is left out then: a host may not have it mounted, and `mq_open(3)` works without.
/// - devpts has a group for terminals, 5, which the maps may not have: without it the terminals belong to who opens
///   them.
pub fn adapt(plan: &mut Plan, maps: &IdMaps, own: Namespaces) {
    plan.mounts.retain(|mount| {
        let queues = matches!(&mount.source, Source::Filesystem { fstype, .. } if fstype == "mqueue");
        !(queues && mount.target == Path::new("/dev/mqueue")) || own.contains(Namespaces::IPC)
    });
    for mount in &mut plan.mounts {
        let Source::Filesystem { fstype, options, .. } = &mut mount.source else { continue };
        let (owner, place) = match &**fstype {
            "proc" => (Namespaces::PID, "/proc"),
            "sysfs" => (Namespaces::NET, "/sys"),
            "cgroup" | "cgroup2" => (Namespaces::CGROUP, "/sys/fs/cgroup"),
            "devpts" => {
                options.retain(|(key, value)| key != "gid" || is_mapped(value.as_deref(), maps));
                continue;
            }
            _ => continue,
        };
        let is_the_hosts = mount.target == Path::new(place)
            || (owner == Namespaces::CGROUP && mount.target.starts_with(place));
        if !own.contains(owner) && is_the_hosts {
            mount.source = Source::Bind { from: mount.target.clone(), recursive: true };
        }
    }
}

fn is_mapped(gid: Option<&str>, maps: &IdMaps) -> bool {
    gid.and_then(|gid| gid.parse().ok()).and_then(|gid| maps.gids.to_outside(gid)).is_some()
}

/// Binds the host's device nodes of the same names in place of those that `plan` would make: `mknod(2)` is refused in
/// a user namespace, whoever asks. For an ordinary user; the host's root makes nodes ([`crate::Scaffold`]).
pub fn host_devices(plan: &mut Plan) {
    for device in std::mem::take(&mut plan.devices) {
        let path = device.path;
        plan.mounts
            .push(plan::Mount { follow: false, ..plan::bind(path.clone(), path, Attributes::default()) });
    }
}

/// [`chroot::enter`] as root of a user namespace, with a plan that was adapted: `/dev` gets its links afterwards.
///
/// The host's root directory serves to attach the tree to: whoever this process is outside, it can enter that.
///
/// # Errors
/// What the kernel refuses.
pub fn enter(tree: &OwnedFd, plan: &Plan) -> Result<()> {
    chroot::enter(tree, Path::new("/"), plan)?;
    link_devices()
}

/// The second half of [`enter`]: the links in this process's `/dev`.
///
/// # Errors
/// What the kernel refuses.
pub fn link_devices() -> Result<()> {
    // Step 1 makes them together with the devices, of which there are none in such a plan.
    for (name, target) in devices::LINKS {
        let path = Path::new("/dev").join(name);
        match symlink(target, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(KernelError::new("make the link", path.display(), error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is different in an adapted plan.
    fn changes(maps: &IdMaps, own: Namespaces) -> String {
        let hybrid = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let before = Plan::container(hybrid);
        let mut after = before.clone();
        adapt(&mut after, maps, own);
        let line = |sign: char, mount: &plan::Mount| format!("{sign} {mount}\n");
        let gone =
            before.mounts.iter().filter(|mount| !after.mounts.contains(mount)).map(|mount| line('-', mount));
        let new =
            after.mounts.iter().filter(|mount| !before.mounts.contains(mount)).map(|mount| line('+', mount));
        gone.chain(new).collect()
    }

    #[test]
    fn what_such_a_root_may_mount() {
        assert_eq!(changes(&IdMaps::identity(), Namespaces::all()), "");
        insta::assert_snapshot!(changes(&IdMaps::root_only(1000, 1000), Namespaces::all()));
        insta::assert_snapshot!(changes(&IdMaps::identity(), Namespaces::MOUNT));
    }

    /// What the host has there is not what was asked for.
    #[test]
    fn nothing_else_is_bound_from_the_host() {
        let mounts = ["proc", "sysfs", "cgroup2", "mqueue"]
            .map(|fstype| plan::filesystem("/root", fstype, &[], Attributes::default()));
        let before = Plan { mounts: mounts.into(), ..Plan::default() };
        let mut after = before.clone();
        adapt(&mut after, &IdMaps::identity(), Namespaces::MOUNT);
        assert_eq!(after, before);
    }

    #[test]
    fn devices_are_the_hosts() {
        let mut plan = Plan::container("");
        let before = plan.mounts.len();
        host_devices(&mut plan);
        let bound: String = plan.mounts[before..].iter().map(|mount| format!("{mount}\n")).collect();
        assert!(plan.devices.is_empty());
        insta::assert_snapshot!(bound);
    }
}
