//! Who has which address: a directory of links, for containers that several commands start at once.
//!
//! `leases/172.17.0.2` is a symbolic link to the name of its owner. To make it either succeeds or fails with EEXIST,
//! and costs one system call; reading all names of a directory costs two. A lock keeps the choice and the release of
//! addresses apart from each other.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, Result, kernel};
use crate::subnet::Subnet;

/// The leases of one network, in a directory of its own.
#[derive(Clone, Debug)]
pub struct Leases {
    directory: PathBuf,
}

impl Leases {
    /// The leases in `directory`, which is made when the first address is claimed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Gives `owner` an address of `subnet`: the `wanted` one, or the lowest that is free, as Docker does.
    pub fn claim(
        &self,
        owner: &str,
        subnet: Subnet,
        gateway: IpAddr,
        wanted: Option<IpAddr>,
    ) -> Result<IpAddr> {
        let _lock = self.lock()?;
        let address = if let Some(wanted) = wanted {
            if !subnet.contains(wanted) {
                return Err(Error::NotInSubnet(wanted));
            }
            if wanted == gateway || wanted == subnet.network() || Some(wanted) == subnet.broadcast() {
                return Err(Error::AddressInUse(wanted));
            }
            wanted
        } else {
            let taken: HashSet<IpAddr> = self.names()?.into_iter().collect();
            let free = |address: &IpAddr| *address != gateway && !taken.contains(address);
            subnet.hosts().find(free).ok_or(Error::NoAddressLeft(subnet))?
        };
        let link = self.link(address);
        let made = match symlink(owner, &link) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&self.directory.join("leases"))?;
                symlink(owner, &link)
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::AddressInUse(address)),
            made => made.map(|()| address).map_err(kernel("make the link", link.display())),
        }
    }

    /// Takes back every address of `owner`. To have none is fine.
    pub fn release(&self, owner: &str) -> Result<()> {
        // Without the lock, an address might have a new owner between the look and the removal.
        let _lock = self.lock()?;
        for (address, _) in self.list()?.into_iter().filter(|(_, of)| of == owner) {
            let link = self.link(address);
            fs::remove_file(&link).map_err(kernel("remove", link.display()))?;
        }
        Ok(())
    }

    /// All addresses that are taken, with their owners.
    pub fn list(&self) -> Result<Vec<(IpAddr, String)>> {
        let mut leases = Vec::new();
        for address in self.names()? {
            let link = self.link(address);
            match fs::read_link(&link) {
                Ok(owner) => leases.push((address, owner.to_string_lossy().into_owned())),
                // Released meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(kernel("read the link", link.display())(error)),
            }
        }
        leases.sort_unstable();
        Ok(leases)
    }

    fn names(&self) -> Result<Vec<IpAddr>> {
        let directory = self.directory.join("leases");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(kernel("read the directory", directory.display()))?,
        };
        let mut addresses = Vec::new();
        for entry in entries {
            let name = entry.map_err(kernel("read the directory", directory.display()))?.file_name();
            addresses.extend(name.to_str().and_then(|name| name.parse::<IpAddr>().ok()));
        }
        Ok(addresses)
    }

    fn link(&self, address: IpAddr) -> PathBuf {
        self.directory.join("leases").join(address.to_string())
    }

    /// Keeps other processes from choosing and releasing until the file is closed.
    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        let file = match open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&self.directory)?;
                open(&path)
            }
            file => file,
        };
        let file = file.map_err(kernel("open", path.display()))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                locked => return locked.map(|()| file).map_err(kernel("lock", path.display())),
            }
        }
    }
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(kernel("make the directory", directory.display()))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}
