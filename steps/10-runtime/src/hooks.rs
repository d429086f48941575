//! Programs of others that are run on a container's way (runtime-spec, `config.md`, "POSIX-platform Hooks").
//!
//! Each gets the container's state as JSON on its standard input. When one fails, what was under way fails; only after
//! the start and after the end is that no more than a warning.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use serde::Serialize;

use crate::error::{Error, Result};

pub use crate::config::Hook;

/// The hooks of a container, in the order of their points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Outside, when the namespaces are there and before the change of root. Its older name is `prestart`, and those
    /// come first.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the change of root.
    pub create_container: Vec<Hook>,
    /// In the container, before its program.
    pub start_container: Vec<Hook>,
    /// Outside, after the start.
    pub poststart: Vec<Hook>,
    /// Outside, after the removal.
    pub poststop: Vec<Hook>,
}

/// How much of a hook's complaints is passed on, in bytes.
const MAX_ERRORS: u64 = 4096;

/// What hooks are told about a container, and `state` prints (runtime-spec, `runtime.md`, "State").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// What its config notes.
    pub annotations: BTreeMap<String, String>,
}

/// The version of the runtime specification that is served.
pub const OCI_VERSION: &str = "1.2.0";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    pid: i32,
    bundle: &'a PathBuf,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Subject {
    /// The state as JSON, for a container that is `status`, with the first process `pid`.
    pub fn state(&self, status: &str, pid: i32) -> String {
        let Self { id, bundle, annotations } = self;
        let state = State { oci_version: OCI_VERSION, id, status, pid, bundle, annotations };
        serde_json::to_string(&state).expect("texts and numbers are always JSON")
    }
}

/// Runs the hooks of one `point`, one after another, until one fails.
///
/// # Errors
/// A hook that does not start, ends with another code than 0, or takes longer than it may.
pub fn run(point: &str, hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| {
        tracing::info!("hook {point}: {}", hook.path.display());
        call(hook, state).map_err(|reason| {
            Error::new(format!("hooks.{point}[{number}]: {} {reason}", hook.path.display()))
        })
    })
}

/// Likewise, where a failure is no more than a warning: all are run.
pub fn run_all(point: &str, hooks: &[Hook], state: &str) {
    for hook in hooks {
        if let Err(error) = run(point, std::slice::from_ref(hook), state) {
            tracing::warn!("{error}");
        }
    }
}

fn call(hook: &Hook, state: &str) -> Result<(), String> {
    let mut command = Command::new(&hook.path);
    let (name, arguments) = match hook.args.split_first() {
        Some((name, arguments)) => (name.as_str(), arguments),
        None => ("", [].as_slice()),
    };
    if !name.is_empty() {
        command.arg0(name);
    }
    let input = input(state).map_err(|error| format!("cannot be told the state: {error}"))?;
    let (errors, mut said) = errors().map_err(|error| format!("cannot be listened to: {error}"))?;
    command.args(arguments).env_clear().stdin(input).stdout(Stdio::null()).stderr(errors);
    command.envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let status =
        match hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|&seconds| seconds > 0) {
            Some(seconds) => wait(&mut child, Duration::from_secs(seconds))
                .ok_or_else(|| format!("did not end within {seconds} s, and was killed"))?,
            None => child.wait(),
        };
    let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let heard = said.rewind().and_then(|()| said.take(MAX_ERRORS).read_to_end(&mut text));
    let said = heard.map_or(String::new(), |_| String::from_utf8_lossy(&text).trim().replace('\n', "; "));
    Err(if said.is_empty() { format!("failed: {status}") } else { format!("failed: {status}: {said}") })
}

/// A file for a hook's complaints, and the same to read them. A pipe that is not read is full some day, and one that is
/// read to its end waits for whatever the hook has left running.
fn errors() -> std::io::Result<(File, File)> {
    let file = File::from(rustix::fs::memfd_create("errors", MemfdFlags::CLOEXEC)?);
    Ok((file.try_clone()?, file))
}

/// The state as a file to read. A pipe would do for those that read it to the end; one that nobody reads is
/// an error, and in one that is read late there may not be room.
fn input(state: &str) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Waits for `child`, and kills it when its time is over.
fn wait(child: &mut Child, patience: Duration) -> Option<std::io::Result<std::process::ExitStatus>> {
    let begin = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
            Ok(None) if begin.elapsed() > patience => {
                // It may have ended in this very moment; then there is nothing to kill.
                if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
                    tracing::info!("a hook could not be killed: {error}");
                }
                return None;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
