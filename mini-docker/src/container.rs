//! A container as the engine remembers it.
//!
//! Everything here is plain data in the shape that `docker inspect` prints, so that what is stored, what is
//! shown and what a template can ask for are one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use image_pull::config::Healthcheck;
use overlay_layers::ChainId;
use serde::{Deserialize, Serialize};
use user_namespace::IdMaps;

use crate::error::Result;
use crate::health::Health;
use crate::host_config::HostConfig;
use crate::networks::membership::Membership;

/// What a container was created as, with what `rename`, `update` and `network` have changed since.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// 64 hexadecimal digits, random.
    pub id: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The program: the first word of entrypoint and command.
    pub path: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// The image's ID.
    pub image: String,
    /// Its name, unique among containers.
    pub name: String,
    /// The operating system.
    pub platform: String,
    /// Where it writes to, and from where its mounts come.
    pub mounts: Vec<MountPoint>,
    /// What runs.
    pub config: Config,
    /// What the host lends it.
    pub host_config: HostConfig,
    /// The image's layers, lowest first.
    pub layers: Vec<ChainId>,
    /// Which ids inside are which on the host, if not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// The networks it is in, by their names, and what it asks of each. Those of others, or of the host, are not here.
    #[serde(default)]
    pub networks: BTreeMap<String, Membership>,
}

/// The part of a container that does not depend on the host: an image's config with the user's changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Its hostname.
    pub hostname: String,
    /// Its NIS domain name.
    pub domainname: String,
    /// `USER[:GROUP]`, names or numbers; empty is root.
    pub user: String,
    /// Whether the command that started it passes its standard input on.
    pub attach_stdin: bool,
    /// Whether that command shows the container's standard output.
    pub attach_stdout: bool,
    /// Whether that command shows the container's standard error.
    pub attach_stderr: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub open_stdin: bool,
    /// Whether its standard input ends with the first command attached to it.
    pub stdin_once: bool,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The command, or the entrypoint's arguments.
    pub cmd: Option<Vec<String>>,
    /// The image, as the user wrote it.
    pub image: String,
    /// Ports that its programs listen on: `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Directories that are volumes of their own.
    pub volumes: BTreeSet<String>,
    /// Where the program starts.
    pub working_dir: String,
    /// The program that the command is given to.
    pub entrypoint: Option<Vec<String>>,
    /// Free text by key.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL.
    pub stop_timeout: Option<i64>,
    /// How it is told whether the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What a command in shell form runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// A bind mount, volume or tmpfs of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// What kind.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// A volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host's path; empty for a tmpfs.
    pub source: PathBuf,
    /// The container's path.
    pub destination: PathBuf,
    /// What the user wrote behind the paths.
    pub mode: String,
    /// Whether it can be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// `rprivate`, `rslave` or `rshared`.
    pub propagation: String,
    /// Whether it is a volume that nobody named, and that goes with its container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// A tmpfs's options, such as `size=64m`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// A volume's: what it is mounted from, if it is no directory of the engine's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_options: BTreeMap<String, String>,
    /// Which directory of a volume is shown, if not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
}

/// What kind of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host's that the user named.
    Bind,
    /// A directory that the engine keeps.
    Volume,
    /// Memory.
    Tmpfs,
}

/// Where a container is in its life. Written by its shim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    /// Where it is.
    pub status: Status,
    /// Its first process's id on the host, or 0.
    pub pid: i32,
    /// How its last run ended: a program's own code, or 128 and a signal's number.
    pub exit_code: u8,
    /// Whether its last run was ended for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Why it could not be started.
    pub error: String,
    /// When it last started, RFC 3339.
    pub started_at: String,
    /// When it last ended, RFC 3339.
    pub finished_at: String,
    /// How often its shim has started it again, by its restart policy.
    pub restart_count: u32,
    /// How well it is, if that is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Whether somebody asked it to end: it is not started again by itself then.
    pub stopped_by_hand: bool,
}

/// A stage in a container's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has never run.
    #[default]
    Created,
    /// Its first process lives.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It has ended, and its shim is about to start it again.
    Restarting,
    /// It has run.
    Exited,
}

/// Which ids inside are which on the host, in the kernel's format (`user_namespaces(7)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ids {
    /// Users.
    pub users: String,
    /// Groups.
    pub groups: String,
}

impl Ids {
    /// What they say.
    pub fn maps(&self) -> Result<IdMaps> {
        Ok(IdMaps { uids: self.users.parse()?, gids: self.groups.parse()? })
    }

    /// The record of `maps`.
    pub fn of(maps: &IdMaps) -> Self {
        Self { users: maps.uids.to_string(), groups: maps.gids.to_string() }
    }
}

impl Status {
    /// Whether a shim looks after it.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Whether its first process is there.
    pub const fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The word that commands print.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

impl Container {
    /// The first twelve digits of its ID: what people read and type.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// The program and its arguments.
    pub fn command(&self) -> Vec<String> {
        let mut command = vec![self.path.clone()];
        command.extend(self.args.iter().cloned());
        command
    }
}
