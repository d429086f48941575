//! The root: its mounts, its devices, and what is hidden in it.

use std::path::{Component, Path, PathBuf};

use chroot::devices::{self, Device, Kind};
use chroot::mount::{Attributes, Propagation};
use chroot::plan::Finer;
use chroot::{Mount, Plan, Source};
use pid_namespace::Namespaces;
use user_namespace::IdMaps;

use super::document::{self, Document};
use super::namespaces::{Chosen, map};
use super::options::{self, Options};
use super::{Facts, absolute, at};
use crate::error::Result;
use crate::plan::{Given, Shifted};

const DEV: &str = "/dev";
/// What a node may be read and written by, unless the config says otherwise: everybody, as devices that all may use.
const DEVICE_MODE: u32 = 0o666;

pub(super) fn read(document: &Document, namespaces: &Chosen, facts: &Facts) -> Result<(Plan, Vec<Given>)> {
    let linux = &document.linux;
    if !linux.mount_label.is_empty() && !Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(at("linux.mountLabel", "cannot be applied: this kernel has SELinux switched off"));
    }
    let propagation = options::of_the_root(&linux.rootfs_propagation)?;
    // What is bound hears of later mounts on the host, unless it is told not to, as with runc.
    let usual = if linux.rootfs_propagation.is_empty() { Propagation::Slave } else { propagation };
    let (mut mounts, mut given) = (Vec::new(), Vec::new());
    for (number, mount) in document.mounts.iter().enumerate() {
        let field = format!("mounts[{number}]");
        let mut found = read_mount(&field, mount, &facts.bundle, &facts.mountinfo, usual)?;
        if let Some(maps) = owners(&field, mount, namespaces.maps.as_ref())? {
            let all = maps.1;
            let Some((Mount { source: Source::Bind { from, recursive }, finer, .. }, [])) =
                found.split_first_mut()
            else {
                return Err(at(format!("{field}.options"), "\"idmap\" is for bind mounts"));
            };
            finer.given = Some(given.len());
            given.push(Given::Shifted(Shifted {
                from: from.clone(),
                recursive: *recursive,
                all,
                maps: maps.0,
            }));
        }
        mounts.extend(found);
    }
    let paths = |field: &str, paths: &[PathBuf]| {
        let check =
            |(number, path): (usize, &PathBuf)| Ok(absolute(&format!("{field}[{number}]"), path)?.to_owned());
        paths.iter().enumerate().map(check).collect::<Result<Vec<_>>>()
    };
    let mut plan = Plan {
        devices: read_devices(&linux.devices, &mounts)?,
        mounts,
        masked_paths: paths("linux.maskedPaths", &linux.masked_paths)?,
        readonly_paths: paths("linux.readonlyPaths", &linux.readonly_paths)?,
        readonly: document.root.as_ref().is_some_and(|root| root.readonly),
        propagation,
        no_pivot: facts.no_pivot,
    };
    if let Some(maps) = &namespaces.maps {
        user_namespace::root::adapt(&mut plan, maps, namespaces.own | joined(namespaces));
        user_namespace::root::host_devices(&mut plan);
    }
    Ok((plan, given))
}

/// Under which owners a mount is shown, if not its own, and whether all that is mounted in it is too. Without maps of its
/// own they are the container's.
fn owners(field: &str, mount: &document::Mount, usual: Option<&IdMaps>) -> Result<Option<(IdMaps, bool)>> {
    let mapped = Options::read(&format!("{field}.options"), &mount.options)?.mapped;
    let given = !(mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty());
    if mapped.is_none() && !given {
        return Ok(None);
    }
    let maps = match usual {
        Some(maps) if !given => maps.clone(),
        None if !given => {
            return Err(at(format!("{field}.uidMappings"), "is missing: the container has no maps either"));
        }
        _ => IdMaps {
            uids: map(&format!("{field}.uidMappings"), &mount.uid_mappings)?,
            gids: map(&format!("{field}.gidMappings"), &mount.gid_mappings)?,
        },
    };
    Ok(Some((maps, mapped.unwrap_or(false))))
}

/// One mount with the options of mount(8), as an entry of `mounts` would ask for it.
///
/// # Errors
/// What makes no sense, naming the part of the entry.
pub fn single(target: &Path, kind: &str, source: &Path, options: &[String]) -> Result<Mount> {
    let entry = document::Mount {
        destination: target.to_owned(),
        r#type: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: options.to_owned(),
        ..document::Mount::default()
    };
    if let Some(option) = options.iter().find(|option| ["idmap", "ridmap"].contains(&&***option)) {
        return Err(at("mount.options", format!("{option:?} is not for a mount by itself")));
    }
    let mut mounts = read_mount("mount", &entry, Path::new("/"), "", Propagation::Private)?;
    match (mounts.pop(), mounts.is_empty()) {
        (Some(mount), true) if !matches!(mount.source, Source::Remount { .. }) => Ok(mount),
        _ => Err(at("mount.type", format!("{kind:?} is not for a mount by itself"))),
    }
}

fn joined(namespaces: &Chosen) -> Namespaces {
    namespaces.joined.iter().fold(Namespaces::NONE, |set, (kind, _)| set | *kind)
}

fn read_mount(
    field: &str,
    mount: &document::Mount,
    bundle: &Path,
    mountinfo: &str,
    usual: Propagation,
) -> Result<Vec<Mount>> {
    let place = format!("{field}.options");
    let mut options = Options::read(&place, &mount.options)?;
    let destination = destination(field, &mount.destination)?;
    let kind = mount.r#type.as_deref().unwrap_or_default();

    // A type of "bind" or "none" says the same as the option.
    let bind = options.bind.or(matches!(kind, "bind" | "rbind").then_some(kind == "rbind"));
    if options.remount {
        return Ok(vec![remount(&place, destination, options, bind.is_some())?]);
    }
    let (propagation, all) = match bind {
        _ if options.propagation.is_some() => options.propagation.unwrap_or_default(),
        // A new file system has nobody to share with.
        None => (Propagation::Private, true),
        Some(_) => (usual, true),
    };
    if let Some(recursive) = bind {
        if let Some(option) = options.only_of_file_systems() {
            return Err(at(place, format!("{option:?} is not for a bind mount")));
        }
        let source = mount.source.as_ref().ok_or_else(|| at(format!("{field}.source"), "is missing"))?;
        return Ok(vec![Mount {
            target: destination,
            source: Source::Bind { from: bundle.join(source), recursive },
            attributes: Attributes::default(),
            propagation,
            follow: true,
            finer: Finer {
                change: options.change,
                change_all: options.change_all,
                flat: !all,
                ..Finer::default()
            },
        }]);
    }
    if kind.is_empty() || kind == "none" {
        return Err(at(format!("{field}.type"), "is missing"));
    }
    if options.copy_up && kind != "tmpfs" {
        return Err(at(place, "\"tmpcopyup\" is for tmpfs"));
    }
    let readonly = options.take_read_only();
    let attributes = Attributes { readonly, ..Attributes::default() };
    let finer = Finer {
        change: options.change,
        change_all: options.change_all,
        flat: !all,
        copy_up: options.copy_up,
        ..Finer::default()
    };
    if matches!(kind, "cgroup" | "cgroup2") {
        let place = destination.to_string_lossy().into_owned();
        let mounts = chroot::plan::cgroups(mountinfo, &place, attributes);
        return Ok(mounts
            .into_iter()
            .map(|mount| Mount { finer: finer.clone(), propagation, ..mount })
            .collect());
    }
    let device = mount.source.as_ref().map(|source| source.to_string_lossy().into_owned());
    Ok(vec![Mount {
        target: destination,
        source: Source::Filesystem { fstype: kind.to_owned().into(), device, options: options.data },
        attributes,
        propagation,
        // The kernel's file systems must be where they are looked for (CVE-2019-19921).
        follow: !matches!(kind, "proc" | "sysfs"),
        finer,
    }])
}

/// What is mounted at `target` gets other flags; unless it is remounted as a bind mount, so does its file system
/// (`mount(2)`, "Remounting an existing mount").
fn remount(place: &str, target: PathBuf, options: Options, bind: bool) -> Result<Mount> {
    if options.copy_up || options.mapped.is_some() {
        return Err(at(place, "\"remount\" makes no mount, which \"tmpcopyup\" and \"idmap\" are for"));
    }
    if bind && let Some(option) = options.only_of_file_systems() {
        return Err(at(place, format!("{option:?} is not for a bind mount")));
    }
    let (propagation, all) = options.propagation.unwrap_or_default();
    let read_only = options.is_read_only();
    let of_the_file_system = || {
        let state = if read_only { "ro" } else { "rw" };
        options.data.into_iter().chain([(state.to_owned(), None)]).collect()
    };
    Ok(Mount {
        target,
        attributes: Attributes::default(),
        propagation,
        follow: true,
        finer: Finer {
            change: options.change,
            change_all: options.change_all,
            flat: !all,
            ..Finer::default()
        },
        source: Source::Remount {
            options: (!bind).then(of_the_file_system),
            propagate: options.propagation.is_some(),
        },
    })
}

/// Where a mount goes. A relative path, which the specification has done away with, begins at the root.
fn destination(field: &str, path: &Path) -> Result<PathBuf> {
    let field = format!("{field}.destination");
    if path.as_os_str().is_empty() {
        return Err(at(field, "is missing"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(at(field, format!("{} leads upwards", path.display())));
    }
    Ok(Path::new("/").join(path))
}

/// The standard devices and the config's; none where `/dev` is the host's or another container's.
fn read_devices(wanted: &[document::Device], mounts: &[Mount]) -> Result<Vec<Device>> {
    let mut devices = devices::standard();
    for (number, device) in wanted.iter().enumerate() {
        let device = read_device(&format!("linux.devices[{number}]"), device)?;
        devices.retain(|standard| standard.path != device.path);
        devices.push(device);
    }
    let dev = mounts.iter().find(|mount| mount.target == Path::new(DEV));
    if dev.is_some_and(|mount| matches!(mount.source, Source::Bind { .. })) {
        devices.clear();
    }
    Ok(devices)
}

fn read_device(field: &str, device: &document::Device) -> Result<Device> {
    let kind = match device.r#type.as_str() {
        "c" | "u" => Kind::Char,
        "b" => Kind::Block,
        "p" => Kind::Fifo,
        other => return Err(at(format!("{field}.type"), format!("{other:?} is none of c, b, u and p"))),
    };
    let path = absolute(&format!("{field}.path"), &device.path)?.to_owned();
    let number = |name: &str, number: Option<i64>| match number {
        None if kind == Kind::Fifo => Ok(0),
        None => Err(at(format!("{field}.{name}"), "is missing")),
        Some(number) => u32::try_from(number)
            .map_err(|_| at(format!("{field}.{name}"), format!("{number} is out of range"))),
    };
    Ok(Device {
        path,
        kind,
        major: number("major", device.major)?,
        minor: number("minor", device.minor)?,
        mode: device.file_mode.map_or(DEVICE_MODE, |mode| mode & 0o7777),
        owner: (device.uid.unwrap_or(0), device.gid.unwrap_or(0)),
    })
}
