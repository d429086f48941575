//! `box CHANGES ROOTFS LAYER... -- COMMAND [ARGUMENT...]`: runs a command on a stack of layers, of which ROOTFS is the
//! lowest, keeps what it writes in CHANGES, and lists what it changed.
//!
//! Nothing is to be written here; `layers.rs` has the gaps.

mod layers;
mod opaque;
mod process;
mod root;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::unistd::{ForkResult, fork};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut halves = arguments.splitn(2, |argument| argument == "--");
    let (Some([changes, layers @ ..]), Some(command)) = (halves.next(), halves.next()) else {
        eprintln!("usage: box CHANGES ROOTFS LAYER... -- COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let layers: Vec<PathBuf> = layers.iter().map(PathBuf::from).collect();
    ExitCode::from(run(Path::new(changes), &layers, command).unwrap_or_else(report))
}

/// Where a container keeps what is its own.
struct Place {
    /// What it writes.
    upper: PathBuf,
    /// The kernel's scratch paper, on the same file system.
    work: PathBuf,
    /// Where everything is seen as one.
    merged: PathBuf,
}

fn run(changes: &Path, layers: &[PathBuf], command: &[String]) -> Result<u8, String> {
    for layer in layers {
        layers::convert(layer).map_err(|error| format!("convert: {error}"))?;
    }
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| changes.join(name));
    for directory in [&upper, &work, &merged] {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let place = Place { upper, work, merged };
    let code = match process::spawn().map_err(|error| format!("spawn: {error}"))? {
        Some(first) => process::wait_for(first).map_err(|error| format!("wait_for: {error}"))?,
        None => std::process::exit(be_first(layers, &place, command).unwrap_or_else(report).into()),
    };
    let mut changes = Vec::new();
    layers::changes(&place.upper, layers, Path::new("/"), &mut changes)
        .map_err(|error| format!("changes: {error}"))?;
    changes.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (kind, path) in changes {
        println!("{kind} {}", path.display());
    }
    Ok(code)
}

/// Process 1: the overlay becomes its root. It is mounted in this namespace, and ends with it.
fn be_first(layers: &[PathBuf], place: &Place, command: &[String]) -> Result<u8, String> {
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::isolate_mounts().map_err(|error| format!("isolate_mounts: {error}"))?;
    layers::mount(layers, &place.upper, &place.work, &place.merged)
        .map_err(|error| format!("mount: {error}"))?;
    root::enter(&place.merged).map_err(|error| format!("the root: {error}"))?;
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
