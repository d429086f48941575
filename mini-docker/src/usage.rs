//! What a container uses of the host: figures from its cgroup and its network, and how `stats` shows them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use cgroups::Stats;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::format::units;

/// What was counted at one moment. All of it is zero where a container does not run.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// What the cgroup counts.
    pub stats: Stats,
    /// Bytes that came from its networks.
    pub received: u64,
    /// Bytes that went there.
    pub sent: u64,
}

impl Sample {
    /// Nothing, now.
    pub fn none() -> Self {
        Self { at: Instant::now(), stats: Stats::default(), received: 0, sent: 0 }
    }

    /// A row of `stats`, as Docker rounds. The share of processors is that since `before`; `memory` is the host's, in bytes.
    pub fn row(&self, before: &Self, memory: u64) -> Value {
        let usage = |sample: &Self| sample.stats.cpu.map_or(0, |cpu| cpu.usage_ns) as f64;
        let elapsed = self.at.duration_since(before.at).as_nanos() as f64;
        // Less than before: it was started again meanwhile.
        let ran = (usage(self) - usage(before)).max(0.0);
        let share = if elapsed > 0.0 { ran / elapsed * 100.0 } else { 0.0 };
        let (used, limit) = self.stats.memory.map_or((0, 0), |counted| {
            (counted.working_set(), counted.limit.filter(|&limit| limit < memory).unwrap_or(memory))
        });
        let part = if limit > 0 { used as f64 / limit as f64 * 100.0 } else { 0.0 };
        let (read, written) = self
            .stats
            .io
            .iter()
            .fold((0, 0), |(read, written), io| (read + io.read_bytes, written + io.write_bytes));
        json!({
            "BlockIO": format!("{} / {}", units::decimal(read), units::decimal(written)),
            "CPUPerc": format!("{share:.2}%"),
            "MemPerc": format!("{part:.2}%"),
            "MemUsage": format!("{} / {}", units::binary(used), units::binary(limit)),
            "NetIO": format!("{} / {}", units::decimal(self.received), units::decimal(self.sent)),
            "PIDs": self.stats.pids.map_or(0, |pids| pids.current).to_string(),
        })
    }
}

/// Bytes received and sent by all interfaces but the loopback that process `pid` sees; none if it has ended.
pub fn traffic(pid: i32) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/net/dev");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(sum(&text)),
        // EINVAL: of a process that is being reaped.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                || matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) =>
        {
            Ok((0, 0))
        }
        Err(error) => Err(Error::file("read", Path::new(&path), error)),
    }
}

/// The columns of received and sent bytes (`proc_pid_net(5)`, `/proc/net/dev`), added up.
fn sum(text: &str) -> (u64, u64) {
    let interfaces = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    interfaces.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |(received, sent), (_, counts)| {
        let mut counts = counts.split_whitespace().map(|count| count.parse().unwrap_or(0));
        (received + counts.next().unwrap_or(0), sent + counts.nth(7).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cgroups::stats::{Cpu, Io, Memory, Pids};

    use super::*;

    #[test]
    fn figures() {
        let at = Instant::now();
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 1050 2 0 0 0 0 0 0 70 3 0 0 0 0 0 0\n  eth1:   1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n";
        let (received, sent) = sum(text);
        let sample = |after: Duration, usage_ns, limit| Sample {
            at: at + after,
            stats: Stats {
                cpu: Some(Cpu { usage_ns, ..Cpu::default() }),
                memory: Some(Memory {
                    usage: 70 << 20,
                    inactive_file: (5 << 20) + 12345,
                    limit,
                    ..Memory::default()
                }),
                pids: Some(Pids { current: 3, limit: None }),
                io: vec![Io { read_bytes: 1_234_567, write_bytes: 0, ..Io::default() }; 2],
                ..Stats::default()
            },
            received,
            sent,
        };
        let second = Duration::from_secs(1);
        let rows = [
            sample(second, 1_500_000_000, Some(128 << 20)).row(&sample(Duration::ZERO, 0, None), 16 << 30),
            sample(second, 5, Some(u64::MAX)).row(&sample(Duration::ZERO, 700, None), 16_000_000_000),
            Sample::none().row(&Sample::none(), 16 << 30),
        ];
        insta::assert_snapshot!(rows.map(|row| serde_json::to_string_pretty(&row).unwrap()).join("\n"));
    }
}
