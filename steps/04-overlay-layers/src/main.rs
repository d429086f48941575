//! `overlay-layers [--layer TAR]... [-m 64m] COMMAND`: step 3's program, on layers, and what it changed.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cgroups::{Cgroup, DeviceRule, Hierarchy, Limits};
use chroot::{Plan, Program, mount};
use clap::Parser;
use nix::sched::CloneFlags;
use overlay_layers::{ChainId, LayerStore, Marks, Overlay, Upper, changes, write_layer};
use pid_namespace::{Namespaces, spawn};

/// Run a command on a stack of layers, and list what it changed.
#[derive(Parser)]
struct Options {
    /// A layer: a tar, plain or compressed with gzip or zstd; the lowest one first
    #[arg(short, long = "layer", value_name = "TAR", required = true)]
    layers: Vec<PathBuf>,
    /// Where layers are kept, each once
    #[arg(long, default_value = "/var/tmp/overlay-layers")]
    store: PathBuf,
    /// Keep what the command writes in DIR, and go on from what is there
    #[arg(long, value_name = "DIR")]
    upper: Option<PathBuf>,
    /// Write what the command changed as a layer
    #[arg(long, value_name = "TAR")]
    commit: Option<PathBuf>,
    /// Memory limit in bytes
    #[arg(short, long)]
    memory: Option<u64>,
    /// The command to run inside
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Options::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(options: &Options) -> Result<u8> {
    // Plan: what the root is made of besides its layers.
    let plan = Plan::container(&mount::mountinfo()?);

    // Apply: unpack the layers that are not there yet, stack them, and run the command on top.
    let store = LayerStore::open(&options.store)?;
    store.sweep()?;
    let mut top = None;
    for path in &options.layers {
        top = Some(add(&store, top.as_ref(), path)?);
    }
    let lowers = store.lowers(&top.expect("clap requires a layer"))?;
    let own = || options.store.join(format!("upper-{}", std::process::id()));
    let directory = options.upper.clone().unwrap_or_else(own);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let ended = run_on(&lowers, &directory, &plan, options);

    // Whatever happened, nothing stays that nobody asked to keep.
    if options.upper.is_none() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    ended
}

/// Unpacks a layer onto another. The same layer on the same parent is kept only once.
fn add(store: &LayerStore, parent: Option<&ChainId>, path: &PathBuf) -> Result<ChainId> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut stage = store.stage()?;
    let unpacked = stage.unpack(file).with_context(|| path.display().to_string())?;
    Ok(stage.commit(parent, &unpacked.diff_id)?)
}

fn run_on(lowers: &[PathBuf], directory: &Path, plan: &Plan, options: &Options) -> Result<u8> {
    let upper = Upper::make(directory, &lowers[0])?;
    let overlay = Overlay { lowers: lowers.to_vec(), upper: Some(upper.clone()), ..Overlay::default() };
    let name = format!("step4-{}", std::process::id());
    let cgroup = Cgroup::create(&Hierarchy::detect()?, "mini-docker", &name)?;
    let ended = contain(&overlay, &cgroup, plan, options);
    cgroup.kill()?;
    cgroup.remove()?;
    let code = ended?;

    for change in changes(&upper.upper, lowers, Marks::Trusted)? {
        println!("{change}");
    }
    if let Some(path) = &options.commit {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let layer = write_layer(&upper.upper, lowers, Marks::Trusted, BufWriter::new(file))?;
        println!("{} ({} bytes)", layer.diff_id, layer.tar_size);
    }
    Ok(code)
}

/// Steps 1 to 3, with an overlay for a root: start, wait.
fn contain(overlay: &Overlay, cgroup: &Cgroup, plan: &Plan, options: &Options) -> Result<u8> {
    let limits = Limits { memory: options.memory, devices: DeviceRule::defaults(), ..Limits::default() };
    cgroup.apply(&limits)?;
    let inside = cgroup.directory()?;
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID;
    let child = spawn(own, inside.as_ref().map(AsFd::as_fd), || {
        let become_program = || -> Result<u8> {
            if inside.is_none() {
                cgroup.join()?;
            }
            nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot make a cgroup namespace")?;
            // Mounted in this namespace, the overlay ends with it.
            let at = &overlay.lowers[0];
            chroot::enter(&overlay.mount()?, at, plan)?;
            let error = Program::new(&options.command).exec();
            eprintln!("overlay-layers: {error}");
            Ok(error.exit_code())
        };
        become_program().unwrap_or_else(|error| report(&error))
    })?;
    Ok(child.wait()?.code())
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("overlay-layers: {error:#}");
    125
}
