//! `seccomp [--profile FILE] ROOTFS COMMAND`: step 2's program, and a filter on it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use chroot::{Plan, Program, mount};
use clap::Parser;
use pid_namespace::{Namespaces, spawn};
use seccomp::{Facts, Filter, Profile, describe, facts};

/// Run a command in namespaces of its own, with a filter on its system calls.
#[derive(Parser)]
struct Options {
    /// A profile in Docker's format, instead of the default one
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// No filter
    #[arg(long, conflicts_with = "profile")]
    unconfined: bool,
    /// Allow what the profile allows to holders of this capability
    #[arg(long = "cap", value_name = "CAP", value_parser = parse_capability)]
    capabilities: Vec<u64>,
    /// Print the profile as a table and stop
    #[arg(long)]
    table: bool,
    /// Print the filter's program and stop
    #[arg(long)]
    disassemble: bool,
    /// A directory holding a root file system
    #[arg(required_unless_present_any = ["table", "disassemble"])]
    rootfs: Option<PathBuf>,
    /// The command to run inside
    #[arg(required_unless_present_any = ["table", "disassemble"])]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Options::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(options: &Options) -> Result<u8> {
    // Plan: which calls, and so which program.
    let profile = options.profile.as_ref().map_or_else(|| Ok(Profile::builtin()), Profile::read)?;
    let capabilities = options.capabilities.iter().fold(0, |all, bit| all | bit);
    let filter = profile.compile(&Facts::of_host(capabilities)?)?;
    if options.table {
        println!("{}", describe::HEAD);
        describe(&profile).iter().for_each(|row| println!("{row}"));
        return Ok(0);
    }
    if options.disassemble {
        print!("{filter}");
        return Ok(0);
    }
    ensure!(
        !filter.has_listener(),
        "nobody listens here, and the profile has SCMP_ACT_NOTIFY: the runtime of step 10 takes it"
    );
    let filter = (!options.unconfined).then_some(&filter);
    let plan = Plan::container(&mount::mountinfo()?);

    // Apply.
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID | Namespaces::CGROUP;
    let child = spawn(own, None, || enter(options, &plan, filter).unwrap_or_else(|error| report(&error)))?;

    // Wait.
    Ok(child.wait()?.code())
}

/// The child's way to its program.
fn enter(options: &Options, plan: &Plan, filter: Option<&Filter>) -> Result<u8> {
    let rootfs = options.rootfs.as_deref().context("no ROOTFS was given")?;
    let tree = mount::clone_tree(rootfs, true)?;
    chroot::enter(&tree, rootfs, plan)?;
    // Last of all: what came before made calls that the filter refuses.
    nix::sys::prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    if let Some(filter) = filter {
        filter.install()?;
    }
    let error = Program::new(&options.command).exec();
    eprintln!("seccomp: {error}");
    Ok(error.exit_code())
}

fn parse_capability(name: &str) -> Result<u64, String> {
    facts::capabilities([name])
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("seccomp: {error:#}");
    125
}
