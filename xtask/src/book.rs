//! `cargo xtask book`: builds the book, and says where its first page is.

use anyhow::Result;
use clap::Args;

use crate::command;

/// What `book` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Run what the chapters show first, as root, and write into them what differs
    #[arg(long)]
    bless: bool,
}

impl Options {
    /// Builds the book. It is a package of its own, so that nobody waits for mdbook who wants something else.
    pub(crate) fn run(&self) -> Result<()> {
        if self.bless {
            command::run(command::cargo().args(["build", "--workspace", "--bins", "--examples"]))?;
            let mut replay = command::cargo();
            replay.args(["test", "--quiet", "--package", "testbed", "--test", "book"]).env("BLESS", "1");
            command::run(&mut replay)?;
        }
        command::run(command::cargo().args(["run", "--package", "book"]))
    }
}
