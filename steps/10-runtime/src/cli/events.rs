//! `events`: what a container uses, as JSON lines in runc's form.

use std::time::Duration;

use clap::Args;
use runtime::{Container, Error, Result, Status};
use serde_json::{Value, json};

use super::Global;

/// Print what a container uses
#[derive(Args)]
pub(crate) struct Events {
    /// Once
    #[arg(long)]
    stats: bool,
    /// Else every so often: 5s, 500ms, 1m
    #[arg(long, default_value = "5s", value_parser = duration)]
    interval: Duration,
    /// Its name
    id: String,
}

impl Events {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        loop {
            // Held for as long as it takes to read: others may stop it meanwhile.
            let container = match Container::open(&global.folder()?, &self.id) {
                Err(_) if !self.stats => return Ok(()),
                container => container?,
            };
            if !self.stats && container.status()? == Status::Stopped {
                return Ok(());
            }
            container.require(&[Status::Created, Status::Running, Status::Paused], "read what is used by")?;
            let stats = container.require_cgroup()?.stats()?;
            println!("{}", json!({ "type": "stats", "id": self.id, "data": data(&stats) }));
            drop(container);
            if self.stats {
                return Ok(());
            }
            std::thread::sleep(self.interval);
        }
    }
}

fn data(stats: &cgroups::Stats) -> Value {
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let pids = stats.pids.unwrap_or_default();
    let bytes = |op: &str, device: (u32, u32), value: u64| json!({"major": device.0, "minor": device.1, "op": op, "value": value});
    let io = |read: fn(&cgroups::stats::Io) -> u64, write: fn(&cgroups::stats::Io) -> u64| -> Vec<Value> {
        stats
            .io
            .iter()
            .flat_map(|io| [bytes("Read", io.device, read(io)), bytes("Write", io.device, write(io))])
            .collect()
    };
    json!({
        "cpu": {
            "usage": { "total": cpu.usage_ns, "kernel": cpu.system_ns, "user": cpu.user_ns },
            "throttling": { "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_ns },
        },
        "memory": {
            "cache": memory.cache,
            "usage": { "usage": memory.usage, "max": memory.peak, "limit": memory.limit, "failcnt": 0 },
            "swap": { "usage": memory.swap },
            "raw": { "inactive_file": memory.inactive_file },
        },
        "pids": { "current": pids.current, "limit": pids.limit },
        "blkio": {
            "ioServiceBytesRecursive": io(|io| io.read_bytes, |io| io.write_bytes),
            "ioServicedRecursive": io(|io| io.reads, |io| io.writes),
        },
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let found = units
        .into_iter()
        .find_map(|(unit, seconds)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * seconds));
    let seconds = found.filter(|seconds| *seconds > 0.0 && *seconds < 1e9);
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Error::new("expected for example 5s or 500ms").to_string())
}
