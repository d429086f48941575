//! The file that a new container's ID is written to, for scripts.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mini_docker::{Error, Result};

/// One that was made for this container, and goes again if that is not made, or is made once more.
pub(crate) struct IdFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl IdFile {
    /// Makes it. One that is there may tell of another container, and is refused.
    pub(super) fn make(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::new(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ))
            .with_exit_code(125),
            _ => Error::file("make", path, error).with_exit_code(125),
        })?;
        Ok(Self { path: path.to_owned(), file, is_kept: false })
    }

    /// Writes the ID of the container that was created.
    pub(crate) fn write(&mut self, id: &str) -> Result<()> {
        self.file.write_all(id.as_bytes()).map_err(|error| Error::file("write", &self.path, error))
    }

    /// Leaves it for others.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            eprintln!("Warning: {} is left without a container: {error}", self.path.display());
        }
    }
}
