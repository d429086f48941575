//! When a program runs.

use super::at;
use super::document::{IoPriority, Personality, Process, Scheduler};
use crate::error::Result;
use crate::schedule::{Policy, Schedule};

/// The number of each policy (`sched(7)`), and whether it takes a nice value, a priority or a deadline.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];
/// `ioprio_set(2)`: the class stands above the level.
const CLASSES: [(&str, u16); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
const CLASS_SHIFT: u16 = 13;
/// `personality(2)`.
const DOMAINS: [(&str, u64); 2] = [("LINUX", 0), ("LINUX32", 8)];
/// More processors than any kernel is built for.
const MAX_PROCESSOR: usize = 8191;

pub(super) fn read(process: &Process, personality: Option<&Personality>) -> Result<Schedule> {
    let affinity = process.exec_cpu_affinity.as_ref();
    let processors = match affinity {
        None => Vec::new(),
        Some(affinity) => {
            // Where it begins is over by the time that it has ended up where it stays.
            list("process.execCPUAffinity.initial", &affinity.initial)?;
            list("process.execCPUAffinity.final", &affinity.r#final)?
        }
    };
    Ok(Schedule {
        policy: process.scheduler.as_ref().map(policy).transpose()?,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        processors,
        personality: personality.map(domain).transpose()?,
    })
}

fn number<T: Copy>(table: &[(&str, T)], field: &str, name: &str) -> Result<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number).ok_or_else(|| at(field, format!("{name:?} is unknown")))
}

fn policy(scheduler: &Scheduler) -> Result<Policy> {
    let policy = number(&POLICIES, "process.scheduler.policy", &scheduler.policy)?;
    let (real_time, deadline) = (matches!(policy, 1 | 2), policy == 6);
    if !(-20..=19).contains(&scheduler.nice) {
        return Err(at("process.scheduler.nice", format!("{} is not between -20 and 19", scheduler.nice)));
    }
    if scheduler.priority != 0 && !real_time {
        return Err(at("process.scheduler.priority", "is for SCHED_FIFO and SCHED_RR"));
    }
    if !deadline && (scheduler.runtime, scheduler.deadline, scheduler.period) != (0, 0, 0) {
        return Err(at("process.scheduler.runtime", "is, with deadline and period, for SCHED_DEADLINE"));
    }
    let mut flags = 0;
    for name in &scheduler.flags {
        flags |= number(&FLAGS, "process.scheduler.flags", name)?;
    }
    Ok(Policy {
        size: 0,
        policy,
        flags,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority)
            .map_err(|_| at("process.scheduler.priority", "must not be below 0"))?,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    })
}

fn io_priority(priority: &IoPriority) -> Result<u16> {
    let class = number(&CLASSES, "process.ioPriority.class", &priority.class)?;
    let level = u16::try_from(priority.priority).ok().filter(|level| *level <= 7);
    let level = level.ok_or_else(|| at("process.ioPriority.priority", "must be 0 to 7"))?;
    Ok(class << CLASS_SHIFT | level)
}

fn domain(personality: &Personality) -> Result<u64> {
    if !personality.flags.is_empty() {
        return Err(at("linux.personality.flags", "are not supported: the specification names none"));
    }
    number(&DOMAINS, "linux.personality.domain", &personality.domain)
}

/// A list of processors, such as `0-3,7`.
fn list(field: &str, text: &str) -> Result<Vec<usize>> {
    let wrong = || at(field, format!("{text:?} is not a list such as 0-3,7"));
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return Err(wrong());
        };
        if first > last || last > MAX_PROCESSOR {
            return Err(wrong());
        }
        found.extend(first..=last);
    }
    Ok(found)
}
