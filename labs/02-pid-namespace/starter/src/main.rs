//! `box ROOTFS COMMAND [ARGUMENT...]`: runs a command that sees only itself.
//!
//! Nothing is to be written here; `process.rs` has the gaps. There are three processes: this one, process 1 of the new
//! namespace, which is this program as well, and the command, which is process 1's child.

mod process;
mod root;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::unistd::{ForkResult, fork};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rootfs, command @ ..] = arguments.as_slice() else {
        eprintln!("usage: box ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    ExitCode::from(run(Path::new(rootfs), command).unwrap_or_else(report))
}

/// The process outside: makes process 1, and has its exit code.
fn run(rootfs: &Path, command: &[String]) -> Result<u8, String> {
    match process::spawn().map_err(|error| format!("spawn: {error}"))? {
        Some(first) => process::wait_for(first).map_err(|error| format!("wait_for: {error}")),
        None => std::process::exit(be_first(rootfs, command).unwrap_or_else(report).into()),
    }
}

/// Process 1: furnishes the place, starts the command, and does what process 1 owes the others.
fn be_first(rootfs: &Path, command: &[String]) -> Result<u8, String> {
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
