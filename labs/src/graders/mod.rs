//! The checks of each lab, and those that several labs share.

mod capabilities;
mod cgroups;
mod chroot;
mod image_pull;
mod networking;
mod overlay_layers;
mod pid_namespace;
mod runtime;
mod seccomp;
mod user_namespace;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::Bench;
use crate::check::{Check, Failure, Verdict};
use crate::{call, escape};

/// The checks of the lab `name`, in order.
pub fn of(name: &str) -> Result<&'static [Check]> {
    match name {
        "01-chroot" => Ok(chroot::CHECKS),
        "02-pid-namespace" => Ok(pid_namespace::CHECKS),
        "03-cgroups" => Ok(cgroups::CHECKS),
        "04-overlay-layers" => Ok(overlay_layers::CHECKS),
        "05-image-pull" => Ok(image_pull::CHECKS),
        "06-networking" => Ok(networking::CHECKS),
        "07-capabilities" => Ok(capabilities::CHECKS),
        "08-seccomp" => Ok(seccomp::CHECKS),
        "09-user-namespace" => Ok(user_namespace::CHECKS),
        "10-runtime" => Ok(runtime::CHECKS),
        _ => bail!("nobody grades the lab {name}"),
    }
}

/// A command runs, and nothing is left of it.
fn runs(bench: &Bench) -> Verdict {
    runs_with(bench, &[])
}

fn runs_with(bench: &Bench, options: &[&str]) -> Verdict {
    let ran = bench.run_with(options, &["/bin/true"])?;
    if ran.code() != Some(0) {
        let seen = match ran.new_mounts() {
            new if new.is_empty() => ran.seen(),
            new => format!("{}\nand on the host, new mounts: {}", ran.seen(), new.join(", ")),
        };
        return Failure::verdict(&ran.command, "exit code 0", seen);
    }
    if ran.left > 0 {
        return Failure::verdict(&ran.command, "no process is left", format!("left running: {}", ran.left));
    }
    Ok(())
}

/// The exit code is the command's.
fn exit_code(bench: &Bench) -> Verdict {
    exit_code_with(bench, &[])
}

fn exit_code_with(bench: &Bench, options: &[&str]) -> Verdict {
    let ran = bench.run_with(options, &["/bin/sh", "-c", "exit 42"])?;
    if ran.code() == Some(42) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 42", ran.seen()) }
}

/// Puts the program [`call::NAME`], which is the attacker under another name, into the root, and returns its path.
fn install_caller(bench: &Bench) -> Result<PathBuf> {
    let programs = bench.root().join("bin");
    let program = programs.join(call::NAME);
    if !program.exists() {
        fs::hard_link(programs.join(escape::NAME), &program).context("cannot make a link")?;
    }
    Ok(program)
}
