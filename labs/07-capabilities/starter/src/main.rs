//! `box [--no-new-privileges] USER KEPT ROOTFS COMMAND [ARGUMENT...]`: runs a command as a user who has few of root's
//! privileges. For instance `box 0 chown,kill root sh`, or `box 1000 none root sh`.
//!
//! Nothing is to be written here; `privileges.rs` has the gaps.

mod capability;
// Not all of it is used before the gaps are filled.
#[allow(dead_code)]
mod privileges;
mod process;
mod root;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::unistd::{ForkResult, fork};
use rustix::thread::CapabilitySet;

/// Who the command is, and what it may.
#[derive(Clone, Copy)]
struct Privileges {
    user: u32,
    kept: CapabilitySet,
    no_new_privileges: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (no_new_privileges, arguments) = match arguments.as_slice() {
        [option, rest @ ..] if option == "--no-new-privileges" => (true, rest),
        all => (false, all),
    };
    let [user, kept, rootfs, command @ ..] = arguments else {
        eprintln!("usage: box [--no-new-privileges] USER KEPT ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let ran = parse(user, kept).and_then(|(user, kept)| {
        run(Privileges { user, kept, no_new_privileges }, Path::new(rootfs), command)
    });
    ExitCode::from(ran.unwrap_or_else(report))
}

fn parse(user: &str, kept: &str) -> Result<(u32, CapabilitySet), String> {
    let user = user.parse().map_err(|_| format!("{user} is no user's number"))?;
    Ok((user, capability::parse(kept)?))
}

fn run(privileges: Privileges, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    match process::spawn().map_err(|error| format!("spawn: {error}"))? {
        Some(first) => process::wait_for(first).map_err(|error| format!("wait_for: {error}")),
        None => std::process::exit(be_first(privileges, rootfs, command).unwrap_or_else(report).into()),
    }
}

/// Process 1: does as in lab 2. Its child gives up what is not to be kept, and becomes the command.
fn be_first(privileges: Privileges, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::enter(rootfs).map_err(|error| format!("the root: {error}"))?;
    // SAFETY: this process has one thread, so that its child can do whatever it could.
    match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
        ForkResult::Parent { child } => process::attend(child).map_err(|error| format!("attend: {error}")),
        ForkResult::Child => {
            let Privileges { user, kept, no_new_privileges } = privileges;
            let given_up = privileges::give_up(user, kept, no_new_privileges);
            std::process::exit(given_up.map_or_else(report, |()| become_command(command)).into())
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
