//! `cargo xtask book`: builds the book, and says where its first page is.

use anyhow::Result;

use crate::command;

/// Builds the book. It is a package of its own, so that nobody waits for mdbook who wants something else.
pub(crate) fn run() -> Result<()> {
    command::run(command::cargo().args(["run", "--quiet", "--package", "book"]))
}
