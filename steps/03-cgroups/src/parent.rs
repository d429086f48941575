//! Making cgroups, and making the ones above them fit to hold them.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Error, Result, errno};
use crate::files;
use crate::hierarchy::{Hierarchy, V2};

/// Where the processes go that stand in the way at the root of a cgroup namespace.
const LEAF: &str = "mini-docker-init";

/// The place of a parent below a hierarchy's root, from what `--cgroup-parent` was given.
///
/// It is a path; where it begins makes no difference. A single name that ends in `.slice` is systemd's, in which dashes
/// stand for levels: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
///
/// # Errors
/// Paths with `..`.
pub(crate) fn parent_path(parent: &str) -> Result<PathBuf> {
    let wrong = |reason| Err(Error::Name { name: parent.to_owned(), reason });
    if let Some(name) = parent.strip_suffix(".slice").filter(|name| !name.contains('/')) {
        if name == "-" {
            return Ok(PathBuf::new());
        }
        if name.is_empty() || name.split('-').any(str::is_empty) {
            return wrong("a slice's name is words with single dashes between them");
        }
        let dashes = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
        return Ok(dashes.map(|end| format!("{}.slice", &name[..end])).collect());
    }
    let mut path = PathBuf::new();
    for component in Path::new(parent).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return wrong("'..' could lead out of the hierarchy"),
        }
    }
    Ok(path)
}

/// Makes a directory for a cgroup, with those above it. One that is there is fine.
pub(crate) fn make(hierarchy: &Hierarchy, root: &Path, path: &Path) -> Result<PathBuf> {
    let directory = root.join(path);
    let cpuset = !hierarchy.is_v2() && hierarchy.root("cpuset") == Some(root);
    // Mostly only the last directory is missing. Where more are, another process may be removing an empty parent at the
    // same moment: then it is made once more.
    let mut attempts = 0..8;
    loop {
        if hierarchy.is_v2() {
            match enable(root, path.parent().unwrap_or(path)) {
                Err(Error::Kernel { errno: Errno::ENOENT, .. }) if attempts.next().is_some() => continue,
                enabled => enabled?,
            }
        }
        match mkdir(&directory) {
            Ok(()) => break,
            Err(Errno::ENOENT) if attempts.next().is_some() => make_above(root, path, cpuset)?,
            Err(errno) => {
                return Err(Error::kernel("make the cgroup", &directory, errno).hint(match errno {
                    Errno::EROFS | Errno::EACCES | Errno::EPERM => {
                        "only root may, and only in its own hierarchy"
                    }
                    Errno::EAGAIN => "a cgroup above allows no more: see its cgroup.max.descendants",
                    _ => "",
                }));
            }
        }
    }
    if cpuset {
        inherit_cpuset(&directory)?;
    }
    Ok(directory)
}

/// Makes the directories above a cgroup.
fn make_above(root: &Path, path: &Path, cpuset: bool) -> Result<()> {
    let mut above = root.to_owned();
    for name in path.parent().unwrap_or(path) {
        above.push(name);
        match mkdir(&above) {
            Ok(()) if cpuset => inherit_cpuset(&above)?,
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(Error::kernel("make the cgroup", &above, errno)),
        }
    }
    Ok(())
}

fn mkdir(path: &Path) -> Result<(), Errno> {
    match fs::create_dir(path).map_err(|error| errno(&error)) {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// A new v1 cpuset has no processors and no memory, and takes no processes until it has: give it its parent's.
fn inherit_cpuset(directory: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if files::read(&own)?.is_some_and(|list| !list.trim().is_empty()) {
            continue;
        }
        let above = directory.parent().unwrap_or(directory).join(file);
        let list = files::read(&above)?.unwrap_or_default();
        files::write(&own, list.trim()).map_err(|errno| Error::kernel("write to", &own, errno))?;
    }
    Ok(())
}

/// Switches the controllers on for the cgroups in `parent`, from the root of the v2 tree down: a cgroup has what its
/// parent's `cgroup.subtree_control` names, and that can only name what the parent has itself.
fn enable(root: &Path, parent: &Path) -> Result<()> {
    // On all but the first start this is the whole work.
    let control = |directory: &Path| files::read(&directory.join("cgroup.subtree_control"));
    if let Some(enabled) = control(&root.join(parent))?
        && V2.iter().all(|controller| enabled.split_whitespace().any(|name| name == *controller))
    {
        return Ok(());
    }
    let mut directory = root.to_owned();
    for name in [None].into_iter().chain(parent.iter().map(Some)) {
        if let Some(name) = name {
            directory.push(name);
            mkdir(&directory).map_err(|errno| Error::kernel("make the cgroup", &directory, errno))?;
        }
        let available = files::read(&directory.join("cgroup.controllers"))?.unwrap_or_default();
        let enabled = control(&directory)?.unwrap_or_default();
        let listed = |list: &str, controller: &str| list.split_whitespace().any(|name| name == controller);
        let missing: Vec<&str> =
            V2.into_iter().filter(|name| listed(&available, name) && !listed(&enabled, name)).collect();
        if !missing.is_empty() {
            switch_on(root, &directory, &missing)?;
        }
    }
    Ok(())
}

/// Switches controllers on for the cgroups in one directory.
///
/// The kernel refuses (EBUSY) while processes are in that very cgroup: a cgroup either holds processes or divides what
/// it has among cgroups below, so that the two never compete ("no internal processes", kernel:
/// admin-guide/cgroup-v2.rst). Only the real root is exempt. In a container or a systemd scope of our own, the
/// root that we see is no real one, and we may well be in it ourselves: then everybody there moves one level down,
/// which changes nothing for them, as the leaf has no limits of its own.
fn switch_on(root: &Path, directory: &Path, controllers: &[&str]) -> Result<()> {
    let control = directory.join("cgroup.subtree_control");
    // All at once. Alone, a controller that can also divide threads (cpu, pids) would be let in beside processes, at the
    // price that the cgroup could never have the others.
    let all: Vec<_> = controllers.iter().map(|controller| format!("+{controller}")).collect();
    let mut result = files::write(&control, &all.join(" "));
    // The real root, which has no type, keeps its processes: whatever is busy there, it is not for them.
    let may_move = directory == root && root.join("cgroup.type").exists();
    for _ in 0..5 {
        if result != Err(Errno::EBUSY) || !may_move {
            break;
        }
        tracing::info!(
            "move the processes of the root cgroup into {LEAF}: a cgroup with processes cannot be divided"
        );
        move_down(root)?;
        result = files::write(&control, &all.join(" "));
    }
    match result {
        Ok(()) => {
            tracing::info!("switch on {} for the cgroups in {}", controllers.join(", "), directory.display());
            return Ok(());
        }
        Err(Errno::EBUSY) => {
            return Err(Error::kernel("switch on controllers in", &control, Errno::EBUSY)
                .hint("there are processes in that cgroup itself; choose another --cgroup-parent"));
        }
        // Not all of them work here: cpu does not with realtime processes about, nor memory in a threaded cgroup.
        Err(_) => {}
    }
    for (controller, value) in controllers.iter().zip(&all) {
        // Who asks for a limit of this controller will be told; all others need not care.
        if let Err(errno) = files::write(&control, value) {
            tracing::warn!("cannot switch on the {controller} controller in {}: {errno}", control.display());
        }
    }
    Ok(())
}

fn move_down(root: &Path) -> Result<()> {
    let leaf = root.join(LEAF);
    mkdir(&leaf).map_err(|errno| Error::kernel("make the cgroup", &leaf, errno))?;
    let target = leaf.join("cgroup.procs");
    for pid in files::read(&root.join("cgroup.procs"))?.unwrap_or_default().lines() {
        match files::write(&target, pid) {
            // It ended meanwhile. (A kernel thread cannot move, EINVAL; only the real root has those.)
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::kernel(format!("move process {pid} into"), &target, errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        let path = |parent: &str| parent_path(parent).map(|path| path.display().to_string());
        assert_eq!(path("mini-docker").unwrap(), "mini-docker");
        assert_eq!(path("/a//b/./c/").unwrap(), "a/b/c");
        assert_eq!(path("").unwrap(), "");
        assert_eq!(path("system.slice").unwrap(), "system.slice");
        assert_eq!(path("a-b-c.slice").unwrap(), "a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(path("-.slice").unwrap(), "");
        assert_eq!(path("x/a-b.slice").unwrap(), "x/a-b.slice", "a path is a path");
        for bad in ["../x", "a/../b", "a--b.slice", "-a.slice", ".slice"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
