//! `exec`: run a command in a running container.

use std::path::PathBuf;

use clap::Args;
use mini_docker::attach::{self, DetachKeys, Session};
use mini_docker::engine::exec::Request;
use mini_docker::{Engine, Result, terminal};
use runtime::own_program;

use super::options;

/// What `exec` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Run the command in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open, and pass ours on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// The user to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<PathBuf>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Give the command all capabilities
    #[arg(long)]
    privileged: bool,
    /// The keys that leave the command running
    #[arg(long, value_name = "KEYS", default_value_t)]
    detach_keys: DetachKeys,
    /// ID or name
    container: String,
    /// The command, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Options {
    /// Runs the command; the exit code is its own, or 0 if it was left running.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        own_program::run_read_only()?;
        let container = engine.containers().find(&self.container)?;
        let session = Session {
            stdin: self.interactive && !self.detach,
            stdout: true,
            stderr: true,
            tty: self.tty,
            sig_proxy: false,
            detach_keys: self.detach_keys,
        };
        session.require_terminal()?;
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(options::env_file(file)?);
        }
        for variable in &self.env {
            env.extend(options::variable(variable)?);
        }
        let size = terminal::size(&std::io::stdout()).map(|size| (size.ws_row, size.ws_col));
        let request = Request {
            command: self.command,
            env,
            user: self.user,
            working_dir: self.workdir,
            privileged: self.privileged,
            tty: self.tty,
            stdin: session.stdin,
            attached: !self.detach,
            size: size.filter(|_| !self.detach),
        };
        // A signal that ends this command leaves the process running.
        let signals = session.take_signals()?;
        let mut connection = engine.exec(&container, request)?;
        let early = attach::await_start(&mut connection)?;
        if self.detach { Ok(0) } else { super::attach::converse(&session, connection, &signals, early) }
    }
}
