//! Where an ordinary user's containers are kept (XDG Base Directory Specification).
//!
//! To be asked before [`crate::rootless::enter`]: afterwards this process has other ids.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chroot::Error as KernelError;
use nix::errno::Errno;

use crate::error::{Error, Result};

/// The name of ours in the folders that all programs share.
const NAME: &str = "mini-docker";

/// What lasts: `$XDG_DATA_HOME/mini-docker`, which is usually `~/.local/share/mini-docker`.
///
/// # Errors
/// [`Error::Folder`] if neither variable is set.
pub fn data() -> Result<PathBuf> {
    data_in(|name| std::env::var_os(name))
}

/// What a logout ends: `$XDG_RUNTIME_DIR/mini-docker`; or if that is not set or somebody else's,
/// `/tmp/mini-docker-UID`, which is made then, for this user alone.
///
/// # Errors
/// What the kernel refuses; and a directory of that name that others could have prepared.
pub fn exec() -> Result<PathBuf> {
    match runtime_directory() {
        Ok(directory) => Ok(directory.join(NAME)),
        Err(reason) => {
            tracing::info!("{reason}: /tmp serves instead");
            let uid = nix::unistd::geteuid().as_raw();
            private(&Path::new("/tmp").join(format!("{NAME}-{uid}")), uid)
        }
    }
}

/// The user's directory for sockets, if it is the user's: `su` keeps the variable of whoever called it.
pub(crate) fn runtime_directory() -> Result<PathBuf, String> {
    let name = "XDG_RUNTIME_DIR";
    let directory = absolute(std::env::var_os(name)).ok_or_else(|| format!("{name} is not set"))?;
    match std::fs::metadata(&directory) {
        Ok(metadata) if metadata.uid() == nix::unistd::geteuid().as_raw() => Ok(directory),
        Ok(_) => Err(format!("{name}, {}, belongs to another user", directory.display())),
        Err(error) => Err(format!("{name}, {}, cannot be used: {error}", directory.display())),
    }
}

fn data_in(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    absolute(variable("XDG_DATA_HOME"))
        .or_else(|| absolute(variable("HOME")).map(|home| home.join(".local/share")))
        .map(|share| share.join(NAME))
        .ok_or(Error::Folder)
}

/// A path from the environment. The specification has relative ones ignored.
fn absolute(path: Option<OsString>) -> Option<PathBuf> {
    path.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Makes `path` for `uid` alone, or makes sure that it is: in `/tmp` anybody could have made it before, or a link of
/// that name.
fn private(path: &Path, uid: u32) -> Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(path.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(KernelError::new("make", path.display(), error).into()),
    }
    let metadata = std::fs::symlink_metadata(path)
        .map_err(|error| KernelError::new("look at", path.display(), error))?;
    let refuse = |hint: &str| KernelError::new("use", path.display(), Errno::EPERM).hint(hint);
    if !metadata.is_dir() || metadata.uid() != uid {
        return Err(refuse("it belongs to somebody else: remove it, or set XDG_RUNTIME_DIR").into());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(refuse(&format!("others may enter it; run: chmod 700 {}", path.display())).into());
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_data_is_kept() {
        let data = |share: Option<&str>, home: Option<&str>| {
            let variable = |name: &str| if name == "HOME" { home } else { share };
            data_in(|name| variable(name).map(OsString::from)).map_err(|error| error.to_string())
        };
        assert_eq!(data(Some("/share"), Some("/home/a")), Ok("/share/mini-docker".into()));
        assert_eq!(data(None, Some("/home/a")), Ok("/home/a/.local/share/mini-docker".into()));
        assert_eq!(data(Some("share"), Some("/home/a")), Ok("/home/a/.local/share/mini-docker".into()));
        insta::assert_snapshot!(data(Some(""), None).unwrap_err(), @"cannot find a folder for containers: set XDG_DATA_HOME or HOME to an absolute path");
    }

    #[test]
    fn a_folder_in_tmp_is_this_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        let path = directory.path().join("mini-docker");
        let said = |path: &Path, uid| {
            let made = private(path, uid).map_err(|error| error.to_string());
            made.map(drop).map_err(|text| text.replace(&directory.path().display().to_string(), "DIR"))
        };
        assert_eq!(said(&path, uid), Ok(()));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(said(&path, uid), Ok(()));
        insta::assert_snapshot!(said(&path, uid + 1).unwrap_err(), @"cannot use DIR/mini-docker: EPERM: Operation not permitted (it belongs to somebody else: remove it, or set XDG_RUNTIME_DIR)");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        insta::assert_snapshot!(said(&path, uid).unwrap_err(), @"cannot use DIR/mini-docker: EPERM: Operation not permitted (others may enter it; run: chmod 700 DIR/mini-docker)");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        insta::assert_snapshot!(said(&link, uid).unwrap_err(), @"cannot use DIR/link: EPERM: Operation not permitted (it belongs to somebody else: remove it, or set XDG_RUNTIME_DIR)");
    }
}
