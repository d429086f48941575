//! `start`: the word that a container waits for.

use clap::Args;
use runtime::{Container, Result};

use super::Global;

/// Start a container that was created
#[derive(Args)]
pub(crate) struct Start {
    /// Its name
    id: String,
}

impl Start {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        Container::open(&global.folder()?, &self.id)?.start()
    }
}
