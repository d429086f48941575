//! The cgroups of an ordinary user's containers: below the one that was delegated to the user, if any was.
//!
//! Which one that is depends on where a command runs. So a container's is recorded, for the command that finds its shim
//! dead, in `EXEC/containers/ID/cgroup-root`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cgroups::{Hierarchy, Limits};
use user_namespace::delegation::DELEGATE;
use user_namespace::{Delegation, IdMaps};

use crate::error::Result;
use crate::files::{self, Durability};

const RECORD: &str = "cgroup-root";

/// The tree that this process may make containers' cgroups in: the delegated cgroup is its root, and has the delegated
/// controllers. `own_ids` are those of the user namespace that the engine is in.
pub fn hierarchy(own_ids: &IdMaps) -> Result<Option<Hierarchy>> {
    let (uid, _) = own_ids.root()?;
    Ok(match Delegation::of(uid)? {
        Delegation::Here { root, controllers } => Some(Hierarchy::V2 { root, controllers }),
        Delegation::Version1 | Delegation::None | Delegation::Elsewhere => None,
    })
}

/// Records, in a container's fleeting directory, in which tree its cgroup is.
pub fn record(directory: &Path, hierarchy: &Hierarchy) -> Result<()> {
    match hierarchy {
        Hierarchy::V2 { root, .. } => files::write_json(&directory.join(RECORD), root, Durability::Fleeting),
        Hierarchy::V1 { .. } => Ok(()),
    }
}

/// The tree that was recorded there.
pub fn recorded(directory: &Path) -> Result<Option<Hierarchy>> {
    let root: Option<PathBuf> = files::read_json(&directory.join(RECORD))?;
    Ok(root.map(|root| {
        // A tree that is gone has none, and nothing in it can be limited.
        let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let controllers: BTreeSet<String> = text.split_whitespace().map(str::to_owned).collect();
        Hierarchy::V2 { root, controllers }
    }))
}

/// Takes out of `limits` what cannot be set there; a warning for each.
pub fn reduce(limits: &mut Limits, hierarchy: Option<&Hierarchy>) -> Vec<String> {
    // To attach a program that judges devices takes the host's root. A user cannot make nodes of devices either.
    limits.devices.clear();
    let Some(hierarchy) = hierarchy else {
        let none = *limits == Limits::default();
        let warning = "No limit of memory, processors, processes or disks is set: this user has no cgroup to do so \
                       (see 'mini-docker doctor')";
        return if none { Vec::new() } else { vec![warning.to_owned()] };
    };
    let lacking = limits.take_unavailable(hierarchy).into_iter();
    lacking
        .map(|(controller, what)| {
            format!("No limit of {what} is set: the {controller} controller is not delegated to this user ({DELEGATE})")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_delegated_is_told() {
        let asked = Limits {
            memory: Some(64 << 20),
            pids: Some(20),
            nano_cpus: Some(500_000_000),
            cpuset_cpus: Some("0".to_owned()),
            io_weight: Some(100),
            devices: cgroups::DeviceRule::defaults(),
            ..Limits::default()
        };
        let delegated = |controllers: &[&str]| Hierarchy::V2 {
            root: PathBuf::from("/sys/fs/cgroup/user"),
            controllers: controllers.iter().map(ToString::to_string).collect(),
        };
        let mut limits = asked.clone();
        insta::assert_snapshot!(reduce(&mut limits, Some(&delegated(&["memory", "pids"]))).join("\n"));
        assert_eq!(
            limits,
            Limits { memory: Some(64 << 20), pids: Some(20), ..Limits::default() },
            "the others stay"
        );
        assert_eq!(
            reduce(&mut asked.clone(), Some(&delegated(&["cpu", "cpuset", "io", "memory", "pids"]))).len(),
            0
        );
        assert_eq!(reduce(&mut asked.clone(), None).len(), 1);
        let nothing = Limits { devices: cgroups::DeviceRule::defaults(), ..Limits::default() };
        assert_eq!(reduce(&mut nothing.clone(), None).len(), 0);
        assert_eq!(reduce(&mut nothing.clone(), Some(&delegated(&[]))).len(), 0);
    }
}
