//! `kill`: send containers a signal.

use clap::Args;
use mini_docker::{Engine, Error, Result, signals};

use super::for_each;

/// What `kill` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Signals the containers; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let signal = signals::parse(&self.signal)?;
        Ok(for_each(&self.containers, |name| {
            let container = engine.containers().find(name)?;
            engine
                .kill(&container, signal)
                .map_err(|error| Error::new(format!("cannot kill container: {name}: {error}")))?;
            Ok(name.to_owned())
        }))
    }
}
