//! `kill`: a signal.

use std::str::FromStr;

use clap::Args;
use nix::sys::signal::Signal;
use runtime::{Container, Result};

use super::Global;

/// The highest number of a signal.
const MAX_SIGNAL: i32 = 64;

/// Send a signal to a container
#[derive(Args)]
pub(crate) struct Kill {
    /// To all its processes, not only to the first
    #[arg(short, long)]
    all: bool,
    /// Its name
    id: String,
    /// A number or a name
    #[arg(default_value = "SIGTERM", value_parser = signal)]
    signal: i32,
}

impl Kill {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        Container::open(&global.folder()?, &self.id)?.kill(self.signal, self.all)
    }
}

/// `9`, `KILL` or `SIGKILL`.
fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse() {
        return if (1..=MAX_SIGNAL).contains(&number) {
            Ok(number)
        } else {
            Err(format!("there is no signal {number}"))
        };
    }
    let upper = text.to_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&name).map(|signal| signal as i32).map_err(|_| format!("there is no signal {text:?}"))
}
