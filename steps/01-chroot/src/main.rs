//! `chroot ROOTFS COMMAND`: runs a command with another root directory, and no way back.

use std::path::PathBuf;
use std::process::ExitCode;

use chroot::mount::{self, Attributes};
use chroot::plan::{self, Plan};
use chroot::program::Program;
use clap::Parser;

/// Run a command whose root is the directory ROOTFS.
#[derive(Parser)]
struct Options {
    /// Show the host's directory or file SOURCE as TARGET; ":ro" makes it read-only
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]", value_parser = parse_bind)]
    bind: Vec<plan::Mount>,
    /// Make the root read-only
    #[arg(long)]
    read_only: bool,
    /// Print the plan and stop
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
    run(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("chroot: {error}");
        ExitCode::from(125)
    })
}

fn run(options: &Options) -> chroot::Result<ExitCode> {
    // Plan: nothing is touched yet.
    let mut plan = Plan::container(&mount::mountinfo()?);
    plan.mounts.extend(options.bind.iter().cloned());
    plan.readonly = options.read_only;
    if options.dry_run {
        println!("{plan:#?}");
        return Ok(ExitCode::SUCCESS);
    }

    // Apply: from here on, in a mount namespace of our own.
    chroot::private_mounts()?;
    let tree = mount::clone_tree(&options.rootfs, true)?;
    chroot::enter(&tree, &options.rootfs, &plan)?;

    let error = Program::new(&options.command).exec();
    eprintln!("chroot: {error}");
    Ok(ExitCode::from(error.exit_code()))
}

fn parse_bind(text: &str) -> Result<plan::Mount, String> {
    let (rest, readonly) = text.strip_suffix(":ro").map_or((text, false), |rest| (rest, true));
    let (source, target) = rest.split_once(':').ok_or("expected SOURCE:TARGET")?;
    Ok(plan::bind(source, target, Attributes { readonly, ..Attributes::default() }))
}
