//! What runs in a container, and what it uses.

use std::fs;
use std::path::Path;
use std::time::Instant;

use cgroups::{Cgroup, Hierarchy};
use nix::unistd::Pid;

use super::Engine;
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::processes::Process;
use crate::sharing::{Share, Sharing};
use crate::usage::{self, Sample};
use crate::{delegated, plan};

impl Engine {
    /// Where a container's cgroup is, or would be; none where an ordinary user's has none.
    pub fn cgroup(&self, container: &Container) -> Result<Option<Cgroup>> {
        let hierarchy = match &self.rootless {
            None => Some(Hierarchy::detect()?),
            Some(_) => delegated::recorded(&self.containers.exec_directory(&container.id))?,
        };
        hierarchy.map(|hierarchy| plan::cgroup(container, &hierarchy)).transpose()
    }

    /// The processes of a container that runs, in the order of their numbers.
    pub fn processes(&self, container: &Container) -> Result<Vec<Process>> {
        let state = self.state(container)?;
        match state.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                return Err(Error::new(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id
                )));
            }
            _ => return Err(Error::new(format!("container {} is not running", container.id))),
        }
        let mut pids = match self.cgroup(container)? {
            Some(cgroup) => cgroup.processes()?,
            None => neighbours(state.pid)?,
        };
        pids.sort_unstable();
        let mut processes = Vec::new();
        for pid in pids {
            processes.extend(Process::read(pid)?);
        }
        Ok(processes)
    }

    /// What a container uses now, and has used.
    pub fn sample(&self, container: &Container) -> Result<Sample> {
        let state = self.state(container)?;
        if !state.status.has_process() {
            return Ok(Sample::none());
        }
        // The host's traffic is not the container's.
        let shares_host = Sharing::of(&container.host_config)?.network == Share::Host;
        let (received, sent) = if shares_host { (0, 0) } else { usage::traffic(state.pid)? };
        let stats = self.cgroup(container)?.map(|cgroup| cgroup.stats()).transpose()?.unwrap_or_default();
        Ok(Sample { at: Instant::now(), stats, received, sent })
    }
}

/// The processes in the pid namespace of process `first`: without a cgroup, those are a container's.
fn neighbours(first: i32) -> Result<Vec<Pid>> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(first);
    let proc = Path::new("/proc");
    let entries = fs::read_dir(proc).map_err(|error| Error::file("read", proc, error))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|&pid| own.is_some() && namespace(pid) == own).map(Pid::from_raw).collect())
}
