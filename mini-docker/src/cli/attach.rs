//! `attach`: connect one's own streams to a running container's.

use clap::{ArgAction, Args};
use mini_docker::attach::{DetachKeys, Outcome, Session};
use mini_docker::wire::{Connection, Frame};
use mini_docker::{Engine, Result};
use nix::sys::signalfd::SignalFd;

/// What `attach` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Do not pass standard input on
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sig_proxy: bool,
    /// The keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value_t)]
    detach_keys: DetachKeys,
    /// ID or name
    container: String,
}

impl Options {
    /// Attaches; the exit code is the container's, or 0 if it was left running.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let container = engine.containers().find(&self.container)?;
        let session = Session {
            stdin: !self.no_stdin && container.config.open_stdin,
            stdout: true,
            stderr: true,
            tty: container.config.tty,
            sig_proxy: self.sig_proxy,
            detach_keys: self.detach_keys,
        };
        session.require_terminal()?;
        let connection = engine.attach(&container)?;
        converse(&session, connection, &session.take_signals()?, Vec::new())
    }
}

/// Shows the container until it ends or the user leaves; the exit code.
pub(super) fn converse(
    session: &Session,
    connection: Connection,
    signals: &SignalFd,
    early: Vec<Frame>,
) -> Result<u8> {
    match session.run(connection, signals, early)? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Detached => {
            eprintln!("read escape sequence");
            Ok(0)
        }
        Outcome::Left(signal) => Ok(128 + signal),
    }
}
