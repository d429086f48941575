//! `restart`: stop containers and start them again.

use clap::Args;
use mini_docker::{Engine, Result, attach, signals};
use runtime::own_program;

use super::for_each;

/// What `restart` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Signal to send in place of the container's own
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before killing the container; -1 waits for ever
    #[arg(short, long, visible_alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Restarts the containers; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        own_program::run_read_only()?;
        super::sweep(engine, true);
        let signal = self.signal.as_deref().map(signals::parse).transpose()?;
        Ok(for_each(&self.containers, |name| {
            let container = engine.containers().find(name)?;
            engine.stop(&container, signal, self.timeout)?;
            if let Some(created) = engine.take_up(&container)? {
                attach::await_start(&mut engine.start(created, false, None)?)?;
            }
            engine.tell(&container, "restart", &[]);
            Ok(name.to_owned())
        }))
    }
}
