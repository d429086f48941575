//! Directories that outlive the containers that write to them.

use std::path::{Path, PathBuf};

use crate::container::Container;
use crate::error::{Error, Result};
use crate::files;
use crate::names;

/// Where volume `name` keeps its files; made if it is not there yet, and given to `owner`, if that is not root.
pub fn make(data: &Path, name: &str, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let directory = data.join("volumes").join(name).join("_data");
    files::make_dir(&data.join("volumes"), owner.is_none())?;
    let is_new = !directory.exists();
    files::make_dir(&directory, false)?;
    if let Some((uid, gid)) = owner.filter(|_| is_new) {
        std::os::unix::fs::chown(&directory, Some(uid), Some(gid))
            .map_err(|error| Error::file("give away", &directory, error))?;
    }
    Ok(directory)
}

/// A name for a volume that the user gave none.
pub fn anonymous_name() -> Result<String> {
    names::random_id()
}

/// Removes the volumes that came with `container` and that nobody named.
pub fn remove_anonymous(data: &Path, container: &Container) -> Result<()> {
    let names =
        container.mounts.iter().filter(|mount| mount.anonymous).filter_map(|mount| mount.name.as_ref());
    names.into_iter().try_for_each(|name| files::remove(&data.join("volumes").join(name)))
}
