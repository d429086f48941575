//! `stop`: ask containers to end, and make them if they do not.

use clap::Args;
use mini_docker::{Engine, Result, signals};

use super::for_each;

/// What `stop` takes.
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
    /// Stops the containers; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let signal = self.signal.as_deref().map(signals::parse).transpose()?;
        Ok(for_each(&self.containers, |name| {
            engine.stop(&engine.containers().find(name)?, signal, self.timeout)?;
            Ok(name.to_owned())
        }))
    }
}
