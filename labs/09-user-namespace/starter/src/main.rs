//! `box MAP ROOTFS COMMAND [ARGUMENT...]`: runs a command whose root is not the host's. MAP says who is who, for instance
//! `box 0:100000:65536 root sh`: 0 inside is 100000 outside, and so on for 65536 numbers.
//!
//! Nothing is to be written here; `user.rs` has the gaps.

// Not all of it is used before the gaps are filled.
#[allow(dead_code)]
mod map;
#[allow(dead_code)]
mod process;
mod root;
#[allow(dead_code)]
mod user;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::unistd::{ForkResult, chdir, fork};

use map::Map;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [map, rootfs, command @ ..] = arguments.as_slice() else {
        eprintln!("usage: box MAP ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let ran = map.parse::<Map>().and_then(|map| run(&map, Path::new(rootfs), command));
    ExitCode::from(ran.unwrap_or_else(report))
}

fn run(map: &Map, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    // Who the command's root is outside, may have no way to the directory. Whoever is in it needs none.
    chdir(rootfs).map_err(|error| format!("{}: {error}", rootfs.display()))?;
    let first = user::start(map, || be_first(command).unwrap_or_else(report))
        .map_err(|error| format!("start: {error}"))?;
    process::wait_for(first).map_err(|error| format!("wait_for: {error}"))
}

/// Process 1, once it is root: does as in lab 2.
fn be_first(command: &[String]) -> Result<u8, String> {
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::enter().map_err(|error| format!("the root: {error}"))?;
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
