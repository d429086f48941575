//! `cargo xtask demo`: from a fresh clone to a container, without a network.

use std::process::Command;

use anyhow::Result;

use crate::command;

/// Builds the engine, and runs the image that it is itself.
pub(crate) fn run() -> Result<()> {
    let engine = command::build("mini-docker", "mini-docker", true)?;
    // Containers need root; building does not.
    let mut run = if nix::unistd::geteuid().is_root() {
        Command::new(engine)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(engine);
        sudo
    };
    command::run(run.args(["run", "--rm", "hello"]))
}
