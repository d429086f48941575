//! `cargo xtask test`: everything that CI runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::mount::{MsFlags, mount};
use pid_namespace::{Namespaces, init, spawn};

use crate::leaks::{self, Snapshot};
use crate::{command, setup, vm};

/// What `test` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the tests whose names contain this; formatting, lints and the virtual machine are left out
    filter: Option<String>,
}

impl Options {
    /// Installs what is missing, checks format and lints, runs all tests in namespaces of their own, looks for what
    /// they left behind, and runs those for cgroup v2 in a virtual machine.
    pub(crate) fn run(&self) -> Result<()> {
        setup::for_tests()?;
        if self.filter.is_none() {
            command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
            let mut clippy = command::cargo();
            clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
            command::run(&mut clippy)?;
            let mut doc = command::cargo();
            doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            command::run(&mut doc)?;
        }
        // Outside, so that a failure to compile is not mistaken for a failed test.
        command::run(command::cargo().args(["test", "--workspace", "--no-run"]))?;
        command::run(command::cargo().args(["build", "--workspace"]))?;
        command::become_root("The tests make namespaces, mounts and cgroups")?;
        in_private_namespaces(|| self.all())?;
        if self.filter.is_none() {
            vm::Options::default().run()?;
        }
        Ok(())
    }

    /// The tests themselves.
    fn all(&self) -> Result<()> {
        let before = Snapshot::take()?;
        let mut cargo = command::cargo();
        cargo.args(["test", "--workspace", "--no-fail-fast"]);
        // No test may be skipped here, and a snapshot that differs is a failure.
        cargo.env("MINI_DOCKER_NO_SKIP", "1").env("INSTA_UPDATE", "no").env_remove("RUST_BACKTRACE");
        cargo.args(self.filter.iter());
        let tested = command::run(&mut cargo);
        leaks::require_no_processes()?;
        before.require_nothing_new()?;
        tested
    }
}

/// Runs `body` as the child of an init process, in new pid and mount namespaces: whatever a crashed test leaves
/// running or mounted ends with them, and nothing of it reaches the host. `/tmp` is in memory there, which is quicker
/// for the many small files of layers, and leaves no files behind either.
fn in_private_namespaces(body: impl FnOnce() -> Result<()>) -> Result<()> {
    let inside = || -> Result<u8> {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&Path>, "/", None::<&Path>, private, None::<&Path>)
            .context("cannot make mounts private")?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&Path>)
            .context("cannot mount /proc")?;
        // Unless the project itself lies there.
        let target = command::target_directory()?;
        if command::root().starts_with("/tmp") || target.starts_with("/tmp") {
            let exit = init::run(|| report(body()))?;
            return Ok(exit.code());
        }
        mount(Some("tmp"), "/tmp", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
            .context("cannot mount /tmp")?;
        let exit = init::run(|| report(body()))?;
        Ok(exit.code())
    };
    let child = spawn(Namespaces::MOUNT | Namespaces::PID, None, || {
        inside().unwrap_or_else(|error| report(Err(error)))
    })?;
    match child.wait()?.code() {
        0 => Ok(()),
        code => bail!("the tests failed (exit code {code})"),
    }
}

fn report(result: Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            1
        }
    }
}
