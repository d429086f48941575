//! Root, for a learner who is an ordinary user.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::Lab;

/// Has `program` checked by this program, started once more as root. What was built before belongs to the learner. Returns
/// whether all is well.
pub fn check(lab: &Lab, folder: &Path, program: &Path) -> Result<bool> {
    let this = std::env::current_exe().context("cannot find this program")?;
    // The prompt is seen by those who have to type something.
    let prompt = "The grader makes mounts and namespaces, which only root may do. [sudo] password for %p: ";
    let mut sudo = Command::new("sudo");
    sudo.args(["-E", "-p", prompt]);
    // What is set-user-ID, as sudo, loses this one on its way.
    if let Some(place) = std::env::var_os("TMPDIR") {
        let mut word = OsString::from("TMPDIR=");
        word.push(place);
        sudo.arg("env").arg(word);
    }
    sudo.arg(this).arg("--folder").arg(folder);
    sudo.args(["check", &lab.name, "--program"]).arg(program);
    Ok(sudo.status().context("cannot run sudo")?.success())
}
