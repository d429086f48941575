//! What `update` changes of a container: Docker's rules of what may follow what, pure.

use cgroups::Limits;

use crate::error::{Error, Result};
use crate::host_config::{HostConfig, Restart, RestartPolicy};
use crate::limits;

/// New values. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory it is pressed back to when the host runs short.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 for no limit on swap.
    pub memory_swap: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Its weight among others when processors are short.
    pub cpu_shares: Option<i64>,
    /// Microseconds of a scheduling period.
    pub cpu_period: Option<i64>,
    /// Microseconds it may run in each period; -1 for no limit.
    pub cpu_quota: Option<i64>,
    /// Processors it may run on.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 or -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Its weight among others when a disk is short.
    pub blkio_weight: Option<u16>,
    /// Whether it is started again when it has ended.
    pub restart_policy: Option<RestartPolicy>,
}

impl Changes {
    /// Makes them in `host`. The checks, and their order, are moby's (`container/container_unix.go`, `UpdateContainer`).
    pub fn make(&self, host: &mut HostConfig) -> Result<()> {
        let new = |value: Option<i64>| value.is_some_and(|value| value > 0);
        let conflict = |text: &str| Err(Error::new(format!("Conflicting options: {text}")));
        if new(self.nano_cpus) && host.cpu_period > 0 {
            return conflict("Nano CPUs cannot be updated as CPU Period has already been set");
        }
        if new(self.nano_cpus) && host.cpu_quota > 0 {
            return conflict("Nano CPUs cannot be updated as CPU Quota has already been set");
        }
        if new(self.cpu_period) && host.nano_cpus > 0 {
            return conflict("CPU Period cannot be updated as NanoCPUs has already been set");
        }
        if new(self.cpu_quota) && host.nano_cpus > 0 {
            return conflict("CPU Quota cannot be updated as NanoCPUs has already been set");
        }
        if let Some(memory) = self.memory
            && self.memory_swap.is_none()
            && host.memory_swap > 0
            && memory > host.memory_swap
        {
            return Err(Error::new(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ));
        }
        if host.auto_remove && self.restart_policy.as_ref().is_some_and(|policy| policy.name != Restart::No) {
            return Err(Error::new(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        for (value, place) in [
            (self.memory, &mut host.memory),
            (self.memory_reservation, &mut host.memory_reservation),
            (self.memory_swap, &mut host.memory_swap),
            (self.nano_cpus, &mut host.nano_cpus),
            (self.cpu_shares, &mut host.cpu_shares),
            (self.cpu_period, &mut host.cpu_period),
            (self.cpu_quota, &mut host.cpu_quota),
            (self.pids_limit, &mut host.pids_limit),
        ] {
            *place = value.unwrap_or(*place);
        }
        for (value, place) in
            [(&self.cpuset_cpus, &mut host.cpuset_cpus), (&self.cpuset_mems, &mut host.cpuset_mems)]
        {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        host.blkio_weight = self.blkio_weight.unwrap_or(host.blkio_weight);
        if let Some(policy) = &self.restart_policy {
            host.restart_policy.clone_from(policy);
        }
        Ok(())
    }

    /// The limits to set in the cgroup of a container that is to be as `host` says: those that change, and those that go
    /// with them.
    pub fn limits(&self, host: &HostConfig) -> Result<Limits> {
        let all = limits::from_host_config(host)?;
        let mut limits = Limits::default();
        if self.memory.or(self.memory_swap).or(self.memory_reservation).is_some() {
            limits.memory = all.memory;
            limits.memory_swap = all.memory_swap;
            limits.memory_reservation = all.memory_reservation;
        }
        if self.nano_cpus.or(self.cpu_quota).or(self.cpu_period).is_some() {
            limits.nano_cpus = all.nano_cpus;
            limits.cpu_quota = all.cpu_quota;
            // A period alone takes the quota away.
            let period = all.cpu_period.or(Some(100_000));
            limits.cpu_period = if all.nano_cpus.is_some() { None } else { period };
        }
        limits.cpu_shares = self.cpu_shares.and(all.cpu_shares);
        limits.cpuset_cpus = self.cpuset_cpus.as_ref().and(all.cpuset_cpus);
        limits.cpuset_mems = self.cpuset_mems.as_ref().and(all.cpuset_mems);
        limits.pids = self.pids_limit;
        limits.io_weight = self.blkio_weight.and(all.io_weight);
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_follow_what() {
        let plain = HostConfig::default();
        let with = |set: fn(&mut HostConfig)| {
            let mut host = plain.clone();
            set(&mut host);
            host
        };
        let change = |set: fn(&mut Changes)| {
            let mut changes = Changes::default();
            set(&mut changes);
            changes
        };
        let cases = [
            (plain.clone(), change(|new| new.memory = Some(64 << 20))),
            (plain.clone(), change(|new| new.memory_swap = Some(64 << 20))),
            (with(|old| old.memory = 64 << 20), change(|new| new.memory_swap = Some(-1))),
            (with(|old| old.memory_swap = 64 << 20), change(|new| new.memory = Some(65 << 20))),
            (with(|old| old.nano_cpus = 1), change(|new| new.cpu_quota = Some(1000))),
            (with(|old| old.nano_cpus = 1), change(|new| new.cpu_period = Some(1000))),
            (with(|old| old.cpu_quota = 1000), change(|new| new.nano_cpus = Some(1))),
            (with(|old| old.cpu_period = 1000), change(|new| new.nano_cpus = Some(1))),
            (with(|old| old.cpu_quota = 5000), change(|new| new.cpu_quota = Some(-1))),
            (with(|old| old.pids_limit = 5), change(|new| new.pids_limit = Some(-1))),
            (with(|old| old.auto_remove = true), change(|new| new.restart_policy = "always".parse().ok())),
            (with(|old| old.auto_remove = true), change(|new| new.restart_policy = "no".parse().ok())),
            (plain.clone(), change(|new| new.cpuset_cpus = Some("0".to_owned()))),
        ];
        let table: String = cases
            .into_iter()
            .map(|(mut host, changes)| {
                let limits = changes.make(&mut host).and_then(|()| changes.limits(&host));
                let plan = limits.and_then(|limits| {
                    let root = "/sys/fs/cgroup".into();
                    let controllers = ["memory", "cpu", "pids", "cpuset"].map(str::to_owned).into();
                    Ok(cgroups::plan(&limits, &cgroups::Hierarchy::V2 { root, controllers })?)
                });
                match plan {
                    Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") + "\n",
                    Err(error) => format!("{error}\n"),
                }
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
