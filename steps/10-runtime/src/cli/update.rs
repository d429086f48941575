//! `update`: other limits for a container that is there.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use runtime::{Container, Error, Result, Status, config};
use serde_json::{Map, Value, json};

use super::Global;

/// Change a container's limits
#[derive(Args)]
pub(crate) struct Update {
    /// A file that says all, like `linux.resources` in config.json; - is the standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Bytes of memory, -1 for no limit
    #[arg(long, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Bytes of memory that are spared
    #[arg(long, allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Bytes of memory and swap, -1 for no limit
    #[arg(long, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Share of the processors
    #[arg(long, alias = "cpu-share")]
    cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period, -1 for no limit
    #[arg(long, allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Microseconds
    #[arg(long)]
    cpu_period: Option<u64>,
    /// Microseconds that may be saved up
    #[arg(long)]
    cpu_burst: Option<u64>,
    /// 1 lets others go first
    #[arg(long)]
    cpu_idle: Option<i64>,
    /// Processors that may be used
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Processes and threads, -1 for no limit
    #[arg(long, allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Share of the disks
    #[arg(long)]
    blkio_weight: Option<u16>,
    /// Its name
    id: String,
}

impl Update {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let container = Container::open(&global.folder()?, &self.id)?;
        container.require(&[Status::Created, Status::Running, Status::Paused], "update")?;
        let cgroup = container.require_cgroup()?;
        let text = match &self.resources {
            None => self.document().to_string(),
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Error::kernel("read the resources", error))?;
                text
            }
            Some(path) => std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?,
        };
        let (limits, writes) = config::resources(&text, cgroup.is_v2())?;
        cgroup.apply(&limits)?;
        Ok(cgroup.carry_out(&writes)?)
    }

    /// The options, as a config says the same.
    fn document(&self) -> Value {
        let memory = json!({
            "limit": self.memory,
            "reservation": self.memory_reservation,
            "swap": self.memory_swap,
        });
        let cpu = json!({
            "shares": self.cpu_shares,
            "quota": self.cpu_quota,
            "period": self.cpu_period,
            "burst": self.cpu_burst,
            "idle": self.cpu_idle,
            "cpus": self.cpuset_cpus,
            "mems": self.cpuset_mems,
        });
        let mut document = Map::new();
        document.insert("memory".to_owned(), memory);
        document.insert("cpu".to_owned(), cpu);
        document.insert("blockIO".to_owned(), json!({ "weight": self.blkio_weight }));
        if let Some(limit) = self.pids_limit {
            document.insert("pids".to_owned(), json!({ "limit": limit }));
        }
        document.into()
    }
}
