//! `capabilities [--cap-add NAME] [--cap-drop NAME] [--user UID] ROOTFS COMMAND`: a command in namespaces of its own
//! (step 2), as root without most of what makes root.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use capabilities::{Set, Sets, assume};
use chroot::{Plan, Program, mount};
use clap::Parser;
use nix::unistd::{Gid, Uid};
use pid_namespace::{Namespaces, spawn};

/// Run a command in namespaces of its own, with few privileges.
#[derive(Parser)]
struct Options {
    /// Give a capability; ALL gives every one
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Take a capability away; ALL takes every one
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// The user, and group, to run as
    #[arg(short, long, value_name = "ID", default_value_t = 0)]
    user: u32,
    /// Let no program gain privileges, such as those of a set-user-ID file
    #[arg(long)]
    no_new_privileges: bool,
    /// Print the sets and stop
    #[arg(long)]
    dry_run: bool,
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
    // Plan.
    let given = capabilities::choose(&options.cap_add, &options.cap_drop, assume::available()?)?;
    let plan = Plan::container(&mount::mountinfo()?);
    if options.dry_run {
        println!("{}", Sets::of_container(given));
        return Ok(0);
    }

    // Apply: everything that needs privileges first, then give them up.
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID | Namespaces::CGROUP;
    let child = spawn(own, None, || {
        let entered = enter(options, &plan).and_then(|()| give_up(options, given));
        match entered {
            Ok(()) => {
                let error = Program::new(&options.command).exec();
                eprintln!("capabilities: {error}");
                error.exit_code()
            }
            Err(error) => report(&error),
        }
    })?;

    // Wait.
    Ok(child.wait()?.code())
}

fn enter(options: &Options, plan: &Plan) -> Result<()> {
    let tree = mount::clone_tree(&options.rootfs, true)?;
    Ok(chroot::enter(&tree, &options.rootfs, plan)?)
}

fn give_up(options: &Options, given: Set) -> Result<()> {
    assume::bound(given)?;
    assume::keep_across_user_change(true)?;
    let (uid, gid) = (Uid::from_raw(options.user), Gid::from_raw(options.user));
    nix::unistd::setgroups(&[gid])
        .and_then(|()| nix::unistd::setresgid(gid, gid, gid))
        .and_then(|()| nix::unistd::setresuid(uid, uid, uid))
        .with_context(|| format!("cannot become user {uid}"))?;
    assume::keep_across_user_change(false)?;
    assume::set(&Sets::of_container(given))?;
    if options.no_new_privileges {
        assume::forbid_new_privileges()?;
    }
    Ok(())
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("capabilities: {error:#}");
    125
}
