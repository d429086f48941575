//! `cargo xtask bench`: how long things take here, and how long others take for the same.
//!
//! | module | what it holds |
//! |---|---|
//! | [`start`] | the start of a container, against other engines and a floor |
//! | [`pull`] | from a registry to an unpacked image |
//! | [`net`] | what the network carries |
//! | [`scale`] | what one more container costs when there are many |
//! | [`measure`] | interleaved rounds, medians, and the table |
//! | [`podman`] | podman, kept to the benchmark's own folders and cgroups |
//! | [`workplace`] | a place that is the same for all, and that nothing outlives |

mod measure;
mod net;
mod podman;
mod pull;
mod scale;
mod start;
mod workplace;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::{command, leaks};
use measure::Contender;

/// What `bench` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Start a container that does nothing, wait for its end, and remove it
    Start(Settings),
    /// Pull a Debian image from a registry on this machine, and unpack it
    Pull(Settings),
    /// Send over TCP, through a published port and between two containers
    Net(Settings),
    /// Start and remove many idle containers, and look at what they cost
    Scale(Settings),
}

/// How to measure.
#[derive(Args)]
struct Settings {
    /// How often each contender runs
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Work on the disk that this directory is on, rather than in memory
    #[arg(long, value_name = "DIRECTORY")]
    on: Option<PathBuf>,
}

impl Options {
    /// Measures, and prints a table.
    pub(crate) fn run(&self) -> Result<()> {
        let measured = match &self.what {
            What::Start(settings) => start::run(settings),
            What::Pull(settings) => pull::run(settings),
            What::Net(settings) => net::run(settings),
            What::Scale(settings) => scale::run(settings),
        };
        measured.and(leaks::remove_engine_cgroups())
    }
}

/// Builds a program of this workspace, and installs it as anybody would: a copy. What a linker has just written lies in
/// the page cache in small pieces, and is slower to start.
fn install(package: &str, program: &str) -> Result<PathBuf> {
    let built = command::build(package, program, true)?;
    let folder = built.with_file_name("bench");
    let installed = folder.join(program);
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(&built, &installed))
        .with_context(|| format!("cannot install {}", installed.display()))?;
    Ok(installed)
}

/// Fails unless the programs without which there is nothing to measure are installed.
fn require(programs: &[&str]) -> Result<()> {
    match programs.iter().find(|program| command::find(program).is_none()) {
        Some(missing) => bail!("{missing} is not installed: run `cargo xtask setup --bench`"),
        None => Ok(()),
    }
}

/// mini-docker with folders of its own in the workplace.
fn mini_docker(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("MINI_DOCKER_DATA_ROOT", folder.join("data"));
    command.env("MINI_DOCKER_EXEC_ROOT", folder.join("exec"));
    command
}

/// Fails if docker is installed but has no daemon.
fn require_docker() -> Result<()> {
    let asked = command::output(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]));
    if asked.is_err() {
        bail!("its daemon does not answer");
    }
    Ok(())
}

/// An image in the docker daemon's store, which is not ours to leave things in. Dropped, it is removed.
struct DockerImage(String);

impl Drop for DockerImage {
    fn drop(&mut self) {
        if let Err(error) = command::output(Command::new("docker").args(["rmi", "--force", &self.0])) {
            eprintln!("{error:#}");
        }
    }
}

/// Contenders, and those that are left out with the reason.
struct Field {
    contenders: Vec<Contender>,
    absent: Vec<String>,
}

impl Field {
    fn new() -> Self {
        Self { contenders: Vec::new(), absent: Vec::new() }
    }

    /// Adds what `prepare` returns, or notes why it cannot take part. Each contender runs once for that.
    fn enter(&mut self, name: &'static str, programs: &[&str], prepare: impl FnOnce() -> Result<Contender>) {
        self.enter_all(name, programs, || Ok(vec![prepare()?]));
    }

    /// The same for several that come or stay away together.
    fn enter_all(
        &mut self,
        name: &'static str,
        programs: &[&str],
        prepare: impl FnOnce() -> Result<Vec<Contender>>,
    ) {
        if let Some(missing) = programs.iter().find(|program| command::find(program).is_none()) {
            self.absent.push(format!("{name}: {missing} is not installed"));
            return;
        }
        let tried = prepare().and_then(|mut contenders| {
            contenders.iter_mut().try_for_each(|contender| contender.once().map(drop)).map(|()| contenders)
        });
        match tried {
            Ok(contenders) => self.contenders.extend(contenders),
            Err(error) => self.absent.push(format!("{name}: {error:#}")),
        }
    }

    /// Prints what a reader must know about the table that follows: `remarks`, and who is missing.
    fn introduce(&self, remarks: &[String]) {
        for remark in remarks {
            println!("{remark}");
        }
        for absent in &self.absent {
            println!("Left out: {absent}.");
        }
        println!();
    }
}
