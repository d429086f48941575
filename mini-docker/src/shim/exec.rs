//! A process that comes later into a container: it has a small shim of its own, which is all that outlives the command.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::PollTimeout;
use pid_namespace::{Exit, Namespaces, spawn};
use runtime::Process;
use runtime::exec::{Target, exec};

use super::traffic::{Client, Traffic, forgive};
use super::{detach, farewell, release_streams, streams, title};
use crate::error::{Error, Result};
use crate::wire::{Connection, Frame};

/// What `ps` on the host shows.
const NAME: &std::ffi::CStr = c"md-exec";

/// A process that is to be started in a container.
#[derive(Debug)]
pub struct Task {
    /// The container.
    pub target: Target,
    /// Its name for people.
    pub label: String,
    /// What runs.
    pub process: Process,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it has an input.
    pub open_stdin: bool,
    /// Whose its streams are, if not the host's root's.
    pub owner: Option<(u32, u32)>,
    /// The size of the user's terminal, lines and columns, if it is to have one like it.
    pub size: Option<(u16, u16)>,
    /// Whether the command that asks for it wants the output.
    pub attached: bool,
}

/// Forks a shim that starts the process. What it has to say, beginning with [`Frame::Started`] or [`Frame::Failed`],
/// comes through the connection. `ended` is called there when the process has ended.
pub fn start(task: &Task, ended: impl FnOnce(Exit)) -> Result<Connection> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    spawn(Namespaces::NONE, None, move || match serve(task, Connection::new(theirs), ended) {
        Ok(()) => 0,
        Err(error) => {
            tracing::info!("the shim fails: {error}");
            125
        }
    })?;
    Ok(Connection::new(ours))
}

fn serve(task: &Task, mut command: Connection, ended: impl FnOnce(Exit)) -> Result<()> {
    detach(NAME, &[command.as_fd(), task.target.as_fd()])?;
    title::set(&format!("{} {}", NAME.to_string_lossy(), task.label))?;
    let mut traffic = match begin(task) {
        Ok(traffic) => traffic,
        Err(error) => {
            // What is no fault of the command is Docker's 126 too, here.
            let code = error.exit_code().filter(|code| *code != 125).unwrap_or(126);
            command.send(&Frame::Failed { code, message: error.to_string() })?;
            return command.finish();
        }
    };
    let mut command = Client::new(command, task.attached, task.open_stdin);
    command.tell(&Frame::Started);
    release_streams()?;
    traffic.clients.push(command);
    loop {
        let turn = traffic.turn(&[], PollTimeout::NONE)?;
        for (_, frame) in turn.asked {
            if let Frame::Signal(signal) = frame {
                forgive(traffic.child.signal(i32::from(signal)));
            }
        }
        traffic.forget_gone();
        if turn.ended {
            let exit = traffic.end()?;
            ended(exit);
            farewell(traffic.clients, exit.code());
            return Ok(());
        }
    }
}

fn begin(task: &Task) -> Result<Traffic> {
    let (streams, pending) = if task.tty {
        streams::terminal_pair(task.size)?
    } else {
        streams::pipes(task.open_stdin, task.owner)?
    };
    let child = exec(&task.target, &task.process, streams)?;
    match pending.take() {
        Ok(ends) => Ok(Traffic::new(child, ends, None, true)),
        Err(error) => {
            runtime::start::end(&child)?;
            Err(error)
        }
    }
}
