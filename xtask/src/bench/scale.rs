//! `bench scale`: what one more idle container costs when there are many already.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use networking::Socket;
use testbed::network;
use testbed::registry::tar_directory;
use testbed::rootfs::Rootfs;

use super::measure::{align, median, time};
use super::workplace::Workplace;
use super::{Settings, install, mini_docker, require};
use crate::command;

/// How many containers there are together.
const COUNTS: [usize; 4] = [1, 10, 100, 200];
/// What the image is called.
const IMAGE: &str = "busybox";
/// How often each size is made.
const ROUNDS: u32 = 3;

/// Measures and prints.
pub(super) fn run(settings: &Settings) -> Result<()> {
    require(&["busybox", "tar"])?;
    let engine = install("mini-docker", "mini-docker")?;
    let workplace = Workplace::enter(settings.on.as_deref())?;
    network::own();
    let folder = workplace.make("mini-docker")?;
    let archive = workplace.path().join("busybox.tar");
    fs::write(&archive, tar_directory(Rootfs::busybox().path())).context("cannot write an archive")?;
    time(mini_docker(&engine, &folder).arg("import").arg(&archive).arg(IMAGE))?;

    println!(
        "Idle containers on the default network, started one after the other and removed by one command.\n"
    );
    let headings =
        ["containers", "ms to start one", "ms to list all", "ms to remove one", "KiB of a shim's own"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for count in COUNTS {
        let mut results = Vec::new();
        for _ in 0..settings.rounds.unwrap_or(ROUNDS) {
            results.push(measure(&engine, &folder, count)?);
        }
        let column = |index: usize| median(results.iter().map(|result| result[index]).collect());
        let mut row = vec![count.to_string()];
        row.extend((0..headings.len() - 1).map(|index| format!("{:.2}", column(index))));
        rows.push(row);
    }
    println!("{}", align(&rows));
    println!(
        "A shim's own memory is what no other process has (Private_Clean and Private_Dirty of smaps_rollup)."
    );
    Ok(())
}

/// The four figures for `count` containers.
fn measure(engine: &Path, folder: &Path, count: usize) -> Result<[f64; 4]> {
    let ask = || mini_docker(engine, folder);
    let mut ids = Vec::new();
    let start = Instant::now();
    for _ in 0..count {
        ids.push(command::output(ask().args(["run", "-d", IMAGE, "sleep", "100000"]))?.trim().to_owned());
    }
    let started = start.elapsed().as_secs_f64() * 1000.0 / count as f64;
    let listed = time(ask().args(["ps", "-q"]))?.as_secs_f64() * 1000.0;
    let memory = shims_memory(&ids)? / count as f64;
    let start = Instant::now();
    time(ask().args(["rm", "-f"]).args(&ids))?;
    let removed = start.elapsed().as_secs_f64() * 1000.0 / count as f64;
    settle()?;
    Ok([started, listed, removed, memory])
}

/// What the shims of these containers have of memory for themselves, in KiB.
fn shims_memory(ids: &[String]) -> Result<f64> {
    let names: BTreeSet<String> = ids.iter().map(|id| format!("md-shim {}", &id[..12])).collect();
    let mut kib = 0.0;
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let process = entry.context("cannot read /proc")?.path();
        let title = fs::read(process.join("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).trim_end_matches('\0').to_owned();
        if !names.contains(&title) {
            continue;
        }
        let rollup =
            fs::read_to_string(process.join("smaps_rollup")).context("cannot read a shim's memory")?;
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        kib += private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(kib)
}

/// Waits until the kernel has taken the last container's network apart.
fn settle() -> Result<()> {
    super::start::settle(&Socket::open()?)
}
