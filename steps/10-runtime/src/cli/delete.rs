//! `delete`: nothing is left of a container.

use clap::Args;
use runtime::{Container, Result};

use super::Global;

/// Remove a container that has ended
#[derive(Args)]
pub(crate) struct Delete {
    /// Kill it first, if it runs; and do not mind if there is none
    #[arg(short, long)]
    force: bool,
    /// Its name
    id: String,
}

impl Delete {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        match Container::open(&global.folder()?, &self.id) {
            Ok(container) => container.delete(self.force),
            Err(error) if self.force && error.to_string().ends_with("does not exist") => Ok(()),
            Err(error) => Err(error),
        }
    }
}
