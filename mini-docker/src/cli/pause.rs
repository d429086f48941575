//! `pause` and `unpause`: freeze containers' processes, and let them go on.

use clap::Args;
use mini_docker::Engine;

use super::for_each;

/// What both take.
#[derive(Args)]
pub(crate) struct Options {
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Freezes the containers, or lets them go on; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine, frozen: bool) -> u8 {
        for_each(&self.containers, |name| {
            engine.freeze(&engine.containers().find(name)?, frozen)?;
            Ok(name.to_owned())
        })
    }
}
