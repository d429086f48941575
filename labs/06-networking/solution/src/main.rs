//! `box PORT:PORT ROOTFS COMMAND [ARGUMENT...]`: runs a command with a network of its own. The first port is the host's,
//! and leads to the second, which is the command's. For instance `box 8080:80 root httpd -f -h /etc`.
//!
//! Nothing is to be written here; `network.rs` has the gaps.

// Not all of it is used before the gaps are filled.
#[allow(dead_code)]
mod netlink;
#[allow(dead_code)]
mod network;
#[allow(dead_code)]
mod nft;
mod process;
mod root;

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use netlink::Socket;
use nix::unistd::{ForkResult, Pid, fork};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ports, rootfs, command @ ..] = arguments.as_slice() else {
        eprintln!("usage: box PORT:PORT ROOTFS COMMAND [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let ran = parse(ports).and_then(|(from, to)| run(from, to, Path::new(rootfs), command));
    ExitCode::from(ran.unwrap_or_else(report))
}

fn parse(ports: &str) -> Result<(u16, u16), String> {
    let numbers = ports.split_once(':').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    numbers.ok_or_else(|| format!("{ports} are no two ports: box 8080:80 ROOTFS COMMAND"))
}

/// Starts a process, makes its network, lets it go on, and removes what was made, whatever happened.
fn run(from: u16, to: u16, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    let host = Socket::open().map_err(|error| format!("a socket: {error}"))?;
    if host.has("box0") {
        // What is another's is not ours to remove.
        return Err(
            "box0 is there: another box runs, or has left it (ip link delete box0; nft delete table ip box)"
                .into(),
        );
    }
    let (ready, go) = pipe().map_err(|error| format!("pipe: {error}"))?;
    let Some(first) = process::spawn().map_err(|error| format!("spawn: {error}"))? else {
        drop(go);
        std::process::exit(be_first(ready, rootfs, command).unwrap_or_else(report).into());
    };
    drop(ready);
    let connected = connect(&host, first, from, to, go);
    let ended = process::wait_for(first).map_err(|error| format!("wait_for: {error}"));
    let removed = network::remove(&host).map_err(|error| format!("remove: {error}"));
    connected?;
    removed?;
    ended
}

/// Makes the network of the process `first`, and tells it so. If that fails, it is told nothing, and ends.
fn connect(host: &Socket, first: Pid, from: u16, to: u16, mut go: PipeWriter) -> Result<(), String> {
    let inside = Socket::open_in(first).map_err(|error| format!("a socket inside: {error}"))?;
    network::make_bridge(host).map_err(|error| format!("make_bridge: {error}"))?;
    network::plug_in(host, first).map_err(|error| format!("plug_in: {error}"))?;
    network::furnish(&inside).map_err(|error| format!("furnish: {error}"))?;
    network::lead_out().map_err(|error| format!("lead_out: {error}"))?;
    network::publish(from, to).map_err(|error| format!("publish: {error}"))?;
    go.write_all(&[1]).map_err(|error| format!("cannot let it go on: {error}"))
}

/// Process 1: waits for its network, and then does as in lab 2.
fn be_first(mut ready: PipeReader, rootfs: &Path, command: &[String]) -> Result<u8, String> {
    if ready.read_exact(&mut [0]).is_err() {
        // Why not is told by whoever should have made the network.
        return Ok(125);
    }
    process::name_host("box").map_err(|error| format!("name_host: {error}"))?;
    root::enter(rootfs).map_err(|error| format!("the root: {error}"))?;
    // SAFETY: this process has one thread, so that its child can do whatever it could.
    match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
        ForkResult::Parent { child } => process::attend(child).map_err(|error| format!("attend: {error}")),
        ForkResult::Child => std::process::exit(become_command(command).into()),
    }
}

fn become_command(command: &[String]) -> u8 {
    let [program, arguments @ ..] = command else { return report("no command".into()) };
    // exec does not return, unless it fails.
    report(format!("cannot run {program}: {}", Command::new(program).args(arguments).exec()))
}

fn report(error: String) -> u8 {
    eprintln!("box: {error}");
    125
}
