//! `runtime create --bundle DIRECTORY ID`, and all else that is asked of an OCI runtime: one bundle in, one container out.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{SigHandler, Signal, signal};

fn main() -> ExitCode {
    // Rust ignores SIGPIPE; like any other command, end quietly when nobody reads any more.
    // SAFETY: the default action is no handler of ours.
    if unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.is_err() {
        return ExitCode::FAILURE;
    }
    cli::Cli::parse().run()
}
