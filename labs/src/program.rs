//! A learner's crate, built.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Builds the crate in `folder` into `target`, and returns the path of its program. What the compiler has to say goes to
/// the terminal.
pub fn build(folder: &Path, target: &Path) -> Result<PathBuf> {
    if std::io::stderr().is_terminal() {
        eprintln!("Building {} ...", folder.display());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target)
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("this does not compile yet: {}", folder.display());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    built.with_context(|| format!("{} has no program", folder.display()))
}
