//! `wait`: wait until containers end.

use clap::Args;
use mini_docker::Engine;

use super::for_each;

/// What `wait` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Waits for the containers in turn; prints their exit codes.
    pub(crate) fn run(self, engine: &Engine) -> u8 {
        for_each(&self.containers, |name| Ok(engine.wait(&engine.containers().find(name)?)?.to_string()))
    }
}
