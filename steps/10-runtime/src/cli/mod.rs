//! The command line: runc's, as far as engines use it.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod freeze;
mod kill;
mod list;
mod log;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod terminal;
mod update;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use nix::unistd::geteuid;
use runtime::lazy::Lazy;
use runtime::state::Folder;
use runtime::{Error, Result, hooks};

/// Create and run containers as the OCI runtime specification has it.
#[derive(Parser)]
#[command(name = "runtime", version, long_version = LONG_VERSION, infer_long_args = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What engines take apart: a line for the version, and one for the specification's.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.0");

/// Options of all commands.
#[derive(clap::Args)]
pub(crate) struct Global {
    /// Where containers are known [default: /run/mini-docker-runtime, or $XDG_RUNTIME_DIR/mini-docker-runtime]
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    /// Write warnings and errors to this file too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
    /// Tell every step
    #[arg(long)]
    debug: bool,
    /// Take linux.cgroupsPath as SLICE:PREFIX:NAME; the cgroup is made where systemd would make it
    #[arg(long)]
    systemd_cgroup: bool,
    /// Ignored: who is root is looked up
    #[arg(long, value_name = "true|false|auto")]
    rootless: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Create a container, which waits for its start
    Create(Lazy<create::Create>),
    /// Start a container that was created
    Start(Lazy<start::Start>),
    /// Print a container's state as JSON
    State(Lazy<state::State>),
    /// Send a signal to a container
    Kill(Lazy<kill::Kill>),
    /// Remove a container that has ended
    Delete(Lazy<delete::Delete>),
    /// Create a container, start it, and wait for its end
    Run(Lazy<run::Run>),
    /// Run one more process in a container
    Exec(Lazy<exec::Exec>),
    /// List the processes of a container
    Ps(Lazy<ps::Ps>),
    /// Stop all processes of a container where they are
    Pause(Lazy<freeze::Pause>),
    /// Let them go on
    Resume(Lazy<freeze::Resume>),
    /// Change a container's limits
    Update(Lazy<update::Update>),
    /// Print what a container uses
    Events(Lazy<events::Events>),
    /// List containers
    List(Lazy<list::List>),
    /// Write a config.json to begin with
    Spec(Lazy<spec::Spec>),
    /// Print what this runtime can do
    Features(Lazy<features::Features>),
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Lines for people.
    Table,
    /// JSON.
    Json,
}

impl Global {
    /// Where containers are known.
    pub(crate) fn folder(&self) -> Result<Folder> {
        const NAME: &str = "mini-docker-runtime";
        let root = match &self.root {
            Some(root) => root.clone(),
            None if geteuid().is_root() => PathBuf::from("/run").join(NAME),
            None => std::env::var_os("XDG_RUNTIME_DIR")
                .map(|directory| PathBuf::from(directory).join(NAME))
                .ok_or_else(|| {
                    Error::new("cannot find a folder for containers: set XDG_RUNTIME_DIR, or use --root")
                })?,
        };
        // A folder is found again from wherever the next command is given.
        std::path::absolute(&root).map(Folder::at).map_err(|error| Error::file("find", &root, error))
    }
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        log::begin(&self.global);
        let starts = matches!(self.command, Command::Create(_) | Command::Run(_) | Command::Exec(_));
        match self.command.run(&self.global) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                log::error(&self.global, &error);
                eprintln!("Error: {error}");
                // As runc: what a program's own end says is passed on, and all else is 1.
                ExitCode::from(if starts && error.exit_code() != 125 { error.exit_code() } else { 1 })
            }
        }
    }
}

impl Command {
    fn run(self, global: &Global) -> Result<u8> {
        match self {
            Self::Create(Lazy(create)) => create.run(global).map(|()| 0),
            Self::Start(Lazy(start)) => start.run(global).map(|()| 0),
            Self::State(Lazy(state)) => state.run(global).map(|()| 0),
            Self::Kill(Lazy(kill)) => kill.run(global).map(|()| 0),
            Self::Delete(Lazy(delete)) => delete.run(global).map(|()| 0),
            Self::Run(Lazy(run)) => run.run(global),
            Self::Exec(Lazy(exec)) => exec.run(global),
            Self::Ps(Lazy(ps)) => ps.run(global).map(|()| 0),
            Self::Pause(Lazy(pause)) => pause.run(global).map(|()| 0),
            Self::Resume(Lazy(resume)) => resume.run(global).map(|()| 0),
            Self::Update(Lazy(update)) => update.run(global).map(|()| 0),
            Self::Events(Lazy(events)) => events.run(global).map(|()| 0),
            Self::List(Lazy(list)) => list.run(global).map(|()| 0),
            Self::Spec(Lazy(spec)) => spec.run().map(|()| 0),
            Self::Features(Lazy(features)) => features.run(hooks::OCI_VERSION).map(|()| 0),
        }
    }
}
