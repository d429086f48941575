//! `start`: start containers that do not run.

use clap::Args;
use mini_docker::attach::{self, DetachKeys, Session};
use mini_docker::{Engine, Error, Result, terminal};
use runtime::own_program;

use super::{for_each, report};

/// What `start` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Show the container's output, and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value_t)]
    detach_keys: DetachKeys,
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Starts the containers, and prints each as it was given; the one that is attached to is shown instead.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        own_program::run_read_only()?;
        super::sweep(engine, true);
        if self.attach || self.interactive {
            return self.attached(engine);
        }
        Ok(for_each(&self.containers, |name| {
            if let Some(created) = engine.take_up(&engine.containers().find(name)?)? {
                attach::await_start(&mut engine.start(created, false, None)?)?;
            }
            Ok(name.to_owned())
        }))
    }

    fn attached(self, engine: &Engine) -> Result<u8> {
        let [name] = self.containers.as_slice() else {
            return Err(Error::new("you cannot start and attach multiple containers at once"));
        };
        let container = engine.containers().find(name)?;
        let config = &container.config;
        let session = Session {
            stdin: self.interactive && config.open_stdin,
            stdout: true,
            stderr: true,
            tty: config.tty,
            sig_proxy: true,
            detach_keys: self.detach_keys,
        };
        session.require_terminal()?;
        let signals = session.take_signals()?;
        let Some(created) = engine.take_up(&container)? else {
            return super::attach::converse(&session, engine.attach(&container)?, &signals, Vec::new());
        };
        created.warnings().iter().for_each(|warning| eprintln!("WARNING: {warning}"));
        let size = terminal::size(&std::io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let mut connection = engine.start(created, true, size)?;
        match attach::await_start(&mut connection) {
            Ok(early) => super::attach::converse(&session, connection, &signals, early),
            Err(error) => {
                report(&error);
                // As it is with Docker's, whatever the reason.
                Ok(1)
            }
        }
    }
}
