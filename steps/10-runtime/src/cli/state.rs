//! `state`: what a container is doing, as the specification writes it.

use clap::Args;
use runtime::{Container, Result, Status};

use super::Global;

/// Print a container's state as JSON
#[derive(Args)]
pub(crate) struct State {
    /// Its name
    id: String,
}

impl State {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let container = Container::open(&global.folder()?, &self.id)?;
        let status = container.status()?;
        let pid = if status == Status::Stopped { 0 } else { container.record.pid };
        let state = container.subject().state(&status.to_string(), pid);
        let mut state: serde_json::Value = serde_json::from_str(&state).expect("it was just written");
        // Beyond the specification, and what engines read: when it was made.
        state["created"] = container.record.created.into();
        println!("{state:#}");
        Ok(())
    }
}
