//! `box MEMORY PIDS CPUS ROOTFS COMMAND [ARGUMENT...]`: runs a command that cannot take everything. For instance
//! `box 64m 20 0.5 root sh`.
//!
//! Nothing is to be written here; `group.rs` has the gaps.

mod group;
// Not all of it is used before the gaps are filled, nor on each kind of host.
#[allow(dead_code)]
mod host;
mod process;
mod root;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use host::Group;
use nix::unistd::{ForkResult, fork};

/// What a command may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Processes, process 1 among them.
    pub pids: u64,
    /// Processors, such as 0.5.
    pub cpus: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [memory, pids, cpus, rootfs, command @ ..] = arguments.as_slice() else {
        eprintln!("usage: box MEMORY PIDS CPUS ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let ran = parse(memory, pids, cpus).and_then(|limits| run(limits, Path::new(rootfs), command));
    ExitCode::from(ran.unwrap_or_else(report))
}

fn parse(memory: &str, pids: &str, cpus: &str) -> Result<Limits, String> {
    let (number, unit) = match memory.strip_suffix('m') {
        Some(number) => (number, 1 << 20),
        None => (memory, 1),
    };
    let wrong = |what| format!("this is no {what}: box 64m 20 0.5 ROOTFS COMMAND");
    Ok(Limits {
        memory: number.parse::<u64>().map_err(|_| wrong("memory"))? * unit,
        pids: pids.parse().map_err(|_| wrong("number of processes"))?,
        cpus: cpus.parse().map_err(|_| wrong("number of processors"))?,
    })
}

/// Makes a cgroup, runs the command in it, and removes it, whatever happened.
fn run(limits: Limits, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    let name = format!("lab-box-{}", std::process::id());
    let group = Group::at(&name).map_err(|error| format!("no place for a cgroup: {error}"))?;
    let ended = run_in(&group, limits, rootfs, command);
    let removed = group::remove(&group).map_err(|error| format!("remove: {error}"));
    let code = ended?;
    removed?;
    Ok(code)
}

fn run_in(group: &Group, limits: Limits, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    group::make(group).map_err(|error| format!("make: {error}"))?;
    // The limits are there before anybody is inside.
    group::limit(group, limits).map_err(|error| format!("limit: {error}"))?;
    group.forbid_swap(limits.memory).map_err(|error| format!("forbid_swap: {error}"))?;
    match process::spawn().map_err(|error| format!("spawn: {error}"))? {
        Some(first) => process::wait_for(first).map_err(|error| format!("wait_for: {error}")),
        None => std::process::exit(be_first(group, rootfs, command).unwrap_or_else(report).into()),
    }
}

/// Process 1: goes into the cgroup while the host's files are still there, and then does as in lab 2.
fn be_first(group: &Group, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    group::join(group).map_err(|error| format!("join: {error}"))?;
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::enter(rootfs).map_err(|error| format!("the root: {error}"))?;
    // SAFETY: this process has one thread, so that its child can do whatever it could.
    match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
        ForkResult::Parent { child } => process::attend(child).map_err(|error| format!("attend: {error}")),
        ForkResult::Child => std::process::exit(become_command(command).into()),
    }
}

fn become_command(command: &[String]) -> u8 {
    let [program, arguments @ ..] = command else { return report("no command".into()) };
    // exec does not return, unless it fails.
    report(format!("cannot run {program}: {}", Command::new(program).args(arguments).exec()))
}

fn report(error: String) -> u8 {
    eprintln!("box: {error}");
    125
}
