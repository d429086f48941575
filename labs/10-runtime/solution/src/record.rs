//! What is known about a container between two commands: `state.json` in its folder. Nothing is to be written here.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The container's process.
    pub pid: i32,
    /// When that started, in clock ticks since the host's start.
    pub start_time: u64,
    pub bundle: PathBuf,
}

/// The record in a folder; none if there is none yet.
pub fn read(folder: &Path) -> Result<Option<Record>> {
    match fs::read(folder.join("state.json")) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(Error::other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes it aside, and renames it: whoever reads it finds all of it or nothing.
pub fn write(folder: &Path, record: &Record) -> Result<()> {
    let (new, path) = (folder.join("state.new"), folder.join("state.json"));
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, path)
}
