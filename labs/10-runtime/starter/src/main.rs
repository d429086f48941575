//! `box --root DIRECTORY COMMAND`: containers in two halves, as the Open Container Initiative has them. What one command
//! knows, the next one reads from DIRECTORY.
//!
//! | command | what it does |
//! |---|---|
//! | `create BUNDLE ID` | makes the container; its program does not run yet |
//! | `start ID` | runs the program |
//! | `state ID` | prints what the container is doing |
//! | `kill ID SIGNAL` | sends a signal to its process |
//! | `delete ID` | removes what is known about it |
//!
//! Nothing is to be written here; `container.rs` has the gaps.

mod config;
// Not all of it is used before the gaps are filled.
#[allow(dead_code)]
mod container;
#[allow(dead_code)]
mod process;
#[allow(dead_code)]
mod program;
#[allow(dead_code)]
mod record;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Config;
use nix::sys::signal::Signal;
use record::Record;

const USAGE: &str =
    "usage: box --root DIRECTORY create BUNDLE ID | start ID | state ID | kill ID SIGNAL | delete ID";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["--root", root, command @ ..] = arguments.as_slice() else { return report(USAGE) };
    let root = Path::new(root);
    let done = match command {
        ["create", bundle, id] => create(root, Path::new(bundle), id),
        ["start", id] => known(root, id).and_then(|folder| say("start", container::start(&folder))),
        ["state", id] => state(root, id),
        ["kill", id, signal] => kill(root, id, signal),
        ["delete", id] => known(root, id).and_then(|folder| say("delete", container::delete(&folder))),
        _ => Err(USAGE.into()),
    };
    done.map_or_else(|error| report(&error), |()| ExitCode::SUCCESS)
}

fn create(root: &Path, bundle: &Path, id: &str) -> Result<(), String> {
    let folder = folder(root, id)?;
    let bundle = fs::canonicalize(bundle).map_err(|error| format!("{}: {error}", bundle.display()))?;
    let config = Config::read(&bundle)?;
    fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
    say("create", container::create(&folder, &bundle, &config))
}

fn state(root: &Path, id: &str) -> Result<(), String> {
    let folder = known(root, id)?;
    let status = container::status(&folder).map_err(|error| format!("status: {error}"))?;
    let Record { pid, bundle, .. } =
        record::read(&folder).map_err(|error| error.to_string())?.unwrap_or_default();
    let state = serde_json::json!({
        "ociVersion": "1.2.0",
        "id": id,
        "status": status.to_string(),
        "pid": pid,
        "bundle": bundle,
    });
    println!("{state:#}");
    Ok(())
}

fn kill(root: &Path, id: &str, signal: &str) -> Result<(), String> {
    let folder = known(root, id)?;
    let signal: Signal = format!("SIG{signal}").parse().map_err(|_| format!("{signal} is no signal"))?;
    say("kill", container::kill(&folder, signal))
}

/// The folder of the container `id`, which is to be the name of a file.
fn folder(root: &Path, id: &str) -> Result<PathBuf, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if id.is_empty() || !id.chars().all(plain) {
        return Err(format!("{id:?} is no name: use letters, digits and -"));
    }
    Ok(root.join(id))
}

/// Likewise, if there is such a container.
fn known(root: &Path, id: &str) -> Result<PathBuf, String> {
    let folder = folder(root, id)?;
    if folder.exists() { Ok(folder) } else { Err(format!("there is no container {id}")) }
}

fn say(function: &str, done: std::io::Result<()>) -> Result<(), String> {
    done.map_err(|error| format!("{function}: {error}"))
}

fn report(error: &str) -> ExitCode {
    eprintln!("box: {error}");
    ExitCode::FAILURE
}
