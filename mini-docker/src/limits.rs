//! What a container may use: from Docker's settings to the limits of step 3.

use std::ops::RangeInclusive;
use std::path::Path;

use cgroups::{DeviceRule, IoLimit, Limits, Swap};

use crate::error::{Error, Result};
use crate::host_config::{HostConfig, ThrottleDevice};

/// Which processors this machine has switched on.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// A hundredth of a processor: the kernel's smallest quota is a millisecond, in periods of a tenth of a second.
const LEAST_NANO_CPUS: i64 = 10_000_000;

/// The limits that `host` asks for. In Docker's settings zero means that there is none.
///
/// Devices named by path are looked up on the host.
pub fn from_host_config(host: &HostConfig) -> Result<Limits> {
    if host.nano_cpus != 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return Err(Error::new("Conflicting options: CPUs and CPU quota or period cannot both be set"));
    }
    if host.nano_cpus > 0 || !host.cpuset_cpus.is_empty() {
        let path = Path::new(ONLINE);
        let online = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
        check_processors(host.nano_cpus, &host.cpuset_cpus, online.trim())?;
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

/// Refuses more processors, and others, than are `online`, which is a list such as `0-3,8` (as moby's
/// `verifyPlatformContainerResources` does). What is no list at all is refused where it is written.
fn check_processors(nano_cpus: i64, cpuset: &str, online: &str) -> Result<()> {
    let there = ranges(online).unwrap_or_default();
    let count: i64 = there.iter().map(|range| i64::from(range.end() - range.start()) + 1).sum();
    if nano_cpus != 0 && !(LEAST_NANO_CPUS..=count * 1_000_000_000).contains(&nano_cpus) {
        return Err(Error::new(format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        )));
    }
    let is_there = |wanted: &RangeInclusive<u32>| {
        there.iter().any(|range| range.start() <= wanted.start() && wanted.end() <= range.end())
    };
    match ranges(cpuset) {
        Some(wanted) if !wanted.iter().all(is_there) => Err(Error::new(format!(
            "Requested CPUs are not available - requested {cpuset}, available: {online}"
        ))),
        _ => Ok(()),
    }
}

/// Reads a list such as `0-3,8`; `None` if it is none.
fn ranges(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter(|text| !text.is_empty()).map(range).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_are_not_there() {
        let cases = [
            (0, ""),
            (10_000_000, "0"),
            (9_999_999, ""),
            (5_000_000_000, "0-3,8"),
            (5_000_000_001, ""),
            (0, "4"),
            (0, "2-8"),
            (0, "99"),
            (0, "no list"),
        ];
        let said = cases.map(|(nano_cpus, cpuset)| {
            let checked = check_processors(nano_cpus, cpuset, "0-3,8");
            format!(
                "{nano_cpus} {cpuset:?}: {}",
                checked.map_or_else(|error| error.to_string(), |()| "good".into())
            )
        });
        insta::assert_snapshot!(said.join("\n"));
    }
}
