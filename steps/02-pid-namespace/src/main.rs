//! `pid-namespace ROOTFS COMMAND`: step 1's program, in namespaces of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chroot::{Error, Plan, Program, Result, mount};
use clap::Parser;
use nix::unistd::Pid;
use pid_namespace::{Namespaces, init, join, namespaces, spawn, time};

/// Run a command with its own root, process ids, hostname, IPC objects and cgroup view.
#[derive(Parser)]
struct Options {
    /// The hostname inside
    #[arg(long, default_value = "container")]
    hostname: String,
    /// Run an init process as number 1, and the command below it
    #[arg(long)]
    init: bool,
    /// Let the machine look as if it had been up for SECONDS longer
    #[arg(long, value_name = "SECONDS")]
    uptime: Option<u64>,
    /// Do not make namespaces: join those of process PID, and ignore ROOTFS's mounts
    #[arg(long, value_name = "PID", conflicts_with_all = ["init", "uptime", "verbose"])]
    join: Option<i32>,
    /// Say which process it is, outside and inside
    #[arg(short, long)]
    verbose: bool,
    /// A directory holding a root file system
    rootfs: PathBuf,
    /// The command to run inside
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

const OWN: [Namespaces; 5] =
    [Namespaces::MOUNT, Namespaces::UTS, Namespaces::IPC, Namespaces::PID, Namespaces::CGROUP];

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    match run(&Options::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(report(&error)),
    }
}

fn run(options: &Options) -> Result<u8> {
    // Plan.
    let own = OWN.into_iter().fold(Namespaces::NONE, |set, kind| set | kind);
    let plan = Plan::container(&mount::mountinfo()?);

    // Apply: clone, and go on in the child.
    let child = if let Some(pid) = options.join {
        join::join(std::os::fd::AsFd::as_fd(&join::open(Pid::from_raw(pid))?), own)?;
        spawn(Namespaces::NONE, None, || become_program(options))?
    } else {
        if let Some(seconds) = options.uptime {
            time::shift_clocks(Duration::from_secs(seconds))?;
        }
        spawn(own, None, || enter(options, &plan).unwrap_or_else(|error| report(&error)))?
    };
    if options.verbose {
        let path = format!("/proc/{}/status", child.pid());
        let status = std::fs::read_to_string(&path).map_err(|error| Error::new("read", path, error))?;
        eprintln!("one process, its ids from the outside in: {:?}", namespaces::pids(&status));
    }

    // Wait.
    child.wait().map(pid_namespace::Exit::code)
}

/// The child's way to its program.
fn enter(options: &Options, plan: &Plan) -> Result<u8> {
    nix::unistd::sethostname(&options.hostname)
        .map_err(|errno| Error::new("set the hostname to", &options.hostname, errno))?;
    let tree = mount::clone_tree(&options.rootfs, true)?;
    chroot::enter(&tree, &options.rootfs, plan)?;
    if options.init {
        return init::run(|| become_program(options)).map(pid_namespace::Exit::code);
    }
    Ok(become_program(options))
}

fn become_program(options: &Options) -> u8 {
    let error = Program::new(&options.command).exec();
    eprintln!("pid-namespace: {error}");
    error.exit_code()
}

fn report(error: &Error) -> u8 {
    eprintln!("pid-namespace: {error}");
    125
}
