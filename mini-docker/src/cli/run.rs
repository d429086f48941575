//! `run`: create a container from an image, and start it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use image_pull::Platform;
use mini_docker::attach::{self, Outcome, Session};
use mini_docker::container::{Config, HostConfig, ThrottleDevice};
use mini_docker::create::Request;
use mini_docker::{Engine, Error, Result, explain, mounts, terminal};

use super::{options, pull};

/// What `run` takes.
#[derive(Args)]
#[command(disable_help_flag = true, about = "Create and run a new container from an image")]
pub(crate) struct Options {
    /// Run the container in the background and print its ID
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open, and pass ours on
    #[arg(short, long)]
    interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container, and its anonymous volumes, when it ends
    #[arg(long)]
    rm: bool,
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
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Run an init process inside that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// The network: none or host
    #[arg(long, visible_alias = "net", default_value = "none")]
    network: String,
    /// Memory limit
    #[arg(short, long, value_name = "BYTES", value_parser = options::bytes)]
    memory: Option<i64>,
    /// Memory the container is pressed back to when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = options::bytes)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = options::bytes_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Number of processors, such as 0.5
    #[arg(long, value_name = "NUMBER", value_parser = options::nano_cpus)]
    cpus: Option<i64>,
    /// Weight when processors are short (1024 is one share)
    #[arg(short = 'c', long, value_name = "WEIGHT", default_value_t = 0, hide_default_value = true)]
    cpu_shares: i64,
    /// Length of a scheduling period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, hide_default_value = true)]
    cpu_period: i64,
    /// Running time in each period, in microseconds
    #[arg(
        long,
        value_name = "MICROSECONDS",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    cpu_quota: i64,
    /// Processors to run on (0-3, 0,1)
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cpuset_cpus: String,
    /// Memory nodes to use (0-3, 0,1)
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cpuset_mems: String,
    /// Limit of processes and threads; -1 for unlimited
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pids_limit: i64,
    /// Weight when a disk is short, 10 to 1000
    #[arg(long, value_name = "WEIGHT", default_value_t = 0, hide_default_value = true)]
    blkio_weight: u16,
    /// Limit bytes a second read from a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = bytes_rate)]
    device_read_bps: Vec<ThrottleDevice>,
    /// Limit bytes a second written to a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = bytes_rate)]
    device_write_bps: Vec<ThrottleDevice>,
    /// Limit operations a second read from a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = operations_rate)]
    device_read_iops: Vec<ThrottleDevice>,
    /// Limit operations a second written to a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = operations_rate)]
    device_write_iops: Vec<ThrottleDevice>,
    /// Allow more devices, such as "c 10:200 rwm"
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
    /// The cgroup to put the container's into
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds to wait for that before killing it
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// The platform to pull, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<Platform>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: pull::Policy,
    /// Do not print the progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sig_proxy: bool,
    /// Tell every step that the kernel is asked for, with its time and its chapter
    #[arg(long)]
    explain: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The image, and the command to run in place of its own
    // One list, since what follows the image is the command's, however much it looks like an option of ours.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["IMAGE", "COMMAND"])]
    image_and_command: Vec<String>,
}

impl Options {
    /// Runs a container; the exit code is the container's, or 0 if it was left running.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        if self.explain {
            explain::begin();
        }
        if self.tty && self.interactive && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Error::new("the input device is not a TTY").with_exit_code(1));
        }
        let (name, _) = self.image_and_command()?;
        super::sweep(engine, false);
        let hold = engine.images().hold()?;
        let image = pull::find(engine, &name, self.platform.as_ref(), self.pull, self.quiet)?;
        let session = Session { stdin: self.interactive, tty: self.tty, sig_proxy: self.sig_proxy };
        let detach = self.detach;
        let created = engine.create(&image, &hold, self.request(&std::env::current_dir().map_err(here)?)?)?;
        drop(hold);

        if detach {
            let id = created.container.id.clone();
            let mut connection = engine.start(created, false, None)?;
            attach::await_start(&mut connection)?;
            println!("{id}");
            return Ok(0);
        }
        let signals = attach::take_signals()?;
        let size = terminal::size(&std::io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let mut connection = engine.start(created, true, size)?;
        let early = attach::await_start(&mut connection)?;
        match session.run(connection, &signals, early)? {
            Outcome::Exited(code) => Ok(code),
            Outcome::Detached => {
                eprintln!("read escape sequence");
                Ok(0)
            }
        }
    }

    /// The image's name, and the command, if there is one.
    fn image_and_command(&self) -> Result<(String, Option<Vec<String>>)> {
        let (image, command) = self.image_and_command.split_first().expect("clap requires one");
        if image.starts_with('-') {
            return Err(Error::new(format!("unknown flag: {image}")));
        }
        Ok((image.clone(), Some(command.to_vec()).filter(|words| !words.is_empty())))
    }

    /// The options as the engine takes them. Relative paths are taken from `directory`.
    fn request(self, directory: &Path) -> Result<Request> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(options::env_file(file)?);
        }
        for variable in &self.env {
            env.extend(options::variable(variable)?);
        }
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(mounts::parse_volume(text, directory)?);
        }
        for text in &self.mount {
            mounts.push(mounts::parse_mount(text, directory)?);
        }
        mounts::require_distinct(&mounts)?;
        let attached = !self.detach;
        let (image, cmd) = self.image_and_command()?;
        let config = Config {
            hostname: self.hostname.unwrap_or_default(),
            domainname: self.domainname.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            attach_stdin: attached && self.interactive,
            attach_stdout: attached,
            attach_stderr: attached,
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: attached && self.interactive,
            env,
            cmd,
            image,
            working_dir: self.workdir.unwrap_or_default(),
            entrypoint: self.entrypoint.map(|program| vec![program]),
            labels: self.label.iter().map(|text| options::label(text)).collect(),
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            ..Config::default()
        };
        let host_config = HostConfig {
            binds: self.volume,
            network_mode: self.network,
            auto_remove: self.rm,
            init: self.init,
            readonly_rootfs: self.read_only,
            cgroup_parent: self.cgroup_parent,
            memory: self.memory.unwrap_or(0),
            memory_reservation: self.memory_reservation.unwrap_or(0),
            memory_swap: self.memory_swap.unwrap_or(0),
            nano_cpus: self.cpus.unwrap_or(0),
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids_limit: self.pids_limit,
            blkio_weight: self.blkio_weight,
            blkio_device_read_bps: self.device_read_bps,
            blkio_device_write_bps: self.device_write_bps,
            blkio_device_read_iops: self.device_read_iops,
            blkio_device_write_iops: self.device_write_iops,
            device_cgroup_rules: self.device_cgroup_rule,
            ..HostConfig::default()
        };
        Ok(Request { name: self.name, config, host_config, mounts })
    }
}

fn here(error: std::io::Error) -> Error {
    Error::file("find", Path::new("the working directory"), error)
}

/// `DEVICE:BYTES`, such as `/dev/sda:1mb`.
fn bytes_rate(text: &str) -> Result<ThrottleDevice> {
    rate(text, |rate| mini_docker::format::units::parse_binary(rate).ok())
}

/// `DEVICE:NUMBER`.
fn operations_rate(text: &str) -> Result<ThrottleDevice> {
    rate(text, |rate| rate.parse().ok())
}

fn rate(text: &str, read: impl Fn(&str) -> Option<u64>) -> Result<ThrottleDevice> {
    let invalid = || Error::new(format!("bad format: {text}: expected DEVICE:RATE, such as /dev/sda:1000"));
    let (path, rate) = text.rsplit_once(':').ok_or_else(invalid)?;
    if !path.starts_with("/dev/") {
        return Err(invalid());
    }
    Ok(ThrottleDevice { path: PathBuf::from(path), rate: read(rate).ok_or_else(invalid)? })
}
