//! `user-namespace [--map INSIDE:OUTSIDE:COUNT] [--remap USER] ROOTFS COMMAND`: step 7's program, for a root that is
//! somebody else outside. Anybody may run it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use capabilities::{Set, Sets, assume};
use chroot::{Plan, Program, mount, plan};
use clap::Parser;
use pid_namespace::{Child, Namespaces};
use user_namespace::{Accounts, IdMap, IdMaps, Range, Scaffold, UserNamespace, root, rootless, shift};

/// Run a command as root of a user namespace.
#[derive(Parser)]
struct Options {
    /// Which ids inside are which outside; may be given several times [default: for root, 0:100000:65536]
    #[arg(short, long = "map", value_name = "INSIDE:OUTSIDE:COUNT")]
    maps: Vec<Range>,
    /// Take the ids that /etc/subuid and /etc/subgid give to this user; for root
    #[arg(long, value_name = "USER[:GROUP]", conflicts_with = "maps")]
    remap: Option<String>,
    /// Show the host's directory or file SOURCE as TARGET
    #[arg(short, long, value_name = "SOURCE:TARGET", value_parser = parse_bind)]
    bind: Vec<plan::Mount>,
    /// Give a capability; ALL gives every one
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// A directory holding a root file system
    rootfs: PathBuf,
    /// The command to run inside
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Options::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(options: &Options) -> Result<u8> {
    // Plan: who is who, what such a root may mount, and what it may do.
    let privileged = nix::unistd::geteuid().is_root();
    let maps = choose(options, privileged)?;
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID | Namespaces::CGROUP;
    let mut plan = Plan::container(&mount::mountinfo()?);
    plan.mounts.extend(options.bind.iter().cloned());
    root::adapt(&mut plan, &maps, own);
    let given = capabilities::choose(&options.cap_add, &[], assume::available()?)?;

    // Apply, and wait.
    let start = if privileged { start_remapped } else { start_as_user };
    Ok(start(options, plan, &maps, own, given)?.wait()?.code())
}

fn choose(options: &Options, privileged: bool) -> Result<IdMaps> {
    if let Some(user) = &options.remap {
        return Ok(Accounts::read()?.remapped(user)?);
    }
    if options.maps.is_empty() && !privileged {
        let (maps, reason) = rootless::own_maps()?;
        reason.iter().for_each(|reason| eprintln!("user-namespace: no user but root: {reason}"));
        return Ok(maps);
    }
    let usual = Range { inside: 0, outside: 100_000, count: 65_536 };
    let map = IdMap::new(if options.maps.is_empty() { vec![usual] } else { options.maps.clone() })?;
    Ok(IdMaps { uids: map.clone(), gids: map })
}

/// The host's root makes what a namespace's root cannot: the files' owners, and devices.
fn start_remapped(
    options: &Options,
    mut plan: Plan,
    maps: &IdMaps,
    own: Namespaces,
    given: Set,
) -> Result<Child> {
    let tree = mount::clone_tree(&options.rootfs, false)?;
    shift(&tree, UserNamespace::with(maps)?.as_fd(), false)?;
    let scaffold = Scaffold::raise(Path::new("/tmp"), &mut plan, maps)?;
    let child = user_namespace::spawn(own, None, maps, || become_program(options, &tree, &plan, given))?;
    scaffold.take_down()?;
    Ok(child)
}

/// An ordinary user becomes root first, and goes on as in step 2.
fn start_as_user(
    options: &Options,
    mut plan: Plan,
    maps: &IdMaps,
    own: Namespaces,
    given: Set,
) -> Result<Child> {
    root::host_devices(&mut plan);
    rootless::enter(maps)?;
    let tree = mount::clone_tree(&options.rootfs, true)?;
    Ok(pid_namespace::spawn(own, None, || become_program(options, &tree, &plan, given))?)
}

/// The child's way to its program.
fn become_program(options: &Options, tree: &OwnedFd, plan: &Plan, given: Set) -> u8 {
    let confine = || -> Result<()> {
        root::enter(tree, plan)?;
        assume::bound(given)?;
        Ok(assume::set(&Sets::of_container(given))?)
    };
    if let Err(error) = confine() {
        return report(&error);
    }
    let error = Program::new(&options.command).exec();
    eprintln!("user-namespace: {error}");
    error.exit_code()
}

fn parse_bind(text: &str) -> Result<plan::Mount, String> {
    let (source, target) = text.split_once(':').ok_or("expected SOURCE:TARGET")?;
    Ok(plan::bind(source, target, mount::Attributes::default()))
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("user-namespace: {error:#}");
    125
}
