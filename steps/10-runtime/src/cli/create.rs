//! `create`: a container that waits for its start.

use std::path::{Path, PathBuf};

use clap::Args;
use pid_namespace::Child;
use runtime::container::{Request, check_descriptors, console};
use runtime::{Config, Container, Error, Result, Streams};

use super::Global;

/// Create a container, which waits for its start
#[derive(Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) making: Making,
}

/// How a container is made, by `create` and by `run`.
#[derive(Args)]
pub(crate) struct Making {
    /// The bundle's directory
    #[arg(short, long, value_name = "DIRECTORY", default_value = ".")]
    bundle: PathBuf,
    /// The socket that the terminal is sent through
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Write the number of its first process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Hand over this many descriptors more, from 3 on
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    preserve_fds: u32,
    /// Move the root to its place, where / is the kernel's first ramfs and cannot be pivoted: the host's mounts stay below
    #[arg(long)]
    no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Its name
    pub(crate) id: String,
}

impl Create {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let console = self.making.console_socket.as_deref();
        self.making.make(global, true, |config| streams(config, console)).map(drop)
    }
}

impl Making {
    /// Makes the container, which waits for its start, or begins at once.
    pub(crate) fn make(
        &self,
        global: &Global,
        waits: bool,
        streams: impl FnOnce(&Config) -> Result<Streams>,
    ) -> Result<(Container, Child)> {
        check_descriptors(self.preserve_fds)?;
        let bundle = std::fs::canonicalize(&self.bundle)
            .map_err(|error| Error::file("find the bundle", &self.bundle, error))?;
        let request = Request {
            id: self.id.clone(),
            bundle,
            systemd_cgroup: global.systemd_cgroup,
            descriptors: self.preserve_fds,
            own_keyring: !self.no_new_keyring,
            no_pivot: self.no_pivot,
            waits,
        };
        let (container, child) = Container::create(&global.folder()?, &request, streams)?;
        if let Some(path) = &self.pid_file
            && let Err(error) = write_pid(path, &child)
        {
            container.delete(true)?;
            return Err(error);
        }
        Ok((container, child))
    }
}

/// The streams of a program that others look after: this process's own, or a terminal that is sent through a socket.
pub(crate) fn streams(config: &Config, socket: Option<&Path>) -> Result<Streams> {
    let terminal = config.terminal();
    match (terminal.wanted, socket) {
        (false, None) => Ok(Streams::Inherited),
        (true, Some(socket)) => Ok(Streams::Terminal { socket: console(socket)?, size: terminal.size }),
        (true, None) => Err(Error::new("process.terminal needs --console-socket, or `run` without --detach")),
        (false, Some(_)) => Err(Error::new("--console-socket needs process.terminal")),
    }
}

/// Writes a process's number, so that nobody reads half of it.
pub(crate) fn write_pid(path: &Path, child: &Child) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, child.pid().to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| Error::file("write", path, error))
}
