//! What a cgroup has used, as plain numbers.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::files::{number, read, value};

/// What a cgroup uses and has used. `None`: this host does not count it for this cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub pids: Option<Pids>,
    /// Block devices, by major and minor number.
    pub io: Vec<Io>,
    /// Time lost waiting for each resource (Linux 4.20, v2 only).
    pub pressure: Pressures,
}

/// Processor time, in nanoseconds. v2 counts microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub usage_ns: u64,
    /// In the programs.
    pub user_ns: u64,
    /// In the kernel, on their behalf.
    pub system_ns: u64,
    /// Periods of the CPU quota that have passed; 0 without a quota.
    pub periods: u64,
    /// Of these, in how many it ran out.
    pub throttled_periods: u64,
    /// How long processes had to wait because of it.
    pub throttled_ns: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is charged to the cgroup, file cache included.
    pub usage: u64,
    /// The most it has been (v2: Linux 5.19).
    pub peak: Option<u64>,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// File cache.
    pub cache: u64,
    /// The part of the file cache that has not been used lately.
    pub inactive_file: u64,
    /// Swap; `None` where it is not counted.
    pub swap: Option<u64>,
    /// Processes killed because memory ran out.
    pub oom_kills: u64,
}

impl Memory {
    /// What `docker stats` calls memory usage: without the cache that could go at once.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be.
    pub limit: Option<u64>,
}

/// Transfers to and from one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Time lost, by resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressures {
    /// Waiting for a processor.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for block devices.
    pub io: Option<Pressure>,
}

/// Pressure stall information (kernel: accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// When at least one process waited.
    pub some: Stall,
    /// When all of them did. For the processor only counted since Linux 5.13.
    pub full: Stall,
}

/// How much of the time was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Per cent of the last 10 seconds.
    pub avg10: f64,
    /// Per cent of the last minute.
    pub avg60: f64,
    /// Per cent of the last five minutes.
    pub avg300: f64,
    /// Microseconds since the beginning.
    pub total_us: u64,
}

impl Cgroup {
    /// Reads all counters.
    ///
    /// # Errors
    /// What the kernel refuses to tell. A cgroup that is gone has no numbers.
    pub fn stats(&self) -> Result<Stats> {
        if self.is_v2() {
            let directory = self.in_tree("memory").unwrap_or_default();
            return v2(&directory, self.oom_kills()?);
        }
        let tree = |controller| self.in_tree(controller).unwrap_or_default();
        Ok(Stats {
            cpu: v1_cpu(&tree("cpuacct"), &tree("cpu"))?,
            memory: v1_memory(&tree("memory"), self.oom_kills()?)?,
            pids: pids(&tree("pids"))?,
            io: v1_io(&tree("blkio"))?,
            pressure: Pressures::default(),
        })
    }
}

fn v2(directory: &Path, oom_kills: u64) -> Result<Stats> {
    let file = |name: &str| directory.join(name);
    let cpu = read(&file("cpu.stat"))?.map(|text| {
        let micro = |key| value(&text, key).unwrap_or(0) * 1000;
        let count = |key| value(&text, key).unwrap_or(0);
        Cpu {
            usage_ns: micro("usage_usec"),
            user_ns: micro("user_usec"),
            system_ns: micro("system_usec"),
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_ns: micro("throttled_usec"),
        }
    });
    let memory = match number(&file("memory.current"))? {
        None => None,
        Some(usage) => {
            let stat = read(&file("memory.stat"))?.unwrap_or_default();
            Some(Memory {
                usage,
                peak: number(&file("memory.peak"))?,
                limit: number(&file("memory.max"))?,
                cache: value(&stat, "file").unwrap_or(0),
                inactive_file: value(&stat, "inactive_file").unwrap_or(0),
                swap: number(&file("memory.swap.current"))?,
                oom_kills,
            })
        }
    };
    let mut io = Vec::new();
    for line in read(&file("io.stat"))?.unwrap_or_default().lines() {
        // 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(device) else { continue };
        let mut found = Io { device, ..Io::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => found.read_bytes = value,
                "wbytes" => found.write_bytes = value,
                "rios" => found.reads = value,
                "wios" => found.writes = value,
                _ => {}
            }
        }
        io.push(found);
    }
    let pressure = |name: &str| Ok(read(&file(name))?.map(|text| parse_pressure(&text)));
    let pressure = Pressures {
        cpu: pressure("cpu.pressure")?,
        memory: pressure("memory.pressure")?,
        io: pressure("io.pressure")?,
    };
    Ok(Stats { cpu, memory, pids: pids(directory)?, io, pressure })
}

fn v1_cpu(cpuacct: &Path, cpu: &Path) -> Result<Option<Cpu>> {
    let Some(usage_ns) = number(&cpuacct.join("cpuacct.usage"))? else { return Ok(None) };
    let throttling = read(&cpu.join("cpu.stat"))?.unwrap_or_default();
    let throttling = |key| value(&throttling, key).unwrap_or(0);
    Ok(Some(Cpu {
        usage_ns,
        user_ns: number(&cpuacct.join("cpuacct.usage_user"))?.unwrap_or(0),
        system_ns: number(&cpuacct.join("cpuacct.usage_sys"))?.unwrap_or(0),
        periods: throttling("nr_periods"),
        throttled_periods: throttling("nr_throttled"),
        throttled_ns: throttling("throttled_time"),
    }))
}

fn v1_memory(directory: &Path, oom_kills: u64) -> Result<Option<Memory>> {
    let file = |name: &str| directory.join(name);
    let Some(usage) = number(&file("memory.usage_in_bytes"))? else { return Ok(None) };
    let stat = read(&file("memory.stat"))?.unwrap_or_default();
    Ok(Some(Memory {
        usage,
        peak: number(&file("memory.max_usage_in_bytes"))?,
        // "Unlimited" is the largest multiple of a page that fits: more than any machine has.
        limit: number(&file("memory.limit_in_bytes"))?.filter(|&limit| limit < i64::MAX as u64 / 2),
        cache: value(&stat, "total_cache").unwrap_or(0),
        inactive_file: value(&stat, "total_inactive_file").unwrap_or(0),
        swap: value(&stat, "total_swap"),
        oom_kills,
    }))
}

fn v1_io(directory: &Path) -> Result<Vec<Io>> {
    let mut found: BTreeMap<(u32, u32), Io> = BTreeMap::new();
    for (file, bytes) in
        [("blkio.throttle.io_service_bytes_recursive", true), ("blkio.throttle.io_serviced_recursive", false)]
    {
        for line in read(&directory.join(file))?.unwrap_or_default().lines() {
            // 8:0 Read 4096
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [numbers, operation, count] = words[..] else { continue };
            let (Some(device), Ok(count)) = (device(numbers), count.parse()) else { continue };
            let io = found.entry(device).or_insert(Io { device, ..Io::default() });
            match (operation, bytes) {
                ("Read", true) => io.read_bytes = count,
                ("Write", true) => io.write_bytes = count,
                ("Read", false) => io.reads = count,
                ("Write", false) => io.writes = count,
                _ => {}
            }
        }
    }
    Ok(found.into_values().collect())
}

fn pids(directory: &Path) -> Result<Option<Pids>> {
    let Some(current) = number(&directory.join("pids.current"))? else { return Ok(None) };
    Ok(Some(Pids { current, limit: number(&directory.join("pids.max"))? }))
}

fn device(numbers: &str) -> Option<(u32, u32)> {
    let (major, minor) = numbers.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
fn parse_pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => stall.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => stall.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => stall.avg300 = value.parse().unwrap_or(0.0),
                "total" => stall.total_us = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = parse_pressure(text);
        assert_eq!(pressure.some, Stall { avg10: 1.5, avg60: 0.25, avg300: 0.0, total_us: 1234 });
        assert_eq!(pressure.full, Stall { avg10: 0.5, total_us: 7, ..Stall::default() });
    }
}
