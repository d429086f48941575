//! The three files in `/etc` that depend on the container and not on its image: `hostname`, `hosts` and
//! `resolv.conf`. They lie in the container's directory and are mounted over the image's.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::container::Container;
use crate::error::{Error, Result};

/// The names every host knows itself by.
const LOCAL_NAMES: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Writes the files for `container` into its `directory`.
pub fn write(container: &Container, directory: &Path) -> Result<()> {
    let shares_network = container.host_config.network_mode == "host";
    let hosts = if shares_network { of_the_host("/etc/hosts")? } else { LOCAL_NAMES.to_owned() };
    let files = [
        ("hostname", format!("{}\n", container.config.hostname)),
        ("hosts", hosts),
        ("resolv.conf", of_the_host("/etc/resolv.conf")?),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Error::file("write", &path, error))?;
    }
    Ok(())
}

/// The host's own file, or nothing if it has none.
fn of_the_host(path: &str) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::file("read", Path::new(path), error)),
    }
}
