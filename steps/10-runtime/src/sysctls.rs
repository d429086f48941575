//! Kernel parameters that a container may have of its own: those of its namespaces.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes the parameters, name and value. To be called inside the container's namespaces, while the host's `/proc` is
/// there: what its files show depends on the namespaces of who looks.
///
/// # Errors
/// What the kernel refuses.
pub fn apply(plan: &[(String, String)]) -> Result<()> {
    for (name, value) in plan {
        let path = file(name);
        tracing::info!("sysctl {name} = {value}");
        std::fs::write(&path, value).map_err(|error| Error::file("set the sysctl", &path, error))?;
    }
    Ok(())
}

/// Where a parameter is (`proc_sys(5)`).
fn file(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
