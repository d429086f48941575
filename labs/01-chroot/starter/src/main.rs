//! `box ROOTFS COMMAND [ARGUMENT...]`: runs a command with another root, and no way back.
//!
//! Nothing is to be written here; `root.rs` has the gaps.

mod root;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rootfs, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: box ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    match enter(Path::new(rootfs)) {
        // exec does not return, unless it fails.
        Ok(()) => eprintln!("box: cannot run {program}: {}", Command::new(program).args(rest).exec()),
        Err(error) => eprintln!("box: {error}"),
    }
    ExitCode::from(125)
}

/// Makes `rootfs` the root of this process, in four moves.
fn enter(rootfs: &Path) -> Result<(), String> {
    root::own_mounts().map_err(|error| format!("own_mounts: {error}"))?;
    root::attach(rootfs).map_err(|error| format!("attach: {error}"))?;
    root::furnish(rootfs).map_err(|error| format!("furnish: {error}"))?;
    root::change_root(rootfs).map_err(|error| format!("change_root: {error}"))
}
