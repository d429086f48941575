//! `runtime create --bundle DIRECTORY ID`, and all else that is asked of an OCI runtime: one bundle in, one container out.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use runtime::own_program;

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    // First, since whatever is done before is done twice.
    if goes_into_a_container()
        && let Err(error) = own_program::run_read_only()
    {
        eprintln!("Error: {error}");
        return ExitCode::FAILURE;
    }
    cli::Cli::parse().run()
}

/// Whether this is a command that waits in a container or joins one, where its binary could be written to (`run` is
/// looked at more closely). To say so of one that does not costs a millisecond, and nothing else.
fn goes_into_a_container() -> bool {
    std::env::args_os().any(|word| word == "create" || word == "exec")
}
