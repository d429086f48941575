//! `update`: change what containers may use.

use clap::Args;
use mini_docker::host_config::RestartPolicy;
use mini_docker::update::Changes;
use mini_docker::{Engine, Error, Result};

use super::{for_each, options};

/// What `update` takes.
#[derive(Args)]
pub(crate) struct Options {
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
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    cpu_shares: Option<i64>,
    /// Length of a scheduling period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Running time in each period, in microseconds; -1 for unlimited
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Processors to run on (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit of processes and threads; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weight when a disk is short, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Start the container again when it ends: no, on-failure[:COUNT], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Changes the containers; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        // Zero means what it means to `run`, that nothing was said; of processes, that there is no limit.
        let said = |value: Option<i64>| value.filter(|&value| value != 0);
        let changes = Changes {
            memory: said(self.memory),
            memory_reservation: said(self.memory_reservation),
            memory_swap: said(self.memory_swap),
            nano_cpus: said(self.cpus),
            cpu_shares: said(self.cpu_shares),
            cpu_period: said(self.cpu_period),
            cpu_quota: said(self.cpu_quota),
            cpuset_cpus: self.cpuset_cpus.filter(|list| !list.is_empty()),
            cpuset_mems: self.cpuset_mems.filter(|list| !list.is_empty()),
            pids_limit: self.pids_limit,
            blkio_weight: self.blkio_weight.filter(|&weight| weight != 0),
            restart_policy: self.restart,
        };
        if changes == Changes::default() {
            return Err(Error::new("You must provide one or more flags when using this command."));
        }
        // One whose shim was killed does not run, whatever its record says.
        super::sweep(engine, true);
        Ok(for_each(&self.containers, |name| {
            engine.update(&engine.containers().find(name)?, &changes)?;
            Ok(name.to_owned())
        }))
    }
}
