//! `box FILTER ROOTFS COMMAND [ARGUMENT...]`: runs a command for which a filter decides about each of its system calls.
//! For instance `box allow,mkdir=13,personality:0:8=kill root sh`.
//!
//! Nothing is to be written here; `filter.rs` has the gaps.

mod bpf;
mod calls;
// Not all of it is used before the gaps are filled.
#[allow(dead_code, unused_imports)]
mod filter;
mod process;
mod root;
#[allow(dead_code)]
mod rules;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use libc::sock_filter;
use nix::unistd::{ForkResult, fork};

use rules::Rules;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rules, rootfs, command @ ..] = arguments.as_slice() else {
        eprintln!("usage: box FILTER ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let ran =
        rules.parse::<Rules>().and_then(|rules| run(&filter::compile(&rules), Path::new(rootfs), command));
    ExitCode::from(ran.unwrap_or_else(report))
}

fn run(filter: &[sock_filter], rootfs: &Path, command: &[String]) -> Result<u8, String> {
    match process::spawn().map_err(|error| format!("spawn: {error}"))? {
        Some(first) => process::wait_for(first).map_err(|error| format!("wait_for: {error}")),
        None => std::process::exit(be_first(filter, rootfs, command).unwrap_or_else(report).into()),
    }
}

/// Process 1: does as in lab 2. Its child installs the filter last of all, and becomes the command.
fn be_first(filter: &[sock_filter], rootfs: &Path, command: &[String]) -> Result<u8, String> {
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::enter(rootfs).map_err(|error| format!("the root: {error}"))?;
    // SAFETY: this process has one thread, so that its child can do whatever it could.
    match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
        ForkResult::Parent { child } => process::attend(child).map_err(|error| format!("attend: {error}")),
        ForkResult::Child => {
            let installed = filter::install(filter).map_err(|error| format!("install: {error}"));
            std::process::exit(installed.map_or_else(report, |()| become_command(command)).into())
        }
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
