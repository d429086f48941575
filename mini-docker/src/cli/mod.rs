//! The command line: one file per subcommand, all of one shape. An `Options` is what clap reads, and its `run`
//! does it and returns the exit code.

mod attach;
mod boot;
mod commit;
mod confirmation;
mod cp;
mod create;
mod diff;
mod doctor;
mod events;
mod exec;
mod explain;
mod export;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod logs;
mod network;
mod options;
mod output;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod settings;
mod start;
mod stats;
mod stop;
mod system;
mod top;
mod update;
mod version;
mod volume;
mod wait;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use mini_docker::rootless::Rootless;
use mini_docker::{Engine, Error, Folders, Result, engine};
use runtime::lazy::Lazy;

/// Environment variables for the folders.
const DATA_ROOT: &str = "MINI_DOCKER_DATA_ROOT";
const EXEC_ROOT: &str = "MINI_DOCKER_EXEC_ROOT";
/// The same for the user whose ids containers have.
const USERNS_REMAP: &str = "MINI_DOCKER_USERNS_REMAP";

/// A daemonless container engine with Docker's command line
#[derive(Parser)]
#[command(
    name = "mini-docker",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Where images, containers and volumes are kept
    #[arg(long, env = DATA_ROOT, value_name = "DIRECTORY", hide_env_values = true)]
    data_root: Option<PathBuf>,
    /// Where sockets of running containers are kept
    #[arg(long, env = EXEC_ROOT, value_name = "DIRECTORY", hide_env_values = true)]
    exec_root: Option<PathBuf>,
    /// Give containers the subordinate user ids of this user, so that their root is not the host's
    #[arg(long, env = USERNS_REMAP, value_name = "default|USER[:GROUP]", hide_env_values = true)]
    userns_remap: Option<String>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

/// The short spellings, and the groups that hold the long ones.
#[derive(Subcommand)]
enum Command {
    /// Create and run a new container from an image
    Run(Lazy<Box<run::Options>>),
    /// Create a new container from an image
    Create(Lazy<Box<create::Options>>),
    /// Start one or more stopped containers
    Start(Lazy<start::Options>),
    /// Connect one's streams to a running container
    Attach(Lazy<attach::Options>),
    /// Run a command in a running container
    Exec(Lazy<exec::Options>),
    /// Download an image from a registry
    Pull(Lazy<pull::Options>),
    /// Make an image from an archive of a root file system
    Import(Lazy<import::Options>),
    /// Stop one or more running containers
    Stop(Lazy<stop::Options>),
    /// Restart one or more containers
    Restart(Lazy<restart::Options>),
    /// Kill one or more running containers
    Kill(Lazy<kill::Options>),
    /// Freeze all processes in one or more containers
    Pause(Lazy<pause::Options>),
    /// Let the processes of one or more containers go on
    Unpause(Lazy<pause::Options>),
    /// Copy files between a container and the host
    Cp(Lazy<cp::Options>),
    /// Show what a container changed of its image's files
    Diff(Lazy<diff::Options>),
    /// Make an image of what a container changed
    Commit(Lazy<commit::Options>),
    /// Write a container's files as a tar
    Export(Lazy<export::Options>),
    /// Wait until one or more containers end, and print their exit codes
    Wait(Lazy<wait::Options>),
    /// Rename a container
    Rename(Lazy<rename::Options>),
    /// Change what one or more containers may use
    Update(Lazy<update::Options>),
    /// Remove one or more containers
    Rm(Lazy<rm::Options>),
    /// Remove one or more images
    Rmi(Lazy<rmi::Options>),
    /// List containers
    Ps(Lazy<ps::Options>),
    /// List images
    Images(Lazy<images::Options>),
    /// Fetch the logs of a container
    Logs(Lazy<logs::Options>),
    /// Show the processes of a container
    Top(Lazy<top::Options>),
    /// Show what containers use, as it changes
    Stats(Lazy<stats::Options>),
    /// Return low-level information on objects
    Inspect(Lazy<inspect::Options>),
    /// Show what happens, as it happens
    Events(Lazy<events::Options>),
    /// Show the version
    Version(Lazy<version::Options>),
    /// Show facts about this host and what is kept on it
    Info(Lazy<info::Options>),
    /// Show a running container, part by part, beside the host
    Explain(Lazy<explain::Options>),
    /// Say what this host can do, and what to do about the rest
    Doctor,
    /// Manage containers
    #[command(subcommand, arg_required_else_help = true)]
    Container(Lazy<Container>),
    /// List port mappings or a specific mapping for the container
    Port(Lazy<port::Options>),
    /// Manage images
    #[command(subcommand, arg_required_else_help = true)]
    Image(Lazy<Image>),
    /// Manage networks
    #[command(subcommand, arg_required_else_help = true)]
    Network(Lazy<network::Command>),
    /// Manage all that is kept
    #[command(subcommand, arg_required_else_help = true)]
    System(Lazy<system::Command>),
    /// Manage volumes
    #[command(subcommand, arg_required_else_help = true)]
    Volume(Lazy<volume::Command>),
}

#[derive(Subcommand)]
enum Container {
    /// Create and run a new container from an image
    Run(Lazy<Box<run::Options>>),
    /// Create a new container from an image
    Create(Lazy<Box<create::Options>>),
    /// Start one or more stopped containers
    Start(Lazy<start::Options>),
    /// Connect one's streams to a running container
    Attach(Lazy<attach::Options>),
    /// Run a command in a running container
    Exec(Lazy<exec::Options>),
    /// Stop one or more running containers
    Stop(Lazy<stop::Options>),
    /// Restart one or more containers
    Restart(Lazy<restart::Options>),
    /// Kill one or more running containers
    Kill(Lazy<kill::Options>),
    /// Freeze all processes in one or more containers
    Pause(Lazy<pause::Options>),
    /// Let the processes of one or more containers go on
    Unpause(Lazy<pause::Options>),
    /// Copy files between a container and the host
    Cp(Lazy<cp::Options>),
    /// Show what a container changed of its image's files
    Diff(Lazy<diff::Options>),
    /// Make an image of what a container changed
    Commit(Lazy<commit::Options>),
    /// Write a container's files as a tar
    Export(Lazy<export::Options>),
    /// Wait until one or more containers end, and print their exit codes
    Wait(Lazy<wait::Options>),
    /// Rename a container
    Rename(Lazy<rename::Options>),
    /// Change what one or more containers may use
    Update(Lazy<update::Options>),
    /// Remove one or more containers
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Options>),
    /// Remove all stopped containers
    Prune(Lazy<prune::Containers>),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(Lazy<ps::Options>),
    /// Fetch the logs of a container
    Logs(Lazy<logs::Options>),
    /// Show the processes of a container
    Top(Lazy<top::Options>),
    /// Show what containers use, as it changes
    Stats(Lazy<stats::Options>),
    /// Display detailed information on one or more containers
    Inspect(Lazy<inspect::Options>),
    /// List port mappings or a specific mapping for the container
    Port(Lazy<port::Options>),
}

#[derive(Subcommand)]
enum Image {
    /// Download an image from a registry
    Pull(Lazy<pull::Options>),
    /// Make an image from an archive of a root file system
    Import(Lazy<import::Options>),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(Lazy<rmi::Options>),
    /// Remove images that no container was made of
    Prune(Lazy<prune::Images>),
    /// List images
    #[command(visible_alias = "list")]
    Ls(Lazy<images::Options>),
    /// Display detailed information on one or more images
    Inspect(Lazy<inspect::Options>),
}

impl Cli {
    /// Reads the command line.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut words = std::env::args_os().skip(1);
        if words.next().is_some_and(|word| word == "run") {
            // Building the options of all commands takes longer than making a container's mounts, so the one that is called
            // most is read without the others.
            let folder = |name| std::env::var_os(name).map(PathBuf::from);
            let (data_root, exec_root) = (folder(DATA_ROOT), folder(EXEC_ROOT));
            // A name that is no text is nobody's, and is refused as such: it must not mean that there is none.
            let userns_remap = std::env::var_os(USERNS_REMAP).map(|user| user.to_string_lossy().into_owned());
            let options = run::Options::read(words.collect(), userns_remap.is_some())?;
            let command = Command::Run(Lazy(Box::new(options)));
            return Ok(Self { data_root, exec_root, userns_remap, version: None, command });
        }
        Self::try_parse()
    }

    /// Does what was asked; the exit code.
    #[expect(clippy::too_many_lines, reason = "a line or two for each command")]
    pub(crate) fn run(self) -> Result<u8> {
        let folders = self.folders()?;
        let remap = self.userns_remap.filter(|user| !user.is_empty());
        let open = || open(folders, remap);
        match self.command {
            Command::Run(Lazy(options)) | Command::Container(Lazy(Container::Run(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Create(Lazy(options)) | Command::Container(Lazy(Container::Create(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Start(Lazy(options)) | Command::Container(Lazy(Container::Start(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Attach(Lazy(options)) | Command::Container(Lazy(Container::Attach(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Exec(Lazy(options)) | Command::Container(Lazy(Container::Exec(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Restart(Lazy(options)) | Command::Container(Lazy(Container::Restart(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Pause(Lazy(options)) | Command::Container(Lazy(Container::Pause(Lazy(options)))) => {
                Ok(options.run(&open()?, true))
            }
            Command::Unpause(Lazy(options)) | Command::Container(Lazy(Container::Unpause(Lazy(options)))) => {
                Ok(options.run(&open()?, false))
            }
            Command::Diff(Lazy(options)) | Command::Container(Lazy(Container::Diff(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Commit(Lazy(options)) | Command::Container(Lazy(Container::Commit(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Export(Lazy(options)) | Command::Container(Lazy(Container::Export(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Cp(Lazy(options)) | Command::Container(Lazy(Container::Cp(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Wait(Lazy(options)) | Command::Container(Lazy(Container::Wait(Lazy(options)))) => {
                Ok(options.run(&open()?))
            }
            Command::Rename(Lazy(options)) | Command::Container(Lazy(Container::Rename(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Pull(Lazy(options)) | Command::Image(Lazy(Image::Pull(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Stop(Lazy(options)) | Command::Container(Lazy(Container::Stop(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Kill(Lazy(options)) | Command::Container(Lazy(Container::Kill(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Rm(Lazy(options)) | Command::Container(Lazy(Container::Rm(Lazy(options)))) => {
                Ok(options.run(&open()?))
            }
            Command::Import(Lazy(options)) | Command::Image(Lazy(Image::Import(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Ps(Lazy(options)) | Command::Container(Lazy(Container::Ls(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Images(Lazy(options)) | Command::Image(Lazy(Image::Ls(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Logs(Lazy(options)) | Command::Container(Lazy(Container::Logs(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Top(Lazy(options)) | Command::Container(Lazy(Container::Top(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Update(Lazy(options)) | Command::Container(Lazy(Container::Update(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Stats(Lazy(options)) | Command::Container(Lazy(Container::Stats(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Inspect(Lazy(options)) => options.run(&open()?, None),
            Command::Container(Lazy(Container::Inspect(Lazy(options)))) => {
                options.run(&open()?, Some(inspect::Kind::Container))
            }
            Command::Image(Lazy(Image::Inspect(Lazy(options)))) => {
                options.run(&open()?, Some(inspect::Kind::Image))
            }
            Command::Port(Lazy(options)) | Command::Container(Lazy(Container::Port(Lazy(options)))) => {
                options.run(&open()?)
            }
            Command::Network(Lazy(command)) => command.run(&open()?),
            Command::System(Lazy(command)) => command.run(&open()?),
            Command::Container(Lazy(Container::Prune(Lazy(options)))) => options.run(&open()?),
            Command::Image(Lazy(Image::Prune(Lazy(options)))) => options.run(&open()?),
            Command::Volume(Lazy(command)) => command.run(&open()?),
            Command::Explain(Lazy(options)) => options.run(&open()?),
            Command::Version(Lazy(options)) => options.run(),
            Command::Info(Lazy(options)) => options.run(&open()?),
            Command::Events(Lazy(options)) => options.run(&open()?),
            Command::Doctor => Ok(doctor::run()),
            Command::Rmi(Lazy(options)) | Command::Image(Lazy(Image::Rm(Lazy(options)))) => {
                Ok(options.run(&open()?))
            }
        }
    }

    /// The exit code of an error that asks for none: Docker's is 125 where it could not even try to run something.
    pub(crate) fn failure_code(&self) -> u8 {
        match self.command {
            Command::Run(_) | Command::Container(Lazy(Container::Run(_))) => 125,
            _ => 1,
        }
    }

    fn folders(&self) -> Result<Folders> {
        let default = engine::default_folders()?;
        // A shim works from the root directory: a relative path would mean another folder there.
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|error| Error::file("find", path, error));
        Ok(Folders {
            data: absolute(self.data_root.as_ref().unwrap_or(&default.data))?,
            exec: absolute(self.exec_root.as_ref().unwrap_or(&default.exec))?,
        })
    }
}

/// The engine, for whoever this user is.
fn open(folders: Folders, remap: Option<String>) -> Result<Engine> {
    if nix::unistd::geteuid().is_root() {
        return Engine::open(folders, remap, None);
    }
    if remap.is_some() {
        return Err(Error::new(
            "--userns-remap is for root: an ordinary user's containers have other ids anyway",
        ));
    }
    let rootless = Rootless::enter(&folders.exec)?;
    Engine::open(folders, None, Some(rootless))
}

/// Does something to each of several objects, and prints what `done` returns for it. One that fails is reported and
/// does not keep the others from their turn; the exit code is then 1.
fn for_each(objects: &[String], act: impl FnMut(&str) -> Result<String>) -> u8 {
    remove_each(objects, false, act)
}

/// The same, for what is to be gone afterwards: with `force`, what does not exist is reported, and no failure.
fn remove_each(objects: &[String], force: bool, mut act: impl FnMut(&str) -> Result<String>) -> u8 {
    let mut code = 0;
    for object in objects {
        match act(object) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                report(&error);
                if !(force && error.is_missing()) {
                    code = 1;
                }
            }
        }
    }
    code
}

/// With `--force`, what does not exist is no error, and everything else is.
fn forgive_missing(error: Error, force: bool) -> Result<()> {
    if force && error.is_missing() { Ok(()) } else { Err(error) }
}

/// Puts right what a crash left behind. What cannot be put right is told, and does not keep the command from its work.
fn sweep(engine: &Engine, thorough: bool) {
    for error in engine.sweep(thorough) {
        eprintln!("Warning: a container that was interrupted could not be put right: {error}");
    }
}

/// Prints an error the way every command does.
pub(crate) fn report(error: &Error) {
    eprintln!("Error: {error}");
}
