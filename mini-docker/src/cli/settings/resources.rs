//! What the container may use.

use std::path::PathBuf;

use clap::Args;
use mini_docker::host_config::{HostConfig, ThrottleDevice, Ulimit};
use mini_docker::{Error, Result, ulimits};

use super::super::options;

/// Limits.
#[derive(Args)]
pub(crate) struct Resources {
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
    /// Limit a process: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT", value_parser = ulimits::parse)]
    ulimit: Vec<Ulimit>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = options::bytes)]
    shm_size: Option<i64>,
    /// How soon it is killed when the host's memory runs out, -1000 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: i32,
}

impl Resources {
    /// Adds them to `host`.
    pub(super) fn set(self, host: &mut HostConfig) {
        host.memory = self.memory.unwrap_or(0);
        host.memory_reservation = self.memory_reservation.unwrap_or(0);
        host.memory_swap = self.memory_swap.unwrap_or(0);
        host.nano_cpus = self.cpus.unwrap_or(0);
        host.cpu_shares = self.cpu_shares;
        host.cpu_period = self.cpu_period;
        host.cpu_quota = self.cpu_quota;
        host.cpuset_cpus = self.cpuset_cpus;
        host.cpuset_mems = self.cpuset_mems;
        host.pids_limit = self.pids_limit;
        host.blkio_weight = self.blkio_weight;
        host.blkio_device_read_bps = self.device_read_bps;
        host.blkio_device_write_bps = self.device_write_bps;
        host.blkio_device_read_iops = self.device_read_iops;
        host.blkio_device_write_iops = self.device_write_iops;
        host.device_cgroup_rules = self.device_cgroup_rule;
        host.cgroup_parent = self.cgroup_parent;
        host.ulimits = self.ulimit;
        host.shm_size = self.shm_size.unwrap_or(0);
        host.oom_score_adj = self.oom_score_adj;
    }
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
