//! `rename`: give a container another name.

use clap::Args;
use mini_docker::{Engine, Result};

/// What `rename` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// ID or name
    container: String,
    /// Its new name
    name: String,
}

impl Options {
    /// Renames the container.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        engine.rename(&engine.containers().find(&self.container)?, &self.name)?;
        Ok(0)
    }
}
