//! Lab 3: limits.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cgroups::Hierarchy;

use crate::bench::{Bench, HOLD, Held, Ran};
use crate::check::{Check, Failure, Stop, Verdict};
use crate::process::Process;

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("code", code),
    ("cgroup", cgroup),
    ("bytes", bytes),
    ("memory", memory),
    ("pids", pids),
    ("cpu", cpu),
    ("others", others),
    ("removed", removed),
];

/// 64 MiB of memory, eight processes, half a processor.
const OPTIONS: &[&str] = &["64m", "8", "0.5"];
const BYTES: u64 = 64 << 20;
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// How the cgroups are called that learners' programs make.
const PREFIX: &str = "lab-box-";

fn runs(bench: &Bench) -> Verdict {
    tidied(|| super::runs_with(bench, OPTIONS))
}

fn cgroup(bench: &Bench) -> Verdict {
    hold(bench, |held| {
        let mut shared = Vec::new();
        for controller in CONTROLLERS {
            if place(held.inside, controller)?.1 == place(Process::own(), controller)?.1 {
                shared.push(controller);
            }
        }
        if shared.is_empty() {
            return Ok(());
        }
        Failure::verdict(
            &held.command,
            "/proc/PID/cgroup shows another cgroup than that of whoever started the program",
            format!("the same, for: {}", shared.join(", ")),
        )
    })
}

fn bytes(bench: &Bench) -> Verdict {
    hold(bench, |held| {
        let limit = value(held.inside, "memory", "memory.limit_in_bytes", "memory.max")?;
        // Where v1 has no limit it shows the largest number of whole pages.
        let none = limit == "max" || limit.parse::<u64>().is_ok_and(|limit| limit > i64::MAX as u64 / 2);
        match limit {
            limit if limit == BYTES.to_string() => Ok(()),
            _ if none => Failure::verdict(&held.command, BYTES.to_string(), "no limit"),
            limit => Failure::verdict(&held.command, BYTES.to_string(), limit),
        }
    })
}

fn memory(bench: &Bench) -> Verdict {
    let ran = run(bench, &["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])?;
    if ran.code() == Some(137) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 137", ran.seen()) }
}

fn pids(bench: &Bench) -> Verdict {
    // More than allowed at once, for a moment.
    let line = "for n in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; wait; echo all of them ran";
    let ran = run(bench, &["/bin/sh", "-c", line])?;
    if ran.stderr.contains("can't fork") {
        return Ok(());
    }
    let seen = if ran.stdout.is_empty() { ran.seen() } else { ran.stdout };
    Failure::verdict(&ran.command, "the shell cannot fork: only eight processes are allowed", seen)
}

fn cpu(bench: &Bench) -> Verdict {
    hold(bench, |held| {
        let expected = "0.5 processors";
        match share(held.inside)? {
            None => Failure::verdict(&held.command, expected, "no limit"),
            Some(share) if (share - 0.5).abs() < 0.01 => Ok(()),
            Some(share) => Failure::verdict(&held.command, expected, format!("{share} processors")),
        }
    })
}

/// How many processors the cgroup of `process` may take, if there is a limit.
fn share(process: Process) -> Result<Option<f64>> {
    let (version, directory) = place(process, "cpu")?;
    let (quota, period) = if version == 1 {
        (read(&directory, "cpu.cfs_quota_us")?, read(&directory, "cpu.cfs_period_us")?)
    } else {
        let both = read(&directory, "cpu.max")?;
        let (quota, period) = both.split_once(' ').context("cpu.max has two numbers")?;
        (quota.to_owned(), period.to_owned())
    };
    let period: u32 = period.parse().context("a period is a number")?;
    // Without a limit it is -1 on v1, and the word max on v2.
    Ok(quota.parse::<u32>().ok().map(|quota| f64::from(quota) / f64::from(period)))
}

fn removed(bench: &Bench) -> Verdict {
    let ran = bench.run_with(OPTIONS, &["/bin/sh", "-c", "sleep 100 & true"])?;
    if tidy()? == 0 {
        return if ran.code() == Some(0) {
            Ok(())
        } else {
            Failure::verdict(&ran.command, "exit code 0", ran.seen())
        };
    }
    Failure::verdict(
        &ran.command,
        format!("no cgroup called {PREFIX}PID is left"),
        format!("one is left, and removed now; the end was: {}", ran.seen()),
    )
}

fn code(bench: &Bench) -> Verdict {
    tidied(|| super::exit_code_with(bench, OPTIONS))
}

fn run(bench: &Bench, command: &[&str]) -> Result<Ran> {
    let ran = bench.run_with(OPTIONS, command);
    tidy()?;
    ran
}

fn hold(bench: &Bench, observe: impl FnOnce(&Held) -> Verdict) -> Verdict {
    tidied(|| bench.hold(OPTIONS, HOLD, observe))
}

/// Other limits than those of all other checks.
fn others(bench: &Bench) -> Verdict {
    let observe = |held: &Held| {
        let memory = value(held.inside, "memory", "memory.limit_in_bytes", "memory.max")?;
        let pids = value(held.inside, "pids", "pids.max", "pids.max")?;
        let cpu = share(held.inside)?.map_or("no".to_owned(), |share| share.to_string());
        let limits = |memory: &str, pids: &str, cpu: &str| {
            format!("{memory} bytes of memory, {pids} processes, {cpu} processors")
        };
        let (expected, seen) = (limits("100663296", "12", "0.25"), limits(&memory, &pids, &cpu));
        if seen == expected { Ok(()) } else { Failure::verdict(&held.command, expected, seen) }
    };
    tidied(|| bench.hold(&["96m", "12", "0.25"], HOLD, observe))
}

/// Does something, and removes the cgroups that came of it.
fn tidied(act: impl FnOnce() -> Verdict) -> Verdict {
    let done = act();
    tidy()?;
    done
}

/// Removes the cgroups that learners' programs have left, and says how many directories they were.
fn tidy() -> Result<usize> {
    let roots: Vec<PathBuf> = match Hierarchy::detect()? {
        Hierarchy::V2 { root, .. } => vec![root],
        Hierarchy::V1 { controllers } => controllers.into_values().collect(),
    };
    let mut count = 0;
    for root in roots {
        for entry in fs::read_dir(&root).with_context(|| format!("cannot list {}", root.display()))?.flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                count += remove(&entry.path());
            }
        }
    }
    Ok(count)
}

/// Removes a cgroup and those below it, and says how many they were. Another's may have a process in it, and stays.
fn remove(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let count: usize = below.map(|entry| remove(&entry.path())).sum();
    count + usize::from(fs::remove_dir(directory).is_ok())
}

/// The version of this host's cgroups, and the directory of the one in which `process` is.
fn place(process: Process, controller: &str) -> Result<(u8, PathBuf)> {
    let text = fs::read_to_string(process.path().join("cgroup")).context("cannot read /proc/PID/cgroup")?;
    let (version, root) = match Hierarchy::detect()? {
        Hierarchy::V2 { root, .. } => (2, root),
        Hierarchy::V1 { controllers } => {
            (1, controllers.get(controller).context("a controller is missing")?.clone())
        }
    };
    let path = text.lines().find_map(|line| {
        // NUMBER:CONTROLLERS:PATH, of which v2's has no controllers (cgroups(7)).
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let wanted = if version == 2 { "" } else { controller };
        controllers.split(',').any(|name| name == wanted).then_some(path)
    });
    let path = path.context("a process is in no cgroup")?;
    Ok((version, root.join(path.trim_start_matches('/'))))
}

/// What the file of this name, by version, says in the cgroup of `process`.
fn value(process: Process, controller: &str, v1: &str, v2: &str) -> Result<String, Stop> {
    let (version, directory) = place(process, controller)?;
    Ok(read(&directory, if version == 1 { v1 } else { v2 })?)
}

fn read(directory: &Path, file: &str) -> Result<String> {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}
