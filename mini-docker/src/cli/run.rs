//! `run`: create a container from an image, and start it.

use std::io::IsTerminal;
use std::path::Path;

use clap::{ArgAction, Args};
use image_pull::Platform;
use mini_docker::attach::{self, Outcome, Session};
use mini_docker::{Engine, Error, Result, explain, terminal};

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
    /// Tell every step that the kernel is asked for, with its time and its chapter
    #[arg(long)]
    explain: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    settings: Settings,
}

impl Options {
    /// Runs a container; the exit code is the container's, or 0 if it was left running.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        if self.explain {
            explain::begin();
        }
        if self.settings.tty && self.settings.interactive && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Error::new("the input device is not a TTY").with_exit_code(1));
        }
        let (name, _) = self.settings.image_and_command()?;
        super::sweep(engine, false);
        let hold = engine.images().hold()?;
        let image = pull::find(engine, &name, self.platform.as_ref(), self.pull, self.quiet)?;
        let session =
            Session { stdin: self.settings.interactive, tty: self.settings.tty, sig_proxy: self.sig_proxy };
        let detach = self.detach;
        let request = self.settings.request(&std::env::current_dir().map_err(here)?, !detach)?;
        let created = engine.create(&image, &hold, request)?;
        drop(hold);
        created.warnings().iter().for_each(|warning| eprintln!("WARNING: {warning}"));

        if detach {
            let id = created.container.id.clone();
            let mut connection = engine.start(created, false, None)?;
            attach::await_start(&mut connection)?;
            println!("{id}");
            return Ok(0);
        }
        let signals = attach::take_signals()?;
        let size = terminal::size(&std::io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let mut connection = engine.start(created, true, size)?;
        let early = attach::await_start(&mut connection)?;
        match session.run(connection, &signals, early)? {
            Outcome::Exited(code) => Ok(code),
            Outcome::Detached => {
                eprintln!("read escape sequence");
                Ok(0)
            }
        }
    }
}

fn here(error: std::io::Error) -> Error {
    Error::file("find", Path::new("the working directory"), error)
}
