//! Rules for packets, in the words of nft(8). Nothing is to be written here.

use std::io::{Error, Result, Write};
use std::process::{Command, Stdio};

/// Gives `rules` to the kernel, all of them or none.
pub fn run(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::new(error.kind(), format!("cannot run nft: {error}")))?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(rules.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
