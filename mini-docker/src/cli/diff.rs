//! `diff`: what a container changed of its image's files.

use clap::Args;
use mini_docker::{Engine, Result};

/// What `diff` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// An ID or a name
    container: String,
}

impl Options {
    /// Prints a line for each change: A for what is new, C for what is different, D for what is gone.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, false);
        for change in engine.changes(&engine.containers().find(&self.container)?)? {
            println!("{change}");
        }
        Ok(0)
    }
}
