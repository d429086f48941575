//! `floor DIRECTORY PROGRAM [ARGUMENT...]`: the least that a container start can cost.
//!
//! It makes the namespaces, the overlay and the mounts that a container gets, from the same crates as the engine,
//! becomes PROGRAM in them, waits, and removes the writable layer. No cgroup, no records, no log, no streams, no
//! shim: whatever a run takes beyond this is the price of being an engine.
//!
//! DIRECTORY holds `root`, which is the image; `places`, the empty directories and files that mounts go to; and
//! `etc`, the three files that every container gets of its own.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chroot::mount::Attributes;
use chroot::{Plan, Program};
use overlay_layers::{Overlay, Upper};
use pid_namespace::{Namespaces, spawn};

/// The floor failed, and not the program.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(report(error.as_ref())),
    }
}

/// Starts the container and waits for it; the exit code is the program's.
fn run() -> Result<u8, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: floor DIRECTORY PROGRAM [ARGUMENT...]")?);
    let program = Program::new(&arguments.collect::<Vec<_>>());

    let root = directory.join("root");
    let writable = directory.join(format!("writable-{}", std::process::id()));
    fs::create_dir(&writable)?;
    let overlay = Overlay {
        lowers: vec![root.clone(), directory.join("places")],
        upper: Some(Upper::make(&writable, &root)?),
        volatile: true,
        ..Overlay::default()
    };
    let mut plan = Plan::container(&chroot::mount::mountinfo()?);
    for name in ["hostname", "hosts", "resolv.conf"] {
        let file = directory.join("etc").join(name);
        plan.mounts.push(chroot::plan::bind(file, Path::new("/etc").join(name), Attributes::default()));
    }

    let namespaces = Namespaces::MOUNT
        | Namespaces::UTS
        | Namespaces::IPC
        | Namespaces::PID
        | Namespaces::NET
        | Namespaces::CGROUP;
    let child = spawn(namespaces, None, || {
        let error = match enter(&overlay, &directory, &plan) {
            Ok(()) => program.exec().into(),
            Err(error) => error,
        };
        report(error.as_ref())
    })?;
    let exit = child.wait()?;
    fs::remove_dir_all(&writable)?;
    Ok(exit.code())
}

fn enter(overlay: &Overlay, at: &Path, plan: &Plan) -> Result<(), Box<dyn Error>> {
    let tree = overlay.mount()?;
    Ok(chroot::enter(&tree, at, plan)?)
}

fn report(error: &dyn Error) -> u8 {
    eprintln!("floor: {error}");
    FAILED
}
