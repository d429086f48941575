//! Who is in a network and under which names: what the name server answers from.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Result, kernel};
use crate::mac::Mac;

/// A container, as others in its network see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its names, the first of which is what an address is translated back to.
    pub names: Vec<String>,
}

/// The endpoints of one network: `endpoints/ID.json` in its directory.
#[derive(Clone, Debug)]
pub struct Endpoints {
    directory: PathBuf,
}

impl Endpoints {
    /// The endpoints below `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into().join("endpoints") }
    }

    /// Makes an endpoint known, or changes it. Readers see the old or the new one, never half of it.
    pub fn write(&self, id: &str, endpoint: &Endpoint) -> Result<()> {
        let path = self.path(id);
        // Nobody reads a name that begins with a point. The record means nothing after a power cut: no fsync.
        let unfinished = self.directory.join(format!(".{id}"));
        let text = serde_json::to_vec(endpoint)
            .map_err(|_| chroot::Error::new("write the endpoint", id, Errno::EINVAL))?;
        let write = || fs::write(&unfinished, &text);
        match write() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&self.directory)
                    .map_err(kernel("make the directory", self.directory.display()))?;
                write()
            }
            written => written,
        }
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(kernel("write", path.display()))
    }

    /// Forgets an endpoint. One that is unknown is fine.
    pub fn remove(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(kernel("remove", path.display())),
        }
    }

    /// All endpoints with their IDs. One that comes or goes meanwhile may or may not be among them.
    pub fn list(&self) -> Result<Vec<(String, Endpoint)>> {
        let refused = || kernel("read the directory", self.directory.display());
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(refused())?,
        };
        let mut endpoints = Vec::new();
        for entry in entries {
            let entry = entry.map_err(refused())?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            match fs::read(entry.path()) {
                Ok(text) => {
                    if let Ok(endpoint) = serde_json::from_slice(&text) {
                        endpoints.push((id.to_owned(), endpoint));
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(kernel("read", entry.path().display())(error)),
            }
        }
        endpoints.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(endpoints)
    }

    /// The addresses of the containers with this name, whatever its case: several may share an alias.
    pub fn resolve(&self, name: &str) -> Result<Vec<IpAddr>> {
        let known = |endpoint: &Endpoint| endpoint.names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let found = self.list()?.into_iter().filter(|(_, endpoint)| known(endpoint));
        Ok(found.flat_map(|(_, endpoint)| endpoint.addresses).collect())
    }

    /// The first name of the container with this address.
    pub fn name_of(&self, address: IpAddr) -> Result<Option<String>> {
        let found = self.list()?.into_iter().find(|(_, endpoint)| endpoint.addresses.contains(&address));
        Ok(found.and_then(|(_, endpoint)| endpoint.names.into_iter().next()))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}
