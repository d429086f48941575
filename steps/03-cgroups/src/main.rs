//! `cgroups [-m 64m] [--cpus 0.5] [--pids-limit 20] ROOTFS COMMAND`: step 2's program, with limits, and a bill at the end.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use cgroups::{Cgroup, DeviceRule, Hierarchy, Limits, Stats};
use chroot::{Plan, Program, mount};
use clap::Parser;
use nix::sched::CloneFlags;
use pid_namespace::{Exit, Namespaces, spawn};

/// Run a command in namespaces of its own, with limits on what it may use.
#[derive(Parser)]
struct Options {
    /// Memory limit: bytes, or with k, m or g
    #[arg(short, long, value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Number of processors, such as 0.5
    #[arg(long)]
    cpus: Option<f64>,
    /// Number of processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// The cgroup, or systemd slice, to make the new one in
    #[arg(long, default_value = "mini-docker")]
    cgroup_parent: String,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
    /// A directory holding a root file system
    rootfs: PathBuf,
    /// The command to run inside
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Options::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(options: &Options) -> Result<u8> {
    // Plan.
    let limits = Limits {
        memory: options.memory,
        nano_cpus: options.cpus.map(|cpus| (cpus * 1e9) as u64),
        pids: options.pids_limit,
        devices: DeviceRule::defaults(),
        ..Limits::default()
    };
    let hierarchy = Hierarchy::detect()?;
    let plan = Plan::container(&mount::mountinfo()?);
    if options.dry_run {
        cgroups::plan(&limits, &hierarchy)?.iter().for_each(|step| println!("{step}"));
        return Ok(0);
    }

    // Apply: the limits are there before the process is.
    let name = format!("step3-{}", std::process::id());
    let cgroup = Cgroup::create(&hierarchy, &options.cgroup_parent, &name)?;
    let ended = run_in(&cgroup, &limits, options, &plan);

    // Whatever happened, nothing stays behind.
    cgroup.kill()?;
    let (stats, kills) = (cgroup.stats()?, cgroup.oom_kills()?);
    cgroup.remove()?;
    let exit = ended?;
    print_bill(&stats);
    if kills > 0 {
        eprintln!("killed because memory ran out: {kills} process(es)");
    }
    Ok(exit.code())
}

fn run_in(cgroup: &Cgroup, limits: &Limits, options: &Options, plan: &Plan) -> Result<Exit> {
    cgroup.apply(limits)?;
    let directory = cgroup.directory()?;
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID;
    // On v2 the kernel puts the child into its cgroup; on v1 it goes there by itself before anything else.
    let child = spawn(own, directory.as_ref().map(std::os::fd::AsFd::as_fd), || {
        let join = || if directory.is_none() { cgroup.join() } else { Ok(()) };
        let entered = join().map_err(Into::into).and_then(|()| enter(options, plan));
        entered.unwrap_or_else(|error| report(&error))
    })?;
    Ok(child.wait()?)
}

/// The child's way to its program.
fn enter(options: &Options, plan: &Plan) -> Result<u8> {
    // A cgroup namespace has its root where its maker is at that moment: so only now, inside the cgroup.
    nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot make a cgroup namespace")?;
    let tree = mount::clone_tree(&options.rootfs, true)?;
    chroot::enter(&tree, &options.rootfs, plan)?;
    let error = Program::new(&options.command).exec();
    eprintln!("cgroups: {error}");
    Ok(error.exit_code())
}

fn print_bill(stats: &Stats) {
    if let Some(cpu) = stats.cpu {
        eprintln!("cpu      {:.3} s, throttled {} times", cpu.usage_ns as f64 / 1e9, cpu.throttled_periods);
    }
    if let Some(memory) = stats.memory {
        let peak = memory.peak.unwrap_or(memory.usage);
        eprintln!("memory   {:.1} MiB at most", peak as f64 / (1024.0 * 1024.0));
    }
    for io in &stats.io {
        eprintln!(
            "disk     {}:{} read {} B, wrote {} B",
            io.device.0, io.device.1, io.read_bytes, io.write_bytes
        );
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[split..] {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err("expected a number, perhaps with b, k, m or g".into()),
    };
    let number: u64 = text[..split].parse().map_err(|_| "expected a number".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("cgroups: {error:#}");
    125
}
