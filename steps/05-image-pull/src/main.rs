//! `image-pull IMAGE [COMMAND]`: pulls an image, and runs a command in a container of it.
//!
//! All steps so far in one program: the image's layers below a writable directory (step 4), as the root (step 1) of a
//! process with namespaces (step 2) and limits (step 3) of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cgroups::{Cgroup, DeviceRule, Hierarchy, Limits};
use chroot::{Plan, Program, mount};
use clap::Parser;
use image_pull::{Event, Image, LayerState, Options, Progress, Reference, Registries, Store};
use nix::sched::CloneFlags;
use overlay_layers::{Overlay, Upper};
use pid_namespace::{Exit, Namespaces, spawn};

/// Pull an image; with a command, run it in a container of the image.
#[derive(Parser)]
struct Arguments {
    /// Where images are kept
    #[arg(long, default_value = "/var/lib/mini-docker-steps", value_name = "DIRECTORY")]
    root: PathBuf,
    /// The platform to choose, if not this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<image_pull::Platform>,
    /// Mirrors and insecure registries, as in Docker's daemon.json
    #[arg(long, value_name = "FILE")]
    registries: Option<PathBuf>,
    /// Memory limit in MiB
    #[arg(short, long, value_name = "MIB")]
    memory: Option<u64>,
    /// Number of processors, such as 0.5
    #[arg(long)]
    cpus: Option<f64>,
    /// Number of processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// debian, debian:12, localhost:5000/debian@sha256:…
    image: Reference,
    /// The command to run; "-" runs the image's own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Prints a line for what happens to a layer, in Docker's words.
struct Lines;

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        let id = event.id().unwrap_or_default();
        match event {
            Event::Resolved { tag, repository } => println!("{tag}: Pulling from {repository}"),
            Event::Layer { state: LayerState::AlreadyExists, .. } => println!("{id}: Already exists"),
            Event::Layer { state: LayerState::PullComplete, .. } => println!("{id}: Pull complete"),
            Event::Layer { state: LayerState::Retrying { wait }, .. } => {
                println!("{id}: Retrying in {wait:?}");
            }
            Event::Layer { .. } => {}
        }
    }
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Arguments::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(arguments: &Arguments) -> Result<u8> {
    let store = Store::open(&arguments.root)?;
    let registries = arguments.registries.as_deref().map(Registries::read).transpose()?.unwrap_or_default();
    let credentials = image_pull::Credentials::of_user()?;
    let options =
        Options { platform: arguments.platform.clone(), registries, credentials, ..Options::default() };
    // From here to the container's end, nobody removes what it lies on.
    let _hold = store.hold()?;
    let pulled = image_pull::pull(&store, &arguments.image, &options, &Lines)?;
    println!("Digest: {}\nStatus: {}", pulled.digest, pulled.status());
    if arguments.command.is_empty() {
        return Ok(0);
    }

    let image = store.resolve(&pulled.reference.to_string())?;
    let program = program(&image, &arguments.command);
    let limits = Limits {
        memory: arguments.memory.map(|mib| mib << 20),
        nano_cpus: arguments.cpus.map(|cpus| (cpus * 1e9) as u64),
        pids: arguments.pids_limit,
        devices: DeviceRule::defaults(),
        ..Limits::default()
    };
    let name = format!("step5-{}", std::process::id());
    let scratch = arguments.root.join(&name);
    std::fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let cgroup = Cgroup::create(&Hierarchy::detect()?, "mini-docker", &name)?;
    let ended = in_container(&store, &image, &program, &scratch, &cgroup, &limits);

    // Whatever happened, nothing stays behind.
    cgroup.kill()?;
    cgroup.remove()?;
    std::fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(ended?.code())
}

/// The user's command, or the image's own, in the image's environment.
fn program(image: &Image, command: &[String]) -> Program {
    let config = &image.config.config;
    let own =
        || [config.entrypoint.clone().unwrap_or_default(), config.cmd.clone().unwrap_or_default()].concat();
    let mut program = Program::new(&if command == ["-"] { own() } else { command.to_vec() });
    if !config.env.is_empty() {
        program.env.clone_from(&config.env);
    }
    program
}

/// Runs the program on a copy-on-write view of the image, whose changes go to `scratch`.
fn in_container(
    store: &Store,
    image: &Image,
    program: &Program,
    scratch: &Path,
    cgroup: &Cgroup,
    limits: &Limits,
) -> Result<Exit> {
    let lowers = store.layers().lowers(image.chain.last().context("the image has no layers")?)?;
    let upper = Upper::make(scratch, &lowers[0])?;
    let overlay = Overlay { lowers, upper: Some(upper), ..Overlay::default() };
    let plan = Plan::container(&mount::mountinfo()?);
    cgroup.apply(limits)?;
    let directory = cgroup.directory()?;
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID;
    let child = spawn(own, directory.as_ref().map(std::os::fd::AsFd::as_fd), || {
        // On v2 the kernel has put the child into its cgroup; on v1 it goes there by itself.
        let join = || if directory.is_none() { cgroup.join() } else { Ok(()) };
        match join().map_err(Into::into).and_then(|()| enter(&overlay, scratch, &plan)) {
            Ok(()) => {
                let error = program.exec();
                eprintln!("image-pull: {error}");
                error.exit_code()
            }
            Err(error) => report(&error),
        }
    })?;
    Ok(child.wait()?)
}

/// Makes the overlay the root of this process.
fn enter(overlay: &Overlay, at: &Path, plan: &Plan) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot make a cgroup namespace")?;
    nix::unistd::sethostname("container").context("cannot set the hostname")?;
    Ok(chroot::enter(&overlay.mount()?, at, plan)?)
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("image-pull: {error:#}");
    125
}
