//! The cgroup, and what is written into it.

use std::path::Path;

use cgroups::{Cgroup, DeviceKind, DeviceRule, Hierarchy, IoLimit, Limits, Step, Write};

use super::at;
use super::document::{Cpu, Memory, Resources, ThrottleDevice};
use crate::error::{Error, Result};

/// Where `path`, the config's `linux.cgroupsPath`, leads; without one, a cgroup of the container's name.
pub(super) fn cgroup(path: &str, id: &str, systemd: bool, hierarchy: &Hierarchy) -> Result<Cgroup> {
    const FIELD: &str = "linux.cgroupsPath";
    let wrong = |error: cgroups::Error| at(FIELD, error);
    if path.is_empty() {
        return Cgroup::at(hierarchy, "", id).map_err(wrong);
    }
    if systemd {
        // There is no systemd to ask here: the cgroup is made where it would make it.
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(at(FIELD, format!("{path:?} is not of the form SLICE:PREFIX:NAME")));
        };
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        let scope =
            if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        return Cgroup::at(hierarchy, slice, &scope).map_err(wrong);
    }
    let path = Path::new(path);
    let name = path.file_name().ok_or_else(|| at(FIELD, format!("{} names no cgroup", path.display())))?;
    let parent = path.parent().map(|parent| parent.to_string_lossy().into_owned()).unwrap_or_default();
    Cgroup::at(hierarchy, parent.trim_start_matches('/'), &name.to_string_lossy()).map_err(wrong)
}

/// The limits, and what else is written, for a cgroup of version 2 or 1. A `new` one gets rules about devices whether
/// the config has some or not.
pub(super) fn read(resources: &Resources, v2: bool, new: bool) -> Result<(Limits, Vec<Step>)> {
    let limits = Limits {
        cpu_shares: resources.cpu.shares.filter(|&shares| shares > 0),
        cpuset_cpus: Some(resources.cpu.cpus.clone()).filter(|list| !list.is_empty()),
        cpuset_mems: Some(resources.cpu.mems.clone()).filter(|list| !list.is_empty()),
        pids: resources.pids.as_ref().map(|pids| pids.limit).filter(|&limit| limit != 0),
        io_weight: resources.block_io.weight.filter(|&weight| weight > 0).map(u64::from),
        io: io(resources)?,
        devices: if new || !resources.devices.is_empty() { devices(resources)? } else { Vec::new() },
        ..Limits::default()
    };
    let mut steps = Writer { v2, steps: Vec::new() };
    steps.memory(&resources.memory)?;
    steps.cpu(&resources.cpu)?;
    steps.others(resources)?;
    Ok((limits, steps.steps))
}

/// Refuses what cannot be had without a cgroup. Rules for devices are not among it: who has none cannot make nodes either.
pub(super) fn refuse(resources: &Resources) -> Result<()> {
    let (limits, writes) = read(resources, true, false)?;
    if (Limits { devices: Vec::new(), ..limits }) == Limits::default() && writes.is_empty() {
        return Ok(());
    }
    Err(at("linux.resources", "cannot be applied: an ordinary user has no cgroup here (leave them out)"))
}

/// The config's rules, and then those that every container needs.
fn devices(resources: &Resources) -> Result<Vec<DeviceRule>> {
    let mut rules = Vec::new();
    for (number, rule) in resources.devices.iter().enumerate() {
        let field = format!("linux.resources.devices[{number}]");
        let kind = match rule.r#type.as_deref().unwrap_or("a") {
            "a" | "" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" | "u" => DeviceKind::Char,
            other => return Err(at(format!("{field}.type"), format!("{other:?} is none of a, b and c"))),
        };
        let access = if rule.access.is_empty() && kind == DeviceKind::All { "rwm" } else { &rule.access };
        if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(at(
                format!("{field}.access"),
                format!("{access:?} is not of the letters r, w and m"),
            ));
        }
        let number = |name: &str, number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| at(format!("{field}.{name}"), format!("{number} is out of range"))),
        };
        rules.push(DeviceRule {
            allow: rule.allow,
            kind,
            major: number("major", rule.major)?,
            minor: number("minor", rule.minor)?,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        });
    }
    rules.extend(DeviceRule::defaults());
    Ok(rules)
}

fn io(resources: &Resources) -> Result<Vec<IoLimit>> {
    let block = &resources.block_io;
    let mut limits = Vec::new();
    let mut add = |name: &str, devices: &[ThrottleDevice], set: fn(IoLimit, u64) -> IoLimit| {
        for (number, device) in devices.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{number}]");
            let limit =
                IoLimit { device: numbers(&field, device.major, device.minor)?, ..IoLimit::default() };
            limits.push(set(limit, device.rate));
        }
        Ok::<_, Error>(())
    };
    add("throttleReadBpsDevice", &block.throttle_read_bps_device, |limit, rate| IoLimit {
        read_bps: Some(rate),
        ..limit
    })?;
    add("throttleWriteBpsDevice", &block.throttle_write_bps_device, |limit, rate| IoLimit {
        write_bps: Some(rate),
        ..limit
    })?;
    add("throttleReadIOPSDevice", &block.throttle_read_iops_device, |limit, rate| IoLimit {
        read_iops: Some(rate),
        ..limit
    })?;
    add("throttleWriteIOPSDevice", &block.throttle_write_iops_device, |limit, rate| IoLimit {
        write_iops: Some(rate),
        ..limit
    })?;
    Ok(limits)
}

fn numbers(field: &str, major: i64, minor: i64) -> Result<(u32, u32)> {
    let number = |name: &str, number: i64| {
        u32::try_from(number).map_err(|_| at(format!("{field}.{name}"), format!("{number} is out of range")))
    };
    Ok((number("major", major)?, number("minor", minor)?))
}

/// Collects writes.
struct Writer {
    v2: bool,
    steps: Vec<Step>,
}

impl Writer {
    fn write(
        &mut self,
        controller: &'static str,
        limit: &'static str,
        v1: &str,
        v2: &str,
        value: &impl ToString,
    ) {
        self.steps.push(Step::Write(Write {
            controller,
            file: if self.v2 { v2 } else { v1 }.to_owned().into(),
            value: value.to_string(),
            limit,
            or: None,
            optional: false,
        }));
    }

    /// Refuses what one of the two versions has not.
    fn only(&self, v2: bool, field: &str) -> Result<()> {
        if self.v2 == v2 {
            return Ok(());
        }
        Err(at(field, format!("is for cgroup v{}, and this host has the other", if v2 { 2 } else { 1 })))
    }

    /// Bytes, of which -1 stands for no limit and 0 for nothing to be set.
    fn bytes(&self, field: &str, bytes: Option<i64>) -> Result<Option<String>> {
        match bytes {
            None | Some(0) => Ok(None),
            Some(-1) => Ok(Some(if self.v2 { "max" } else { "-1" }.to_owned())),
            Some(bytes) if bytes > 0 => Ok(Some(bytes.to_string())),
            Some(bytes) => Err(at(format!("linux.resources.memory.{field}"), format!("{bytes} is below -1"))),
        }
    }

    fn memory(&mut self, memory: &Memory) -> Result<()> {
        let limit = self.bytes("limit", memory.limit)?;
        let mut swap = self.bytes("swap", memory.swap)?;
        for (field, value) in [("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)] {
            if value.is_some_and(|value| value > 0) {
                return Err(at(
                    format!("linux.resources.memory.{field}"),
                    "is not supported: kernels have done away with it",
                ));
            }
        }
        if let (Some(most @ 1..), Some(all @ 1..)) = (memory.limit, memory.swap) {
            if all < most {
                return Err(at(
                    "linux.resources.memory.swap",
                    "is memory and swap together, and must not be below limit",
                ));
            }
            // v2 counts swap by itself.
            swap = swap.map(|swap| if self.v2 { (all - most).to_string() } else { swap });
        } else if self.v2 && memory.swap.is_some_and(|swap| swap > 0) {
            return Err(at("linux.resources.memory.swap", "is memory and swap together, and needs limit"));
        }
        // On v1 memsw is never below memory: what is raised first makes every order of old and new right.
        let raising = !self.v2 && swap.is_some();
        if raising && limit.is_some() {
            self.write("memory", "swap", "memory.memsw.limit_in_bytes", "", &-1);
        }
        if let Some(limit) = limit {
            self.write("memory", "memory", "memory.limit_in_bytes", "memory.max", &limit);
        }
        if let Some(swap) = swap {
            self.write("memory", "swap", "memory.memsw.limit_in_bytes", "memory.swap.max", &swap);
        }
        if let Some(bytes) = self.bytes("reservation", memory.reservation)? {
            self.write("memory", "memory reservation", "memory.soft_limit_in_bytes", "memory.low", &bytes);
        }
        if let Some(swappiness) = memory.swappiness {
            self.only(false, "linux.resources.memory.swappiness")?;
            if swappiness > 100 {
                return Err(at(
                    "linux.resources.memory.swappiness",
                    format!("{swappiness} is not between 0 and 100"),
                ));
            }
            self.write("memory", "swappiness", "memory.swappiness", "", &swappiness);
        }
        if memory.disable_oom_killer {
            self.only(false, "linux.resources.memory.disableOOMKiller")?;
            self.write("memory", "the killing of processes", "memory.oom_control", "", &1);
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &Cpu) -> Result<()> {
        let period = cpu.period.filter(|&period| period > 0);
        let quota = cpu.quota.filter(|&quota| quota != 0);
        if self.v2 && (quota.is_some() || period.is_some()) {
            let most = quota.filter(|&quota| quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            self.write("cpu", "CPU time", "", "cpu.max", &format!("{most} {}", period.unwrap_or(100_000)));
        } else {
            if let Some(period) = period {
                self.write("cpu", "the CPU period", "cpu.cfs_period_us", "", &period);
            }
            if let Some(quota) = quota {
                self.write("cpu", "CPU time", "cpu.cfs_quota_us", "", &quota);
            }
        }
        if let Some(burst) = cpu.burst {
            self.write("cpu", "bursts of CPU time", "cpu.cfs_burst_us", "cpu.max.burst", &burst);
        }
        if let Some(idle) = cpu.idle {
            self.write("cpu", "whether it is idle", "cpu.idle", "cpu.idle", &idle);
        }
        if let Some(period) = cpu.realtime_period {
            self.only(false, "linux.resources.cpu.realtimePeriod")?;
            self.write("cpu", "the realtime period", "cpu.rt_period_us", "", &period);
        }
        if let Some(runtime) = cpu.realtime_runtime {
            self.only(false, "linux.resources.cpu.realtimeRuntime")?;
            self.write("cpu", "realtime", "cpu.rt_runtime_us", "", &runtime);
        }
        Ok(())
    }

    fn others(&mut self, resources: &Resources) -> Result<()> {
        let block = &resources.block_io;
        if block.leaf_weight.is_some_and(|weight| weight > 0) {
            return Err(at(
                "linux.resources.blockIO.leafWeight",
                "is not supported: kernels have done away with it",
            ));
        }
        for (number, device) in block.weight_device.iter().enumerate() {
            let field = format!("linux.resources.blockIO.weightDevice[{number}]");
            let (major, minor) = numbers(&field, device.major, device.minor)?;
            let weight = device.weight.ok_or_else(|| at(format!("{field}.weight"), "is missing"))?;
            if device.leaf_weight.is_some_and(|weight| weight > 0) {
                return Err(at(
                    format!("{field}.leafWeight"),
                    "is not supported: kernels have done away with it",
                ));
            }
            let value = format!("{major}:{minor} {weight}");
            self.write(
                "blkio",
                "the I/O weight of a device",
                "blkio.bfq.weight_device",
                "io.bfq.weight",
                &value,
            );
        }
        for page in &resources.hugepage_limits {
            let (v1, v2) = (
                format!("hugetlb.{}.limit_in_bytes", page.page_size),
                format!("hugetlb.{}.max", page.page_size),
            );
            self.write("hugetlb", "huge pages", &v1, &v2, &page.limit);
        }
        if let Some(class) = resources.network.class_id.filter(|&class| class > 0) {
            self.only(false, "linux.resources.network.classID")?;
            self.write("net_cls", "the class of packets", "net_cls.classid", "", &class);
        }
        for priority in &resources.network.priorities {
            self.only(false, "linux.resources.network.priorities")?;
            let value = format!("{} {}", priority.name, priority.priority);
            self.write("net_prio", "the priority of packets", "net_prio.ifpriomap", "", &value);
        }
        for (device, rdma) in &resources.rdma {
            let mut value = device.clone();
            for (key, most) in [("hca_handle", rdma.hca_handles), ("hca_object", rdma.hca_objects)] {
                if let Some(most) = most {
                    value = format!("{value} {key}={most}");
                }
            }
            self.write("rdma", "RDMA", "rdma.max", "rdma.max", &value);
        }
        for (file, value) in &resources.unified {
            let field = format!("linux.resources.unified.{file}");
            self.only(true, &field)?;
            if file.contains('/') || !file.contains('.') {
                return Err(at(field, "is no file of a cgroup"));
            }
            // Every cgroup of v2 has its place in the one tree, whichever controller the file is of.
            self.write("freezer", "what the config says", "", file, &value);
        }
        Ok(())
    }
}
