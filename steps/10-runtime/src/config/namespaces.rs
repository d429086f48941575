//! Which namespaces are new and which are joined; id maps, clocks and kernel parameters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use pid_namespace::Namespaces;
use user_namespace::{IdMap, IdMaps, Range};

use super::document::{IdMapping, Linux, Namespace};
use super::{absolute, at};
use crate::error::Result;

/// The specification's names.
const KINDS: [(&str, Namespaces); 8] = [
    ("pid", Namespaces::PID),
    ("network", Namespaces::NET),
    ("mount", Namespaces::MOUNT),
    ("ipc", Namespaces::IPC),
    ("uts", Namespaces::UTS),
    ("user", Namespaces::USER),
    ("cgroup", Namespaces::CGROUP),
    ("time", Namespaces::TIME),
];

/// Parameters of the ipc namespace (`ipc_namespaces(7)`); those below `fs.mqueue.` are too.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What a config says about namespaces.
pub(super) struct Chosen {
    pub(super) own: Namespaces,
    pub(super) joined: Vec<(Namespaces, PathBuf)>,
    pub(super) maps: Option<IdMaps>,
    pub(super) clocks: Option<String>,
}

impl Chosen {
    /// Whether it is in a namespace of this kind that is not the host's.
    pub(super) fn has(&self, kind: Namespaces) -> bool {
        self.own.contains(kind) || self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    /// The kernel parameters. One that belongs to no namespace of the container's would change the host.
    pub(super) fn sysctls(&self, wanted: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
        let mut plan = Vec::new();
        for (given, value) in wanted {
            // `net/ipv4/conf/eth0.1/forwarding` says with slashes what has dots in its parts (sysctl(8)).
            let name = if given.contains('/') {
                given.replace('.', "\0").replace('/', ".").replace('\0', "/")
            } else {
                given.clone()
            };
            let field = format!("linux.sysctl.{given}");
            let safe = name.split('.').all(|part| !part.is_empty() && part != "..");
            let owner = match name.as_str() {
                _ if !safe => return Err(at(field, "is no name of a parameter")),
                name if name.starts_with("net.") => Namespaces::NET,
                name if name.starts_with("fs.mqueue.") || IPC.contains(&name) => Namespaces::IPC,
                "kernel.domainname" => Namespaces::UTS,
                "kernel.hostname" => return Err(at(field, "use hostname instead")),
                _ => return Err(at(field, "is not in a namespace of its own")),
            };
            if !self.has(owner) {
                return Err(at(field, format!("would change the host's {owner} namespace")));
            }
            plan.push((name, value.clone()));
        }
        Ok(plan)
    }
}

/// The path of the user namespace that is joined, if there is one.
pub(super) fn user(linux: &Linux) -> Option<&Path> {
    let user = linux.namespaces.iter().find(|namespace| namespace.r#type == "user");
    user.and_then(|namespace| namespace.path.as_deref()).filter(|path| *path != Path::new(""))
}

/// Whether there is a network namespace to be made, and no user namespace for it to belong to.
pub(super) fn makes_network(linux: &Linux) -> bool {
    let made = |namespace: &Namespace| {
        namespace.r#type == "network" && namespace.path.as_deref().is_none_or(|path| path == Path::new(""))
    };
    linux.namespaces.iter().any(made) && linux.namespaces.iter().all(|namespace| namespace.r#type != "user")
}

/// Reads them. `user` has the maps of the user namespace that is joined, if there is one.
pub(super) fn read(linux: &Linux, user: Option<&IdMaps>) -> Result<Chosen> {
    let mut own = Namespaces::NONE;
    let mut joined: Vec<(Namespaces, PathBuf)> = Vec::new();
    for (number, namespace) in linux.namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{number}]");
        let kind = KINDS.iter().find(|(name, _)| *name == namespace.r#type).map(|(_, kind)| *kind);
        let kind =
            kind.ok_or_else(|| at(format!("{field}.type"), format!("{:?} is unknown", namespace.r#type)))?;
        if own.contains(kind) || joined.iter().any(|(joined, _)| *joined == kind) {
            return Err(at(format!("{field}.type"), format!("{:?} is there twice", namespace.r#type)));
        }
        match namespace.path.as_deref().filter(|path| *path != Path::new("")) {
            None => own = own | kind,
            Some(path) => {
                absolute(&format!("{field}.path"), path)?;
                joined.push((kind, path.to_owned()));
            }
        }
    }
    let joins = |kind| joined.iter().any(|(joined, _)| *joined == kind);
    if !own.contains(Namespaces::MOUNT) && !joins(Namespaces::MOUNT) {
        return Err(at(
            "linux.namespaces",
            "lacks a mount namespace of its own: its root would be the host's",
        ));
    }
    if own.contains(Namespaces::USER) && joins(Namespaces::MOUNT) {
        return Err(at(
            "linux.namespaces",
            "has a user namespace of its own, whose root may not mount in the mount namespace that is joined: name the \
             user namespace that owns that one",
        ));
    }
    let maps = match (user, joins(Namespaces::USER)) {
        (Some(there), true) => Some(maps_that_are_there(linux, there)?),
        (None, true) => {
            return Err(at("linux.namespaces", "names a user namespace whose maps are not known"));
        }
        (_, false) => maps(linux, own)?,
    };
    // What is opened by a path of the host's comes before the host's mounts are left.
    joined.sort_by_key(|(kind, _)| *kind == Namespaces::MOUNT);
    Ok(Chosen { maps, clocks: clocks(linux, own)?, own: own.without(Namespaces::USER), joined })
}

fn maps(linux: &Linux, own: Namespaces) -> Result<Option<IdMaps>> {
    let given = !(linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty());
    match (own.contains(Namespaces::USER), given) {
        (false, false) => Ok(None),
        (false, true) => Err(at("linux.uidMappings", "needs a user namespace in linux.namespaces")),
        (true, _) => {
            let uids = map("linux.uidMappings", &linux.uid_mappings)?;
            let gids = map("linux.gidMappings", &linux.gid_mappings)?;
            Ok(Some(IdMaps { uids, gids }))
        }
    }
}

/// The maps of a user namespace that is joined, which a config may repeat.
fn maps_that_are_there(linux: &Linux, there: &IdMaps) -> Result<IdMaps> {
    for (field, given, there) in [
        ("linux.uidMappings", &linux.uid_mappings, &there.uids),
        ("linux.gidMappings", &linux.gid_mappings, &there.gids),
    ] {
        if !given.is_empty() && map(field, given)? != *there {
            let there = there.to_string().replace('\n', ", ");
            return Err(at(
                field,
                format!("differs from that of the namespace that is joined ({there}): leave it out"),
            ));
        }
    }
    Ok(there.clone())
}

/// A map, as the kernel takes it.
pub(super) fn map(field: &str, mappings: &[IdMapping]) -> Result<IdMap> {
    if mappings.is_empty() {
        return Err(at(field, "is missing: a user namespace without ids has no root"));
    }
    let range = |mapping: &IdMapping| Range {
        inside: mapping.container_id,
        outside: mapping.host_id,
        count: mapping.size,
    };
    IdMap::new(mappings.iter().map(range).collect()).map_err(|error| at(field, error))
}

fn clocks(linux: &Linux, own: Namespaces) -> Result<Option<String>> {
    if !own.contains(Namespaces::TIME) {
        return match linux.time_offsets.keys().next() {
            None => Ok(None),
            Some(_) => Err(at("linux.timeOffsets", "needs a time namespace in linux.namespaces")),
        };
    }
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        let field = format!("linux.timeOffsets.{clock}");
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return Err(at(field, "is no clock of a time namespace: those are monotonic and boottime"));
        }
        if offset.nanosecs > 999_999_999 {
            return Err(at(format!("{field}.nanosecs"), "is more than a second"));
        }
        writeln!(lines, "{clock} {} {}", offset.secs, offset.nanosecs).expect("a string takes everything");
    }
    Ok(Some(lines))
}
