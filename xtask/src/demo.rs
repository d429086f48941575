//! `cargo xtask demo`: from a fresh clone to a container, without a network.

use anyhow::Result;

use crate::command;

/// Builds the engine, and runs the image that it is itself.
pub(crate) fn run() -> Result<()> {
    let engine = command::build("mini-docker", "mini-docker", true)?;
    command::run(command::as_root(engine).args(["run", "--rm", "hello"]))
}
