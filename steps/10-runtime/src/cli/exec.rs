//! `exec`: one more process in a container.

use std::path::PathBuf;

use capabilities::Set;
use clap::Args;
use runtime::config::Terminal;
use runtime::container::{check_descriptors, console};
use runtime::{Container, Error, Process, Result, Status, Streams, User};

use super::Global;
use super::create::write_pid;
use super::run::wait;
use super::terminal::Proxy;

/// Run one more process in a container
#[derive(Args)]
pub(crate) struct Exec {
    /// A file that describes the process, like `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(short, long)]
    detach: bool,
    /// With a terminal
    #[arg(short, long)]
    tty: bool,
    /// Where it starts
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,
    /// Add NAME=VALUE to its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Who runs it: UID[:GID]
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    user: Option<(u32, u32)>,
    /// Groups that this user is in too
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// No program can gain privileges by being executed
    #[arg(long)]
    no_new_privs: bool,
    /// Write the process's number to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// The socket that the terminal is sent through
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Hand over this many descriptors more, from 3 on
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    preserve_fds: u32,
    /// Also in a container that is paused
    #[arg(long)]
    ignore_paused: bool,
    /// The container's name
    id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) fn run(&self, global: &Global) -> Result<u8> {
        check_descriptors(self.preserve_fds)?;
        let container = Container::open(&global.folder()?, &self.id)?;
        let mut wanted = vec![Status::Created, Status::Running];
        if self.ignore_paused {
            wanted.push(Status::Paused);
        }
        container.require(&wanted, "run a process in")?;
        let (process, terminal) = self.plan(&container)?;
        let (proxy, streams) = match (&self.console_socket, terminal.wanted) {
            (Some(socket), true) => {
                (None, Streams::Terminal { socket: console(socket)?, size: terminal.size })
            }
            (Some(_), false) => return Err(Error::new("--console-socket needs a terminal: --tty")),
            (None, true) if self.detach => {
                return Err(Error::new("a terminal needs --console-socket with --detach"));
            }
            (None, true) => {
                let (proxy, streams) = Proxy::pair(terminal.size)?;
                (Some(proxy), streams)
            }
            (None, false) => (None, Streams::Inherited),
        };
        let target = container.target()?;
        let child = runtime::exec::exec(&target, &process, streams)?;
        // The container may be stopped, and removed, meanwhile.
        drop(container);
        if let Some(path) = &self.pid_file {
            write_pid(path, &child)?;
        }
        if self.detach { Ok(0) } else { wait(&child, proxy) }
    }

    /// The process that is asked for: the file's, or the container's own with what the options change.
    fn plan(&self, container: &Container) -> Result<(Process, Terminal)> {
        let config = container.config.as_ref().ok_or_else(|| Error::new("the container's config is gone"))?;
        if let Some(path) = &self.process {
            let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
            let (process, terminal) = config.process_of(&text)?;
            let terminal = Terminal { wanted: terminal.wanted || self.tty, ..terminal };
            return Ok((Process { descriptors: self.preserve_fds, ..process }, terminal));
        }
        if self.command.is_empty() {
            return Err(Error::new("exec needs a program, or --process FILE"));
        }
        let mut process = config.process()?;
        process.oom_score_adj = None;
        process.descriptors = self.preserve_fds;
        process.program.args.clone_from(&self.command);
        process.program.env.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.working_dir.clone_from(cwd);
        }
        if let User::Numbers { uid, gid, groups } = &mut process.user {
            if let Some(user) = self.user {
                (*uid, *gid) = user;
            }
            groups.extend(&self.additional_gids);
        }
        process.confinement.no_new_privileges |= self.no_new_privs;
        let sets = &mut process.confinement.capabilities;
        for name in &self.cap {
            let one = Set::of(name)?;
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                *set = set.or(one);
            }
        }
        Ok((process, Terminal { wanted: self.tty, size: None }))
    }
}

fn user(text: &str) -> Result<(u32, u32), String> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok((uid, gid)),
        _ => Err("expected UID[:GID], numbers".to_owned()),
    }
}
