//! Cargo's settings in the learner's folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab;

/// How our settings begin. Others are left alone.
const OURS: &str = "# Written by cargo lab.\n";

/// Whether `folder` has settings of ours.
pub fn are_in(folder: &Path) -> bool {
    fs::read_to_string(file(folder)).is_ok_and(|text| text.starts_with(OURS))
}

fn file(folder: &Path) -> PathBuf {
    folder.join(".cargo/config.toml")
}

/// Has `cargo build` in `folder` put programs into its `target`, where the check does, and `cargo lab` work there, too.
/// Returns the folder of the settings.
pub fn write(folder: &Path, target: &str) -> Result<PathBuf> {
    let (file, within) = (file(folder), folder.join(".cargo"));
    if !file.exists() || are_in(folder) {
        let text = format!("{OURS}\n[build]\ntarget-dir = \"{target}\"\n{}", aliases(folder)?);
        fs::create_dir_all(&within)
            .and_then(|()| fs::write(&file, text))
            .context("cannot write cargo's settings")?;
    }
    Ok(within)
}

/// What runs the repository's programs from `folder`, as it is run in the repository.
fn aliases(folder: &Path) -> Result<String> {
    let repository = lab::repository();
    let this = std::env::current_exe().context("cannot find this program")?;
    // TARGET/PLATFORM/PROFILE/lab
    let built = this.ancestors().nth(3).context("this program is not in a target directory")?;
    // An alias is split at blanks, and one that is a list is appended to the repository's own.
    let is_plain = |path: &Path| !path.to_string_lossy().contains(|c: char| c.is_whitespace() || c == '"');
    if !is_plain(repository) || !is_plain(built) {
        return Ok(String::new());
    }
    // Below the repository, cargo finds its settings by itself; twice, its flags would be others, and all be built anew.
    let settings = if folder.starts_with(repository) {
        String::new()
    } else {
        format!(" --config {}", repository.join(".cargo/config.toml").display())
    };
    let run = |manifest: &str| {
        let manifest = repository.join(manifest);
        format!(
            "run --quiet{settings} --target-dir {} --manifest-path {} --",
            built.display(),
            manifest.display()
        )
    };
    let (lab, xtask) = (run("labs/Cargo.toml"), run("xtask/Cargo.toml"));
    Ok(format!("\n[alias]\nlab = \"{lab}\"\nxtask = \"{xtask}\"\n"))
}
