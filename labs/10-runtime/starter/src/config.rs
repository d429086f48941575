//! A bundle's `config.json`, as far as this program goes. Nothing is to be written here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Config {
    pub hostname: String,
    pub root: Root,
    pub process: Process,
}

#[derive(Deserialize)]
pub struct Root {
    /// From the bundle.
    pub path: PathBuf,
}

#[derive(Deserialize)]
pub struct Process {
    pub user: User,
    /// The program, and its arguments.
    pub args: Vec<String>,
    /// `NAME=VALUE` each.
    pub env: Vec<String>,
    pub cwd: PathBuf,
}

#[derive(Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl Config {
    /// The config of the bundle in a directory.
    pub fn read(bundle: &Path) -> Result<Self, String> {
        let path = bundle.join("config.json");
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
