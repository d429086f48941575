//! Processes that come later into a container.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use capabilities::Sets;
use nix::unistd::Pid;
use runtime::exec::Target;
use runtime::{Process, User};
use user_namespace::IdMaps;

use super::Engine;
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::names;
use crate::plan::{self, merge_environment};
use crate::shim::exec::{self, Task};
use crate::wire::Connection;

/// What the user asks for. Whatever is left empty is as it is for the container's first process.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=VALUE`, in addition to the container's.
    pub env: Vec<String>,
    /// `USER[:GROUP]`.
    pub user: Option<String>,
    /// Where it starts.
    pub working_dir: Option<PathBuf>,
    /// Whether it has all capabilities.
    pub privileged: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it has an input.
    pub stdin: bool,
    /// Whether the command shows its output, and passes input on.
    pub attached: bool,
    /// The size of the user's terminal, lines and columns, if it is to have one like it.
    pub size: Option<(u16, u16)>,
}

impl Engine {
    /// Starts a process in a running container. What its shim says comes through the connection.
    pub fn exec(&self, container: &Container, request: Request) -> Result<Connection> {
        let task = self.exec_task(container, None, request)?;
        let (id, command) = (names::random_id()?, task.process.program.args.join(" "));
        for action in ["exec_create", "exec_start"] {
            self.tell(container, &format!("{action}: {command}"), &[("execID", &id)]);
        }
        exec::start(&task, |exit| {
            self.tell(container, "exec_die", &[("execID", &id), ("exitCode", &exit.code().to_string())]);
        })
    }

    /// What is to be done for `request`, in terms of the runtime. `process` is a pidfd of the container's first process, if
    /// there is one at hand.
    pub(crate) fn exec_task(
        &self,
        container: &Container,
        process: Option<OwnedFd>,
        request: Request,
    ) -> Result<Task> {
        let not_running = || Error::new(format!("container {} is not running", container.id));
        let state = self.state(container)?;
        match state.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::new(format!(
                    "Container {} is paused, unpause the container before exec",
                    container.id
                )));
            }
            Status::Restarting => {
                return Err(Error::new(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id
                )));
            }
            Status::Created | Status::Exited => return Err(not_running()),
        }
        let launch = self.launch(container)?;
        let owner = launch.plan.maps.as_ref().map(IdMaps::root).transpose()?;
        let (pid, cgroup) = (Pid::from_raw(state.pid), launch.plan.cgroup);
        let told = launch.plan.subject.state("running", state.pid);
        let target = match process {
            Some(process) => Target::of(process, pid, cgroup, told),
            None => Target::find(pid, cgroup, told),
        }
        .map_err(|_| not_running())?;
        // Its number meant that process for as long as its shim lives, which has not yet looked at its end.
        if self.state(container)?.pid != state.pid {
            return Err(not_running());
        }
        let mut process: Process = launch.plan.process;
        if request.tty {
            merge_environment(&mut process.program.env, &[plan::TERM.to_owned()]);
        }
        merge_environment(&mut process.program.env, &request.env);
        process.program.args = request.command;
        if let Some(user) = request.user {
            let groups = container.host_config.group_add.clone();
            process.user = User::Named { user, groups };
        }
        if let Some(directory) = request.working_dir {
            process.working_dir = directory;
        }
        if request.privileged {
            process.confinement.capabilities = Sets::of_container(capabilities::assume::available()?);
        }
        Ok(Task {
            target,
            label: container.short_id().to_owned(),
            process,
            tty: request.tty,
            open_stdin: request.stdin,
            owner,
            size: request.size,
            attached: request.attached,
        })
    }
}
