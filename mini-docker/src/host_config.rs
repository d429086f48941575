//! What the host lends a container, in the shape of `docker inspect`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::networks::ports::Bindings;

/// The part of a container that depends on the host. Sizes are bytes, and 0 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `-v` as the user wrote them.
    pub binds: Vec<String>,
    /// Containers whose volumes it has too: `CONTAINER[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// The name of the network that it is in first; `none`, `host`, or `container:ID` for another container's.
    pub network_mode: String,
    /// Ports of its own that are published, and where on the host.
    pub port_bindings: Bindings,
    /// Whether every port that it exposes is published.
    pub publish_all_ports: bool,
    /// Name servers, in place of the host's.
    pub dns: Vec<IpAddr>,
    /// Options of name resolution (`resolv.conf(5)`).
    pub dns_options: Vec<String>,
    /// Domains that short names are looked up in.
    pub dns_search: Vec<String>,
    /// Lines for `/etc/hosts`: `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Whose process ids it sees: empty for its own, `host`, `container:ID`.
    pub pid_mode: String,
    /// Whose shared memory it sees: `private`, `shareable`, `none`, `host`, `container:ID`.
    pub ipc_mode: String,
    /// Whose hostname it has: empty for its own, or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Whose user ids it has: empty for those that the engine gives to all containers, or `host`.
    pub userns_mode: String,
    /// Where it sees the root of the cgroup tree: `private` or `host`.
    pub cgroupns_mode: String,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Whether an init process runs as number 1.
    pub init: bool,
    /// Whether its root is read-only.
    pub readonly_rootfs: bool,
    /// The cgroup to put its own into; empty for the engine's.
    pub cgroup_parent: String,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory it is pressed back to when the host runs short.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; -1 for no limit on swap.
    pub memory_swap: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Its weight among others when processors are short.
    pub cpu_shares: i64,
    /// Microseconds of a scheduling period.
    pub cpu_period: i64,
    /// Microseconds it may run in each period.
    pub cpu_quota: i64,
    /// Processors it may run on, such as `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes it may use.
    pub cpuset_mems: String,
    /// Processes and threads; 0 or -1 for no limit.
    pub pids_limit: i64,
    /// Its weight among others when a disk is short, 10 to 1000.
    pub blkio_weight: u16,
    /// Bytes a second it may read from a device.
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes a second it may write to a device.
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Operations a second it may read from a device.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Operations a second it may write to a device.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Rules for devices beyond the standard ones, such as `c 10:200 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Devices of the host's.
    pub devices: Vec<DeviceMapping>,
    /// Whether it may do what root of the host may.
    pub privileged: bool,
    /// Capabilities it has beyond the default ones.
    pub cap_add: Vec<String>,
    /// Capabilities that are taken from it.
    pub cap_drop: Vec<String>,
    /// `KEY=VALUE` or `KEY`: seccomp, no-new-privileges, apparmor, label, systempaths. A seccomp profile is here as text.
    pub security_opt: Vec<String>,
    /// Limits of its processes (`getrlimit(2)`).
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`; 0 for the default.
    pub shm_size: i64,
    /// Where a tmpfs is mounted, and its options.
    pub tmpfs: BTreeMap<String, String>,
    /// Groups that its user is in beyond those in the image.
    pub group_add: Vec<String>,
    /// How soon it is killed when the host's memory runs out: -1000 (never) to 1000.
    pub oom_score_adj: i32,
    /// How its output is kept.
    pub log_config: LogConfig,
    /// Whether it is started again when it has ended.
    pub restart_policy: RestartPolicy,
}

/// Whether a container is started again when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// In which case.
    pub name: Restart,
    /// How often at most after failures; 0 for no limit.
    pub maximum_retry_count: u32,
}

/// When a container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it has failed.
    OnFailure,
    /// Always, until somebody stops it; after a reboot even then.
    Always,
    /// Always, until somebody stops it.
    UnlessStopped,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { name: Restart::No, maximum_retry_count: 0 }
    }
}

impl FromStr for RestartPolicy {
    type Err = Error;

    /// Reads `no`, `on-failure[:COUNT]`, `always` or `unless-stopped`.
    fn from_str(text: &str) -> Result<Self> {
        let (word, count) = text.split_once(':').map_or((text, None), |(word, count)| (word, Some(count)));
        let name = match word {
            "" | "no" => Restart::No,
            "on-failure" => Restart::OnFailure,
            "always" => Restart::Always,
            "unless-stopped" => Restart::UnlessStopped,
            _ => {
                return Err(Error::new(format!(
                    "invalid restart policy: unknown policy '{word}'; use one of 'no', 'always', 'on-failure', or \
                     'unless-stopped'"
                )));
            }
        };
        let maximum_retry_count = match count {
            None => 0,
            Some(_) if name != Restart::OnFailure => {
                return Err(Error::new(
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
                ));
            }
            Some(count) => count.parse().map_err(|_| {
                Error::new(format!(
                    "invalid restart policy: maximum retry count must be a number, not '{count}'"
                ))
            })?,
        };
        Ok(Self { name, maximum_retry_count })
    }
}

impl RestartPolicy {
    /// Whether a container that has ended with `code`, after it was started again `count` times, is started once more.
    pub fn applies(&self, code: u8, count: u32) -> bool {
        match self.name {
            Restart::No => false,
            Restart::OnFailure => {
                code != 0 && (self.maximum_retry_count == 0 || count < self.maximum_retry_count)
            }
            Restart::Always | Restart::UnlessStopped => true,
        }
    }
}

/// A device of the host's in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// A node, or a directory of nodes, on the host.
    pub path_on_host: PathBuf,
    /// Where it is inside.
    pub path_in_container: PathBuf,
    /// What may be done: letters of `rwm`, for reading, writing, and making nodes.
    pub cgroup_permissions: String,
}

/// A limit of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    /// Which: `nofile`.
    pub name: String,
    /// What counts; -1 for no limit.
    pub soft: i64,
    /// How far a program may raise that by itself; -1 for no limit.
    pub hard: i64,
}

/// A limit on one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ThrottleDevice {
    /// The device's path on the host.
    pub path: PathBuf,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// How a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub driver: String,
    /// Options of the driver.
    pub config: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: "json-file".to_owned(), config: BTreeMap::new() }
    }
}
