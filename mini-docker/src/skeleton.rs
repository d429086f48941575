//! The places that mounts need, under every image.
//!
//! An image need not have a `/proc`, or an `/etc/hosts`, yet something is mounted there in every container. Making
//! them in the writable layer would show up in `diff` as the user's changes. So one directory with these empty
//! files and directories lies at the very bottom of every overlay, below the image: what the image has hides it,
//! what the image lacks shows through, and it costs a container nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

const DIRECTORIES: &[&str] = &["dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "sys"];
/// Docker puts `.dockerenv` into every container, and programs look for it to know where they are.
const FILES: &[&str] = &[".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// The directory, made in `data` if it is not there yet.
pub fn make(data: &Path) -> Result<PathBuf> {
    let skeleton = data.join("skeleton");
    if skeleton.exists() {
        return Ok(skeleton);
    }
    // Made under another name, so that it is there whole or not at all.
    let fresh = data.join(format!("skeleton.{}", std::process::id()));
    files::make_dir(&fresh, false)?;
    for directory in DIRECTORIES {
        files::make_dir(&fresh.join(directory), false)?;
    }
    for file in FILES {
        let path = fresh.join(file);
        fs::File::create(&path).map_err(|error| Error::file("make", &path, error))?;
    }
    match fs::rename(&fresh, &skeleton) {
        Ok(()) => Ok(skeleton),
        // Another command was quicker.
        Err(_) if skeleton.exists() => files::remove(&fresh).map(|()| skeleton),
        Err(error) => Err(Error::file("make", &skeleton, error)),
    }
}
