//! What is asked before much is removed.

use std::io::Write;

use mini_docker::{Error, Result};

/// Warns, and asks whether to go on.
pub(crate) fn given(warning: &str) -> Result<bool> {
    print!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    std::io::stdout()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|error| Error::kernel("ask", error))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
