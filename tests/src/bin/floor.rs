//! `floor [--bridge NAME] DIRECTORY PROGRAM [ARGUMENT...]`: the least that a container start can cost.
//!
//! It makes the namespaces, the overlay and the mounts that a container gets, from the same crates as the engine,
//! becomes PROGRAM in them, waits, and removes the writable layer. No cgroup, no records, no log, no streams, no
//! shim: whatever a run takes beyond this is the price of being an engine.
//!
//! With a bridge, which is there already, the network namespace is plugged into it while the child makes its mounts, as
//! the engine does it. The address is a fixed one: none is claimed or given back.
//!
//! DIRECTORY holds `root`, which is the image; `places`, the empty directories and files that mounts go to; and
//! `etc`, the three files that every container gets of its own.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chroot::mount::Attributes;
use chroot::{Plan, Program};
use networking::{Socket, netns};
use overlay_layers::{Overlay, Upper};
use pid_namespace::{Child, Namespaces, descriptors, spawn};
use testbed::network;

const USAGE: &str = "usage: floor [--bridge NAME] DIRECTORY PROGRAM [ARGUMENT...]";

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
    let mut arguments = std::env::args().skip(1).peekable();
    let bridge = match arguments.next_if_eq("--bridge") {
        Some(_) => Some(arguments.next().ok_or(USAGE)?),
        None => None,
    };
    let directory = PathBuf::from(arguments.next().ok_or(USAGE)?);
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
    let (mut gate, mut opener) = std::io::pipe()?;
    let child = spawn(namespaces, None, || {
        // The gate's other end belongs to the parent alone: if that fails, the gate ends without a byte.
        let mut ready = || -> Result<(), Box<dyn Error>> {
            descriptors::keep_only(&[gate.as_fd()])?;
            enter(&overlay, &directory, &plan)?;
            Ok(gate.read_exact(&mut [0])?)
        };
        let error = match ready() {
            Ok(()) => program.exec().into(),
            Err(error) => error,
        };
        report(error.as_ref())
    })?;
    if let Some(bridge) = bridge {
        plug(&child, &bridge)?;
    }
    opener.write_all(&[0])?;
    let exit = child.wait()?;
    fs::remove_dir_all(&writable)?;
    Ok(exit.code())
}

fn enter(overlay: &Overlay, at: &Path, plan: &Plan) -> Result<(), Box<dyn Error>> {
    let tree = overlay.mount()?;
    Ok(chroot::enter(&tree, at, plan)?)
}

/// Connects the child, whose end is also that of its cable.
fn plug(child: &Child, bridge: &str) -> Result<(), Box<dyn Error>> {
    let (host, namespace) = (Socket::open()?, netns::of(child.as_fd())?);
    let inside = Socket::open_in(namespace.as_fd())?;
    Ok(network::plug(bridge).apply(&host, &inside, namespace.as_fd())?)
}

fn report(error: &dyn Error) -> u8 {
    eprintln!("floor: {error}");
    FAILED
}
