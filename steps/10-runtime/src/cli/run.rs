//! `run`: create, start, and unless told otherwise, wait and delete.

use clap::Args;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use pid_namespace::{Child, init};
use runtime::{Error, Result, own_program};

use super::Global;
use super::create::{Making, streams};
use super::terminal::Proxy;

/// Create a container, start it, and wait for its end
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    making: Making,
    /// Do not wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Keep it when it has ended
    #[arg(long)]
    keep: bool,
}

impl Run {
    pub(crate) fn run(&self, global: &Global) -> Result<u8> {
        let socket = self.making.console_socket.as_deref();
        if socket.is_some() {
            // Whoever listens there expects one terminal.
            own_program::run_read_only()?;
        }
        let mut proxy = None;
        let made = self.making.make(global, false, |config| {
            let terminal = config.terminal();
            if self.detach || socket.is_some() || !terminal.wanted {
                return streams(config, socket);
            }
            let (ours, streams) = Proxy::pair(terminal.size)?;
            proxy = Some(ours);
            Ok(streams)
        });
        if let Err(error) = &made
            && error.exit_code() == own_program::AGAIN
        {
            own_program::run_read_only()?;
        }
        let (container, child) = made?;
        if self.detach {
            return Ok(0);
        }
        // Others may look at it, and stop it, meanwhile.
        let take_hold = container.let_go(global.folder()?);
        let code = wait(&child, proxy)?;
        if !self.keep {
            // Somebody else may have been quicker.
            if let Ok(container) = take_hold() {
                container.delete(true)?;
            }
        }
        Ok(code)
    }
}

/// Passes on signals, and what is typed and shown, until a child ends. Its exit code.
pub(crate) fn wait(child: &Child, proxy: Option<Proxy>) -> Result<u8> {
    if let Some(proxy) = proxy {
        proxy.pass(child)?;
        return Ok(child.wait()?.code());
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .map_err(|errno| Error::kernel("block signals", errno))?;
    // It may have ended before its end could be noticed.
    // SAFETY: kill takes no memory.
    unsafe { libc::kill(libc::getpid(), libc::SIGCHLD) };
    Ok(init::attend(child.pid())?.code())
}
