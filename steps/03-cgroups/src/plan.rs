//! From limits to writes: a pure decision, which can be printed and tested without privileges.
//!
//! The formulas and ranges are Docker's and runc's, so that the same flag means the same; each has its source beside
//! it.

use std::borrow::Cow;
use std::fmt;

use crate::devices::Program;
use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;
use crate::limits::{DeviceRule, IoLimit, Limits, Swap};

/// One thing to do to a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a text into one of its files.
    Write(Write),
    /// Attach a program that judges every use of a device (v2).
    Attach(Program),
}

/// One file of a cgroup and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The controller, by its v1 name.
    pub controller: &'static str,
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What is written.
    pub value: String,
    /// What it limits, in words, for when it fails.
    pub limit: &'static str,
    /// Another file and value for kernels without the first.
    pub or: Option<(&'static str, String)>,
    /// A default of ours that nobody asked for by name: it may be missing on this host.
    pub optional: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(write) => {
                write!(f, "{} = {}", write.file, write.value)?;
                if let Some((file, value)) = &write.or {
                    write!(f, " or {file} = {value}")?;
                }
                if write.optional { f.write_str(" if there is such a file") } else { Ok(()) }
            }
            Self::Attach(program) => write!(f, "attach a device program:\n{program}"),
        }
    }
}

/// Docker's minimum for a memory limit: less does not even start a process (moby, `linuxMinMemory`).
const MEMORY_MIN: u64 = 6 * 1024 * 1024;

/// Decides what has to be written to set these limits, in order.
///
/// # Errors
/// [`Error::Invalid`] for limits that contradict each other or lie out of range, and [`Error::Unavailable`] for what
/// this host's hierarchy cannot do.
pub fn plan(limits: &Limits, hierarchy: &Hierarchy) -> Result<Vec<Step>> {
    let mut plan = Planner { hierarchy, v2: hierarchy.is_v2(), steps: Vec::new() };
    plan.memory(limits)?;
    plan.cpu(limits)?;
    plan.cpuset(limits)?;
    plan.pids(limits)?;
    plan.io(limits)?;
    plan.devices(&limits.devices)?;
    Ok(plan.steps)
}

struct Planner<'a> {
    hierarchy: &'a Hierarchy,
    v2: bool,
    steps: Vec<Step>,
}

impl Planner<'_> {
    /// Adds a write.
    fn write(
        &mut self,
        controller: &'static str,
        limit: &'static str,
        file: &'static str,
        value: &impl ToString,
    ) -> Result<&mut Write> {
        if !self.hierarchy.has(controller) {
            let reason = "is missing or not switched on";
            return Err(Error::Unavailable { controller, limit, reason });
        }
        let value = value.to_string();
        self.steps.push(Step::Write(Write {
            controller,
            file: file.into(),
            value,
            limit,
            or: None,
            optional: false,
        }));
        match self.steps.last_mut() {
            Some(Step::Write(write)) => Ok(write),
            _ => unreachable!("it was pushed just now"),
        }
    }

    /// The name of a file that the two versions call differently.
    fn file(&self, v1: &'static str, v2: &'static str) -> &'static str {
        if self.v2 { v2 } else { v1 }
    }

    /// Refuses what only v1 can do.
    fn v1_only(&self, controller: &'static str, limit: &'static str) -> Result<()> {
        if self.v2 {
            let reason = "cannot do that in cgroup v2";
            return Err(Error::Unavailable { controller, limit, reason });
        }
        Ok(())
    }

    fn memory(&mut self, limits: &Limits) -> Result<()> {
        let Limits { memory, memory_reservation, memory_swap, .. } = *limits;
        // The checks and their order are moby's (daemon/daemon_unix.go, verifyPlatformContainerResources).
        if memory.is_some_and(|memory| memory < MEMORY_MIN) {
            return invalid("minimum memory limit allowed is 6MB");
        }
        if memory_reservation.is_some_and(|reservation| reservation < MEMORY_MIN) {
            return invalid("minimum memory reservation allowed is 6MB");
        }
        if let (Some(memory), Some(reservation)) = (memory, memory_reservation)
            && memory < reservation
        {
            return invalid("minimum memory limit can not be less than memory reservation limit");
        }
        match (memory, memory_swap) {
            (None, Some(Swap::Total(_))) => {
                return invalid("you should always set the memory limit when using the memory-swap limit");
            }
            (Some(memory), Some(Swap::Total(total))) if total < memory => {
                return invalid("minimum memory-swap limit should be larger than memory limit");
            }
            _ => {}
        }
        let swap_file = self.file("memory.memsw.limit_in_bytes", "memory.swap.max");
        if let Some(memory) = memory {
            if !self.v2 {
                // v1 never lets memsw be below memory. Taking it away first makes every order of old and new right.
                self.write("memory", "swap", swap_file, &-1)?.optional = true;
            }
            let file = self.file("memory.limit_in_bytes", "memory.max");
            self.write("memory", "memory", file, &memory)?;
        }
        match (memory, memory_swap) {
            (_, Some(Swap::Unlimited)) => {
                let unlimited = self.file("-1", "max");
                self.write("memory", "swap", swap_file, &unlimited)?;
            }
            (Some(memory), swap) => {
                // Docker counts memory and swap together, as v1 does; v2 counts swap alone.
                let total = match swap {
                    Some(Swap::Total(total)) => total,
                    _ => memory.saturating_mul(2),
                };
                let value = if self.v2 { total - memory } else { total };
                self.write("memory", "swap", swap_file, &value)?.optional = swap.is_none();
            }
            (None, _) => {}
        }
        if let Some(bytes) = memory_reservation {
            let file = self.file("memory.soft_limit_in_bytes", "memory.low");
            self.write("memory", "memory reservation", file, &bytes)?;
        }
        if let Some(swappiness) = limits.swappiness {
            self.v1_only("memory", "swappiness")?;
            if swappiness > 100 {
                return invalid("memory swappiness should be between 0 and 100");
            }
            self.write("memory", "swappiness", "memory.swappiness", &swappiness)?;
        }
        if limits.oom_kill_disable {
            self.v1_only("memory", "the killing of processes that run out of memory")?;
            self.write("memory", "the killing of processes", "memory.oom_control", &1)?;
        }
        Ok(())
    }

    fn cpu(&mut self, limits: &Limits) -> Result<()> {
        let Limits { nano_cpus, cpu_quota, cpu_period, cpu_shares, .. } = *limits;
        if nano_cpus.is_some() && (cpu_quota.is_some() || cpu_period.is_some()) {
            return invalid(
                "conflicting options: the number of CPUs and a CPU quota or period cannot both be set",
            );
        }
        if nano_cpus.is_some_and(|nano| nano < 10_000_000) {
            return invalid("the range of CPUs starts at 0.01");
        }
        if cpu_period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
            return invalid("CPU cfs period must be between 1000 and 1000000 microseconds");
        }
        if cpu_quota.is_some_and(|quota| quota < 1000) {
            return invalid("CPU cfs quota must be at least 1000 microseconds");
        }
        let period = cpu_period.unwrap_or(100_000);
        let quota = nano_cpus.map(|nano| nano / (1_000_000_000 / period)).or(cpu_quota);
        if quota.is_some() || cpu_period.is_some() {
            if self.v2 {
                let max = quota.map_or("max".to_owned(), |quota| quota.to_string());
                self.write("cpu", "CPU time", "cpu.max", &format!("{max} {period}"))?;
            } else {
                self.write("cpu", "the CPU period", "cpu.cfs_period_us", &period)?;
                self.write("cpu", "CPU time", "cpu.cfs_quota_us", &quota.map_or(-1, u64::cast_signed))?;
            }
        }
        if let Some(shares) = cpu_shares {
            let file = self.file("cpu.shares", "cpu.weight");
            let value = if self.v2 { cpu_weight(shares) } else { shares };
            self.write("cpu", "CPU shares", file, &value)?;
        }
        Ok(())
    }

    fn cpuset(&mut self, limits: &Limits) -> Result<()> {
        for (list, limit, file) in [
            (&limits.cpuset_cpus, "the usable CPUs", "cpuset.cpus"),
            (&limits.cpuset_mems, "the usable memory nodes", "cpuset.mems"),
        ] {
            if let Some(list) = list {
                if !is_list(list) {
                    return invalid(format!("{list:?} is not a list such as 0-3,7"));
                }
                self.write("cpuset", limit, file, list)?;
            }
        }
        Ok(())
    }

    fn pids(&mut self, limits: &Limits) -> Result<()> {
        if let Some(pids) = limits.pids {
            let value = if pids > 0 { pids.to_string() } else { "max".to_owned() };
            self.write("pids", "the number of processes", "pids.max", &value)?;
        }
        Ok(())
    }

    fn io(&mut self, limits: &Limits) -> Result<()> {
        if let Some(weight) = limits.io_weight {
            if !(10..=1000).contains(&weight) {
                return invalid("range of blkio weight is from 10 to 1000");
            }
            // Who divides the disk's time is the I/O scheduler: BFQ has files of its own, and v2's io.weight is the
            // iocost controller's. The conversion is opencontainers/cgroups' ConvertBlkIOToIOWeightValue.
            let v2 = self.v2;
            let file = self.file("blkio.weight", "io.bfq.weight");
            self.write("blkio", "the I/O weight", file, &weight)?.or = Some(if v2 {
                ("io.weight", (1 + (weight - 10) * 9999 / 990).to_string())
            } else {
                ("blkio.bfq.weight", weight.to_string())
            });
        }
        for limit in &limits.io {
            self.io_limit(limit)?;
        }
        Ok(())
    }

    fn io_limit(&mut self, limit: &IoLimit) -> Result<()> {
        let (major, minor) = limit.device;
        let kinds = [
            ("reading from a device", "blkio.throttle.read_bps_device", "rbps", limit.read_bps),
            ("writing to a device", "blkio.throttle.write_bps_device", "wbps", limit.write_bps),
            ("reads from a device", "blkio.throttle.read_iops_device", "riops", limit.read_iops),
            ("writes to a device", "blkio.throttle.write_iops_device", "wiops", limit.write_iops),
        ];
        for (words, file, key, rate) in kinds {
            match rate {
                Some(rate) if self.v2 => {
                    self.write("blkio", words, "io.max", &format!("{major}:{minor} {key}={rate}"))?;
                }
                Some(rate) => {
                    self.write("blkio", words, file, &format!("{major}:{minor} {rate}"))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn devices(&mut self, rules: &[DeviceRule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        if self.v2 {
            self.steps.push(Step::Attach(Program::assemble(rules)));
            return Ok(());
        }
        self.write("devices", "devices", "devices.deny", &"a")?;
        for rule in rules {
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            self.write("devices", "devices", file, rule)?;
        }
        Ok(())
    }
}

/// v1's shares (2 to 262144, 1024 by default) as v2's weight (1 to 10000, 100 by default).
///
/// A curve through those three pairs: opencontainers/cgroups, `ConvertCPUSharesToCgroupV2Value`, since runc 1.3.2 and
/// crun 1.23. The line that went before made 39 of the default.
fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// Numbers and ranges with commas between them (cpuset(7), "List format").
fn is_list(text: &str) -> bool {
    let number =
        |text: &str| !text.is_empty() && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(part),
    })
}

fn invalid<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(reason.into()))
}
