//! Devices of the host's that a container is to have: `--device`, and all of them for `--privileged`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cgroups::{DeviceKind, DeviceRule};
use chroot::devices::{Device, Kind};

use crate::error::{Error, Result};
use crate::host_config::{DeviceMapping, HostConfig};

/// What in the host's `/dev` is no device of the host's: it has one of its own in every container.
const OWN: &[&str] = &["pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"];
/// What may be done with a device unless the user says less.
const EVERYTHING: &str = "rwm";

/// Reads `HOST[:CONTAINER][:PERMISSIONS]`.
pub fn parse(text: &str) -> Result<DeviceMapping> {
    let invalid = || Error::new(format!("invalid device specification: {text}"));
    let is_permissions =
        |part: &str| !part.is_empty() && part.chars().all(|letter| EVERYTHING.contains(letter));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, EVERYTHING),
        [host, permissions] if is_permissions(permissions) => (*host, *host, *permissions),
        [host, inside] => (*host, *inside, EVERYTHING),
        [host, inside, permissions] if is_permissions(permissions) => (*host, *inside, *permissions),
        _ => return Err(invalid()),
    };
    if !inside.starts_with('/') || host.is_empty() {
        return Err(invalid());
    }
    Ok(DeviceMapping {
        path_on_host: PathBuf::from(host),
        path_in_container: PathBuf::from(inside),
        cgroup_permissions: permissions.to_owned(),
    })
}

/// The nodes to make for a container beyond the standard ones, and what its cgroup must allow for them.
///
/// The host is looked at: what the nodes' numbers are.
pub fn of(host: &HostConfig) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    let mut found = Vec::new();
    if host.privileged {
        all(Path::new("/dev"), &mut found)?;
        return Ok((found, vec![DeviceRule::ALL]));
    }
    let mut rules = Vec::new();
    for mapping in &host.devices {
        let first = found.len();
        let source = &mapping.path_on_host;
        let missing =
            |error| Error::file("gather device information while creating the container from", source, error);
        // A link, as those in /dev/disk, stands for what it leads to.
        let metadata = fs::metadata(source).map_err(missing)?;
        if metadata.is_dir() {
            all(source, &mut found)?;
            for device in &mut found[first..] {
                let below = device.path.strip_prefix(source).unwrap_or(&device.path).to_owned();
                device.path = mapping.path_in_container.join(below);
            }
        } else {
            let device = node(&mapping.path_in_container, &metadata)
                .ok_or_else(|| Error::new(format!("{} is not a device node", source.display())))?;
            found.push(device);
        }
        rules.extend(found[first..].iter().map(|device| rule(device, &mapping.cgroup_permissions)));
    }
    Ok((found, rules))
}

/// All nodes below `directory`, by their paths on the host.
fn all(directory: &Path, found: &mut Vec<Device>) -> Result<()> {
    let failed = |error| Error::file("list the devices in", directory, error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if OWN.iter().any(|own| path == Path::new("/dev").join(own)) {
            continue;
        }
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            // It was unplugged just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file("look at the device", &path, error)),
        };
        if metadata.is_dir() {
            all(&path, found)?;
        } else {
            found.extend(node(&path, &metadata));
        }
    }
    Ok(())
}

/// A device at `path` like the one with this metadata; `None` if that is something else.
fn node(path: &Path, metadata: &fs::Metadata) -> Option<Device> {
    let kind = if metadata.file_type().is_char_device() {
        Kind::Char
    } else if metadata.file_type().is_block_device() {
        Kind::Block
    } else {
        return None;
    };
    Some(Device {
        path: path.to_owned(),
        kind,
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
    })
}

fn rule(device: &Device, permissions: &str) -> DeviceRule {
    DeviceRule {
        allow: true,
        kind: if device.kind == Kind::Char { DeviceKind::Char } else { DeviceKind::Block },
        major: Some(device.major),
        minor: Some(device.minor),
        read: permissions.contains('r'),
        write: permissions.contains('w'),
        mknod: permissions.contains('m'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let table: String = [
            "/dev/sda",
            "/dev/sda:/dev/xvdc",
            "/dev/sda:r",
            "/dev/sda:/dev/xvdc:rw",
            "/dev/sda:/dev/xvdc:x",
            "/dev/sda:dev",
            "",
            "a:b:c:d",
        ]
        .into_iter()
        .map(|text| match parse(text) {
            Ok(DeviceMapping { path_on_host, path_in_container, cgroup_permissions }) => {
                let (host, inside) = (path_on_host.display(), path_in_container.display());
                format!("{text:>24} {host} {inside} {cgroup_permissions}\n")
            }
            Err(error) => format!("{text:>24} {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
