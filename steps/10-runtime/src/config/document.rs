//! `config.json` as it is written: its shape, with nothing said yet about its meaning.
//!
//! The types are our own, and hold what the runtime specification 1.2 says for Linux (`config.md`, `config-linux.md`).
//! Fields that we do not know are ignored, as the specification demands; those that we know and cannot serve are here,
//! to be refused by name. Go writes `null` for what is not there, and so all `null` is taken out before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seccomp::Profile;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Declares types of which every field may be missing.
macro_rules! document {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident : $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(default, rename_all = "camelCase")]
            pub(crate) struct $name { $($(#[$meta])* pub(crate) $field: $type),* }
        )*
    };
}

document! {
    Document {
        oci_version: String,
        root: Option<Root>,
        mounts: Vec<Mount>,
        process: Option<Process>,
        hostname: Option<String>,
        domainname: Option<String>,
        hooks: Hooks,
        annotations: BTreeMap<String, String>,
        linux: Linux,
        vm: Option<Value>,
        windows: Option<Value>,
        solaris: Option<Value>,
        zos: Option<Value>,
    }
    Root { path: PathBuf, readonly: bool }
    Mount {
        destination: PathBuf,
        r#type: Option<String>,
        source: Option<PathBuf>,
        options: Vec<String>,
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
    }
    IdMapping {
        #[serde(rename = "containerID")] container_id: u32,
        #[serde(rename = "hostID")] host_id: u32,
        size: u32,
    }
    Process {
        terminal: bool,
        console_size: Option<ConsoleSize>,
        user: User,
        args: Vec<String>,
        env: Vec<String>,
        cwd: PathBuf,
        capabilities: Option<Capabilities>,
        rlimits: Vec<Rlimit>,
        no_new_privileges: bool,
        apparmor_profile: String,
        selinux_label: String,
        oom_score_adj: Option<i32>,
        scheduler: Option<Scheduler>,
        io_priority: Option<IoPriority>,
        #[serde(rename = "execCPUAffinity")] exec_cpu_affinity: Option<CpuAffinity>,
    }
    ConsoleSize { height: u16, width: u16 }
    User { uid: u32, gid: u32, umask: Option<u32>, additional_gids: Vec<u32> }
    Capabilities {
        bounding: Vec<String>,
        effective: Vec<String>,
        inheritable: Vec<String>,
        permitted: Vec<String>,
        ambient: Vec<String>,
    }
    Rlimit { r#type: String, soft: u64, hard: u64 }
    Scheduler {
        policy: String,
        nice: i32,
        priority: i32,
        flags: Vec<String>,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    IoPriority { class: String, priority: i64 }
    CpuAffinity { initial: String, r#final: String }
    Linux {
        namespaces: Vec<Namespace>,
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
        time_offsets: BTreeMap<String, TimeOffset>,
        devices: Vec<Device>,
        net_devices: BTreeMap<String, Value>,
        cgroups_path: String,
        resources: Resources,
        rootfs_propagation: String,
        seccomp: Option<Profile>,
        sysctl: BTreeMap<String, String>,
        masked_paths: Vec<PathBuf>,
        readonly_paths: Vec<PathBuf>,
        mount_label: String,
        intel_rdt: Option<Value>,
        memory_policy: Option<Value>,
        personality: Option<Personality>,
    }
    Namespace { r#type: String, path: Option<PathBuf> }
    TimeOffset { secs: i64, nanosecs: u32 }
    Device {
        r#type: String,
        path: PathBuf,
        major: Option<i64>,
        minor: Option<i64>,
        file_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    }
    Resources {
        devices: Vec<DeviceRule>,
        memory: Memory,
        cpu: Cpu,
        pids: Option<Pids>,
        #[serde(rename = "blockIO")] block_io: BlockIo,
        hugepage_limits: Vec<Hugepages>,
        network: Network,
        rdma: BTreeMap<String, Rdma>,
        unified: BTreeMap<String, String>,
    }
    DeviceRule {
        allow: bool,
        r#type: Option<String>,
        major: Option<i64>,
        minor: Option<i64>,
        access: String,
    }
    Memory {
        limit: Option<i64>,
        reservation: Option<i64>,
        swap: Option<i64>,
        kernel: Option<i64>,
        #[serde(rename = "kernelTCP")] kernel_tcp: Option<i64>,
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller")] disable_oom_killer: bool,
    }
    Cpu {
        shares: Option<u64>,
        quota: Option<i64>,
        burst: Option<u64>,
        period: Option<u64>,
        realtime_runtime: Option<i64>,
        realtime_period: Option<u64>,
        cpus: String,
        mems: String,
        idle: Option<i64>,
    }
    Pids { limit: i64 }
    BlockIo {
        weight: Option<u16>,
        leaf_weight: Option<u16>,
        weight_device: Vec<WeightDevice>,
        throttle_read_bps_device: Vec<ThrottleDevice>,
        throttle_write_bps_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice")] throttle_read_iops_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice")] throttle_write_iops_device: Vec<ThrottleDevice>,
    }
    WeightDevice { major: i64, minor: i64, weight: Option<u16>, leaf_weight: Option<u16> }
    ThrottleDevice { major: i64, minor: i64, rate: u64 }
    Hugepages { page_size: String, limit: u64 }
    Network { #[serde(rename = "classID")] class_id: Option<u32>, priorities: Vec<Priority> }
    Priority { name: String, priority: u32 }
    Rdma { hca_handles: Option<u32>, hca_objects: Option<u32> }
    Personality { domain: String, flags: Vec<String> }
    Hooks {
        prestart: Vec<Hook>,
        create_runtime: Vec<Hook>,
        create_container: Vec<Hook>,
        start_container: Vec<Hook>,
        poststart: Vec<Hook>,
        poststop: Vec<Hook>,
    }
}

/// A program to run at one point of a container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Hook {
    /// The program's absolute path.
    pub path: PathBuf,
    /// Its arguments, of which the first is its name for itself.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds after which it is killed.
    pub timeout: Option<i64>,
}
