//! Directories that outlive the containers that write to them.
//!
//! ```text
//! DATA/volumes.lock             held while volumes come and go, and while a container is made that uses some
//! DATA/volumes/NAME/volume.json the record; written last, so a directory without it is no volume yet
//!                   _data/      what containers see
//!                   _filling/   a copy of an image's files that is not complete
//!                   _filled/    one that is, on its way into _data
//!              .gone-NAME/      one that is being removed
//! ```

mod filling;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use chroot::{Mount, Source};
use serde::{Deserialize, Serialize};

use crate::container::{Container, MountKind};
use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};
use crate::{logs, names};

/// The label of a volume that nobody named, as Docker has it.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// The one driver there is.
pub const DRIVER: &str = "local";
/// What the directory of a volume that is being removed is called, before its name.
const GONE: &str = ".gone-";

/// A volume, in the shape of `docker volume inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// When it was made, RFC 3339, in seconds.
    pub created_at: String,
    /// Always `local`.
    pub driver: String,
    /// Free text by key.
    pub labels: BTreeMap<String, String>,
    /// Where its files are.
    pub mountpoint: PathBuf,
    /// 64 random digits, if nobody chose one.
    pub name: String,
    /// The driver's: empty, or `type`, `device` and `o`, of which it is mounted in each container that uses it.
    pub options: BTreeMap<String, String>,
    /// Always `local`.
    pub scope: String,
}

impl Volume {
    /// Whether nobody chose its name.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// The directory that containers see: its own, or with the option `o=bind` one of the host's. What has a file system
    /// of its own has none outside.
    pub fn source(&self) -> &Path {
        let device = self.options.get("device").filter(|_| is_bind(&self.options));
        device.map_or(&self.mountpoint, Path::new)
    }
}

/// A volume that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its name, if not a random one.
    pub name: Option<String>,
    /// Free text by key.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// To whom its directory belongs, if not to root.
    pub owner: Option<(u32, u32)>,
}

/// The volumes of one data folder.
#[derive(Debug, Clone)]
pub struct Volumes {
    data: PathBuf,
}

/// As long as this lives, no volume comes or goes, and no other container is made that uses one.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "dropping it ends the lock")] Lock);

impl Volumes {
    /// The volumes in `data`.
    pub fn open(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Waits until nobody else is at work on volumes. What is half-made or half-gone then is a killed command's, and
    /// removed.
    pub fn hold(&self) -> Result<Hold> {
        let hold = Lock::create(&self.data.join("volumes.lock")).map(Hold)?;
        for entry in self.entries()? {
            let path = self.directory(&entry);
            if entry.starts_with(GONE) {
                files::remove(&path)?;
            } else if !path.join("volume.json").exists() {
                // It got no files before its record; so what has some is nothing of ours.
                files::remove(&path.join("volume.tmp"))?;
                files::remove_empty(&path.join("_data"))?;
                files::remove_empty(&path)?;
            }
        }
        Ok(hold)
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.data.join("volumes").join(name)
    }

    /// The volume of this name.
    pub fn find(&self, name: &str) -> Result<Volume> {
        self.read(name)?.ok_or_else(|| Error::missing(format!("get {name}: no such volume")))
    }

    fn read(&self, name: &str) -> Result<Option<Volume>> {
        if !names::is_valid(name) {
            return Ok(None);
        }
        files::read_json(&self.directory(name).join("volume.json"))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for name in self.entries()? {
            volumes.extend(self.read(&name)?);
        }
        volumes.sort_by(|a: &Volume, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    fn entries(&self) -> Result<Vec<String>> {
        let path = self.data.join("volumes");
        let read = || -> std::io::Result<Vec<String>> {
            fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        match read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(|error| Error::file("read", &path, error)),
        }
    }

    /// Makes a volume. One that has the name already is as good, unless it has other options.
    pub fn create(&self, _hold: &Hold, request: Request) -> Result<Volume> {
        check_options(&request.options)?;
        let mut labels = request.labels;
        let name = match request.name {
            Some(name) if names::is_valid(&name) => name,
            Some(name) => return Err(invalid_name(&name)),
            None => {
                labels.insert(ANONYMOUS.to_owned(), String::new());
                names::random_id()?
            }
        };
        if let Some(volume) = self.read(&name)? {
            if !request.options.is_empty() && request.options != volume.options {
                return Err(Error::new(format!(
                    "create {name}: conflict: volume name must be unique: there is one with other options"
                )));
            }
            return Ok(volume);
        }
        files::make_dir(&self.data.join("volumes"), request.owner.is_none())?;
        let mountpoint = self.directory(&name).join("_data");
        files::make_dir(&mountpoint, false)?;
        if let Some((uid, gid)) = request.owner {
            std::os::unix::fs::chown(&mountpoint, Some(uid), Some(gid))
                .map_err(|error| Error::file("give away", &mountpoint, error))?;
        }
        let volume = Volume {
            created_at: logs::now_in_seconds(),
            driver: DRIVER.to_owned(),
            labels,
            mountpoint,
            name,
            options: request.options,
            scope: "local".to_owned(),
        };
        files::write_json(&self.directory(&volume.name).join("volume.json"), &volume, Durability::Durable)?;
        Ok(volume)
    }

    /// Removes a volume with what is in it, whoever uses it.
    pub fn remove(&self, _hold: &Hold, name: &str) -> Result<()> {
        let (path, gone) = (self.directory(name), self.directory(&format!("{GONE}{name}")));
        match fs::rename(&path, &gone) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::file("remove", &path, error)),
            Ok(()) => files::remove(&gone),
        }
    }
}

/// The containers among `containers` that use a volume.
pub fn users<'a>(containers: &'a [Container], name: &str) -> Vec<&'a Container> {
    let uses = |container: &&Container| {
        let mut mounts = container.mounts.iter();
        mounts.any(|mount| mount.kind == MountKind::Volume && mount.name.as_deref() == Some(name))
    };
    containers.iter().filter(uses).collect()
}

/// The rules of Docker's local driver: with one of its options, the others must be there too, but for `o`.
fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    const KNOWN: [&str; 3] = ["type", "o", "device"];
    if options.is_empty() {
        return Ok(());
    }
    if options.contains_key("size") {
        return Err(Error::new(
            "quota size requested but no quota support (a volume of type tmpfs takes o=size=BYTES)",
        ));
    }
    if let Some(key) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Error::new(format!("invalid option: \"{key}\"")));
    }
    if let Some(missing) = ["type", "device"].iter().find(|key| !options.contains_key(**key)) {
        return Err(Error::new(format!("missing required option: \"{missing}\"")));
    }
    if is_bind(options) && !Path::new(&options["device"]).is_absolute() {
        return Err(Error::new("missing device in volume options: device must be an absolute path"));
    }
    mount(options, Path::new("/")).map(drop)
}

/// Whether a volume with these options is a directory of the host's.
fn is_bind(options: &BTreeMap<String, String>) -> bool {
    let words = ["type", "o"].into_iter().filter_map(|key| options.get(key));
    words.flat_map(|list| list.split(',')).any(|word| word == "bind" || word == "rbind")
}

/// Puts an address in place of the name of another machine that a mount is of: the kernel looks up no names.
pub fn look_up(mount: &mut Mount) -> Result<()> {
    match &mut mount.source {
        Source::Filesystem { fstype, options, .. } if ["nfs", "nfs4", "cifs"].contains(&&**fstype) => {
            let mut names =
                options.iter_mut().filter(|(key, _)| key == "addr").filter_map(|(_, name)| name.as_mut());
            names.try_for_each(|name| {
                *name = address(name)?.to_string();
                Ok(())
            })
        }
        _ => Ok(()),
    }
}

/// The first address of a machine.
fn address(name: &str) -> Result<IpAddr> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        Error::new(format!("error resolving passed in network volume address {name}: {error}"))
    })?;
    found.map(|socket| socket.ip()).next().ok_or_else(|| Error::new(format!("{name} has no address")))
}

/// The mount that a volume with these options is, at `target`.
///
/// It is made in each container's own mount namespace: nothing is to be unmounted on the host. So two containers have the
/// same files of a disk or another machine's, while a tmpfs is each container's own.
pub fn mount(options: &BTreeMap<String, String>, target: &Path) -> Result<Mount> {
    let option = |key| options.get(key).map_or("", String::as_str);
    let list =
        option("o").split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    runtime::config::mount(target, option("type"), Path::new(option("device")), &list)
        .map_err(|error| Error::new(format!("invalid volume options: {error}")))
}

/// Docker's rule for names is that of container names.
pub fn invalid_name(name: &str) -> Error {
    if name.len() < 2 {
        return Error::new(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        ));
    }
    Error::new(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_local_driver() {
        let table: Vec<String> = [
            &[("type", "none"), ("o", "bind"), ("device", "/srv")][..],
            &[("o", "bind"), ("device", "srv")],
            &[("o", "bind")],
            &[("type", "none"), ("o", "bind,ro"), ("device", "/srv")],
            &[("type", "none"), ("o", "bind"), ("device", "srv")],
            &[("type", "none"), ("o", "ro"), ("device", "/srv")],
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")],
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "remount")],
            &[("type", "none"), ("device", "/srv"), ("o", "bind,idmap")],
            &[("type", "ext4"), ("device", "/dev/sda")],
            &[("type", "tmpfs")],
            &[("type", "nfs"), ("device", ":/x"), ("o", "addr=1.2.3.4")],
            &[("size", "1m")],
        ]
        .iter()
        .map(|options| {
            let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            check_options(&options.collect()).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        })
        .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}
