//! What a new container is to be like: the options that `run` shares with every command that makes one.

mod attached;
mod connections;
mod health;
mod id_file;
mod isolation;
mod resources;

use std::path::{Path, PathBuf};

use clap::Args;
use mini_docker::container::Config;
use mini_docker::create::Request;
use mini_docker::host_config::{HostConfig, LogConfig, Restart, RestartPolicy};
use mini_docker::{Error, Result, mounts};

use super::options;
use attached::{Attached, Stream};
use connections::Connections;
use health::Checks;
use id_file::IdFile;
use isolation::Isolation;
use resources::Resources;

/// The options.
#[derive(Args)]
pub(crate) struct Settings {
    /// Keep standard input open, and pass ours on
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Attach to these streams only: STDIN, STDOUT, STDERR
    #[arg(short, long, value_name = "STREAM")]
    attach: Vec<Stream>,
    /// Remove the container, and its anonymous volumes, when it ends
    #[arg(long)]
    rm: bool,
    /// Start the container again when it ends: no, on-failure[:COUNT], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    restart: RestartPolicy,
    /// A name for the container
    #[arg(long)]
    name: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Bind mount a host path, or mount a volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount a bind, volume or tmpfs
    #[arg(long, value_name = "type=TYPE,source=SOURCE,target=TARGET")]
    mount: Vec<String>,
    /// Mount the volumes of another container as well
    #[arg(long, value_name = "CONTAINER[:ro|rw]")]
    volumes_from: Vec<String>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,
    /// The user to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The hostname inside
    #[arg(short = 'h', long)]
    hostname: Option<String>,
    /// The NIS domain name inside
    #[arg(long)]
    domainname: Option<String>,
    /// Set metadata
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set the metadata that is in a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Write the container's ID to a file that there is not yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Run an init process inside that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds to wait for that before killing it
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// Mount a tmpfs
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// How the output is kept: json-file or none
    #[arg(long, value_name = "DRIVER", default_value = "json-file", hide_default_value = true)]
    log_driver: String,
    /// An option of that: max-size=10m, max-file=3, labels=NAME,NAME, env=NAME,NAME
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    resources: Resources,
    #[command(flatten)]
    isolation: Isolation,
    #[command(flatten)]
    checks: Checks,
    /// The image, and the command to run in place of its own
    // One list, since what follows the image is the command's, however much it looks like an option of ours.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["IMAGE", "COMMAND"])]
    image_and_command: Vec<String>,
}

impl Settings {
    /// The image's name, and the command, if there is one.
    pub(super) fn image_and_command(&self) -> Result<(String, Option<Vec<String>>)> {
        let (image, command) = self.image_and_command.split_first().expect("clap requires one");
        if image.starts_with('-') {
            return Err(Error::new(format!("unknown flag: {image}")).with_exit_code(125));
        }
        Ok((image.clone(), Some(command.to_vec()).filter(|words| !words.is_empty())))
    }

    /// The network that the user asks for first; empty without a choice.
    pub(super) fn network(&self) -> &str {
        self.connections.network.first().map_or("", String::as_str)
    }

    /// Makes the file that the container's ID is to be written to, if there is to be one.
    pub(super) fn id_file(&self) -> Result<Option<IdFile>> {
        self.cidfile.as_deref().map(IdFile::make).transpose()
    }

    /// The streams that a command which stays with the container is attached to.
    pub(super) fn streams(&self) -> Attached {
        Attached::to(&self.attach, self.interactive)
    }

    /// Whether the user says which these are.
    pub(super) fn chooses_streams(&self) -> bool {
        !self.attach.is_empty()
    }

    /// The options as the engine takes them. Relative paths are taken from `directory`; `attached` says whether the
    /// command stays with the container.
    pub(super) fn request(self, directory: &Path, attached: bool) -> Result<Request> {
        let (image, cmd) = self.image_and_command()?;
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(options::env_file(file)?);
        }
        for variable in &self.env {
            env.extend(options::variable(variable)?);
        }
        let mut labels = Vec::new();
        for file in &self.label_file {
            labels.extend(options::label_file(file)?);
        }
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(mounts::parse_volume(text, directory)?);
        }
        for text in &self.mount {
            mounts.push(mounts::parse_mount(text, directory)?);
        }
        for text in &self.tmpfs {
            mounts.push(mounts::parse_tmpfs(text)?);
        }
        mounts::require_distinct(&mounts)?;
        let streams = if attached { self.streams() } else { Attached::default() };
        let mut config = Config {
            hostname: self.hostname.unwrap_or_default(),
            domainname: self.domainname.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            attach_stdin: streams.stdin,
            attach_stdout: streams.stdout,
            attach_stderr: streams.stderr,
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: attached && self.interactive,
            env,
            cmd,
            image,
            working_dir: self.workdir.unwrap_or_default(),
            entrypoint: self.entrypoint.map(|program| vec![program]),
            labels: options::labels(labels.iter().chain(&self.label))?,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            volumes: self.volume.iter().filter(|text| !text.contains(':')).cloned().collect(),
            ..Config::default()
        };
        if self.rm && self.restart.name != Restart::No {
            return Err(Error::new("conflicting options: cannot specify both --restart and --rm"));
        }
        let mut host_config = HostConfig {
            restart_policy: self.restart,
            binds: self.volume,
            volumes_from: self.volumes_from.clone(),
            tmpfs: self.tmpfs.iter().map(|text| options::target_and_options(text)).collect(),
            auto_remove: self.rm,
            init: self.init,
            readonly_rootfs: self.read_only,
            log_config: LogConfig {
                driver: self.log_driver,
                config: self.log_opt.iter().map(|text| options::label(text)).collect(),
            },
            ..HostConfig::default()
        };
        self.resources.set(&mut host_config);
        self.isolation.set(&mut host_config)?;
        self.checks.set(&mut config)?;
        let networks = self.connections.set(&mut config, &mut host_config)?;
        Ok(Request {
            name: self.name,
            config,
            host_config,
            mounts,
            volumes_from: self.volumes_from,
            networks,
            ids: None,
        })
    }
}
