//! What a container may use: from Docker's settings to the limits of step 3.

use cgroups::{DeviceRule, IoLimit, Limits, Swap};

use crate::error::{Error, Result};
use crate::host_config::{HostConfig, ThrottleDevice};

/// The limits that `host` asks for. In Docker's settings zero means that there is none.
///
/// Devices named by path are looked up on the host.
pub fn from_host_config(host: &HostConfig) -> Result<Limits> {
    if host.nano_cpus != 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return Err(Error::new("Conflicting options: CPUs and CPU quota or period cannot both be set"));
    }
    Ok(Limits {
        memory: amount("memory", host.memory)?,
        memory_reservation: amount("memory reservation", host.memory_reservation)?,
        memory_swap: match host.memory_swap {
            -1 => Some(Swap::Unlimited),
            total => amount("memory and swap", total)?.map(Swap::Total),
        },
        nano_cpus: amount("number of CPUs", host.nano_cpus)?,
        // A quota below zero is the kernel's way to say that there is none.
        cpu_quota: u64::try_from(host.cpu_quota).ok().filter(|&quota| quota != 0),
        cpu_period: amount("CPU period", host.cpu_period)?,
        cpu_shares: amount("CPU shares", host.cpu_shares)?,
        cpuset_cpus: list(&host.cpuset_cpus),
        cpuset_mems: list(&host.cpuset_mems),
        pids: Some(host.pids_limit).filter(|&limit| limit > 0),
        io: io(host)?,
        io_weight: Some(u64::from(host.blkio_weight)).filter(|&weight| weight != 0),
        devices: devices(&host.device_cgroup_rules)?,
        ..Limits::default()
    })
}

fn amount(what: &str, value: i64) -> Result<Option<u64>> {
    match u64::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Error::new(format!("invalid {what}: {value} is below zero"))),
    }
}

fn list(text: &str) -> Option<String> {
    if text.is_empty() { None } else { Some(text.to_owned()) }
}

/// The limits on block devices, those of one device together.
fn io(host: &HostConfig) -> Result<Vec<IoLimit>> {
    type Set = fn(&mut IoLimit, u64);
    let kinds: [(&[ThrottleDevice], Set); 4] = [
        (&host.blkio_device_read_bps, |limit, rate| limit.read_bps = Some(rate)),
        (&host.blkio_device_write_bps, |limit, rate| limit.write_bps = Some(rate)),
        (&host.blkio_device_read_iops, |limit, rate| limit.read_iops = Some(rate)),
        (&host.blkio_device_write_iops, |limit, rate| limit.write_iops = Some(rate)),
    ];
    let mut limits: Vec<IoLimit> = Vec::new();
    for (devices, set) in kinds {
        for ThrottleDevice { path, rate } in devices {
            let fresh = IoLimit::on(path)?;
            let known = limits.iter().position(|limit| limit.device == fresh.device);
            let index = known.unwrap_or_else(|| {
                limits.push(fresh);
                limits.len() - 1
            });
            set(&mut limits[index], *rate);
        }
    }
    Ok(limits)
}

/// The devices every container may use, and those that the user adds.
fn devices(rules: &[String]) -> Result<Vec<DeviceRule>> {
    let mut devices = DeviceRule::defaults();
    for rule in rules {
        devices.push(rule.parse()?);
    }
    Ok(devices)
}
