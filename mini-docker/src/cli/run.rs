//! `run`: create a container from an image, and start it.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use image_pull::Platform;
use mini_docker::attach::{self, DetachKeys, Session};
use mini_docker::container::Container;
use mini_docker::{Engine, Error, Result, engine, explain, terminal};
use nix::sys::signal::SigSet;
use runtime::network::Network;
use runtime::own_program;

use super::pull;
use super::settings::Settings;

/// What `run` takes.
#[derive(Args)]
#[command(disable_help_flag = true, about = "Create and run a new container from an image")]
pub(crate) struct Options {
    /// Run the container in the background and print its ID
    #[arg(short, long)]
    detach: bool,
    /// The platform to pull, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<Platform>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: pull::Policy,
    /// Do not print the progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sig_proxy: bool,
    /// The keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value_t)]
    detach_keys: DetachKeys,
    /// Tell every step that the kernel is asked for, with its time and its chapter
    #[arg(long)]
    explain: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    settings: Settings,
    /// What is made of the container already.
    #[arg(skip)]
    network: Option<Network>,
}

/// `mini-docker run …`, with nothing before it.
#[derive(Parser)]
#[command(name = "mini-docker run", disable_help_flag = true, no_binary_name = true)]
struct Run {
    #[command(flatten)]
    options: Options,
}

impl Options {
    /// Reads what comes after `run`.
    pub(crate) fn read(words: Vec<OsString>, remapped: bool) -> Result<Self, clap::Error> {
        // What takes longest comes first, on another processor.
        let network = if remapped || !gets_network(&words) { None } else { engine::network_ahead() };
        let mut command = Run::command();
        let mut matches = command.try_get_matches_from_mut(words)?;
        let Run { options } =
            Run::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
        Ok(Self { network, ..options })
    }

    /// Runs a container; the exit code is the container's, or 0 if it was left running.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        if self.explain || self.pull == pull::Policy::Always {
            // Told, or pulled, once, and not again from its beginning.
            own_program::run_read_only()?;
        }
        if self.explain {
            explain::begin();
        }
        let streams = self.settings.streams();
        if self.detach && self.settings.chooses_streams() {
            return Err(Error::new("conflicting options: cannot specify both --attach and --detach")
                .with_exit_code(1));
        }
        let session = Session {
            stdin: self.settings.interactive,
            stdout: streams.stdout,
            stderr: streams.stderr,
            tty: self.settings.tty,
            sig_proxy: self.sig_proxy,
            detach_keys: self.detach_keys,
        };
        if !self.detach {
            session.require_terminal()?;
        }
        let (name, _) = self.settings.image_and_command()?;
        let network = engine.make_network(self.settings.network(), self.network)?;
        super::sweep(engine, false);
        let hold = engine.images().hold()?;
        let image = pull::find(engine, &name, self.platform.as_ref(), self.pull, self.quiet)?;
        let mut id_file = self.settings.id_file()?;
        let detach = self.detach;
        let request = self.settings.request(&std::env::current_dir().map_err(here)?, !detach)?;
        let created = engine.create(&image, &hold, request)?.with_network(network);
        drop(hold);
        let (container, warnings) = (created.container.clone(), created.warnings().to_owned());

        id_file.as_mut().map_or(Ok(()), |file| file.write(&container.id))?;
        let signals = if detach { None } else { Some(session.take_signals()?) };
        let size = terminal::size(&std::io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let start = || -> Result<_> {
            let mut connection = engine.start(created, !detach, size.filter(|_| !detach))?;
            let early = attach::await_start(&mut connection)?;
            Ok((connection, early))
        };
        let started = start();
        if let Err(error) = &started
            && error.exit_code() == Some(own_program::AGAIN)
        {
            // It is made again, too.
            drop(id_file);
            return start_again(engine, &container);
        }
        if let Some(file) = id_file {
            file.keep();
        }
        warnings.iter().for_each(|warning| eprintln!("WARNING: {warning}"));
        // Also of one that did not start, which is there to be looked at.
        if detach {
            println!("{}", container.id);
        }
        let (connection, early) = started?;
        let Some(signals) = signals else { return Ok(0) };
        // Whoever sees nothing of it finds it by this.
        if !session.stdout && !session.stderr {
            println!("{}", container.id);
        }
        super::attach::converse(&session, connection, &signals, early)
    }
}

/// Whether a `run` of these words is likely to need a network namespace of its own, and not to begin once more. If not, the
/// namespace is made when the words are understood.
fn gets_network(words: &[OsString]) -> bool {
    let may_not = |word: &OsString| {
        let word = word.to_string_lossy();
        word.ends_with("host")
            || word.contains("container:")
            || word.ends_with("always")
            || word == "--explain"
    };
    !words.iter().any(may_not)
}

/// Makes this command once more, by a binary that the container cannot write to ([`own_program`]).
fn start_again(engine: &Engine, container: &Container) -> Result<u8> {
    if !container.host_config.auto_remove {
        engine.withdraw(container)?;
    }
    // Signals that have come meanwhile are for us.
    SigSet::empty().thread_set_mask().map_err(|errno| Error::kernel("unblock signals", errno))?;
    own_program::run_read_only()?;
    Err(Error::new("the container could not be started safely (this is a bug of mini-docker's)"))
}

fn here(error: std::io::Error) -> Error {
    Error::file("find", Path::new("the working directory"), error)
}
