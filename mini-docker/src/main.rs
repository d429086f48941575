//! `mini-docker`: the command line of the engine.

mod cli;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use mini_docker::{hello, inside, terminal};
use nix::unistd::Pid;
use pid_namespace::init;
use runtime::init::INIT;
use runtime::own_program;

fn main() -> ExitCode {
    // Whatever the caller's umask is, an image's files and the engine's own have the modes they are meant to have.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    std::panic::set_hook(Box::new(|panic| {
        terminal::restore();
        eprintln!("mini-docker: this is a bug of mini-docker's: {panic}");
    }));
    chroot::program::end_when_nobody_reads();
    // The binary is also the one program in the built-in image.
    if std::env::args_os().next().is_some_and(|name| name == *format!("/{}", hello::PROGRAM)) {
        return show_inside();
    }
    if std::env::args_os().next().is_some_and(|name| name == INIT) {
        return attend();
    }
    // Now, since from the namespaces that such a user's engine enters there is no way to the mount of the binary.
    if is_a_users_start()
        && let Err(error) = own_program::run_read_only()
    {
        cli::report(&error.into());
        return ExitCode::from(125);
    }
    let cli = match cli::Cli::read() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let failure_code = cli.failure_code();
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::report(&error);
            ExitCode::from(error.exit_code().unwrap_or(failure_code))
        }
    }
}

/// Whether this is a command of an ordinary user's that may start a container. To say so of one that does not costs a
/// millisecond, and nothing else.
fn is_a_users_start() -> bool {
    let starts =
        |word: std::ffi::OsString| ["run", "start", "restart", "exec"].iter().any(|start| word == *start);
    !nix::unistd::geteuid().is_root() && std::env::args_os().any(starts)
}

/// Process 1 of a container with `--init`.
fn attend() -> ExitCode {
    let main = std::env::args().nth(1).and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
    match main.map(init::attend) {
        Some(Ok(exit)) => ExitCode::from(exit.code()),
        Some(Err(error)) => {
            eprintln!("Error: {error}");
            ExitCode::from(125)
        }
        None => {
            eprintln!("Error: {INIT} is started by the engine, in a container");
            ExitCode::from(125)
        }
    }
}

fn show_inside() -> ExitCode {
    match inside::screen() {
        Ok(screen) => {
            print!("{screen}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            cli::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Help is no error. Bad usage is one line, and Docker's 125; a command that there is not, or with an argument too few or too
/// many, is its 1.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            if error.print().is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        kind => {
            // The first paragraph says what is wrong; the others repeat the help.
            let text = error.to_string();
            let said =
                text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
            eprintln!("Error: {} (see 'mini-docker --help')", said.trim_start_matches("error: "));
            let superfluous = kind == ErrorKind::UnknownArgument
                && matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if !word.starts_with('-'));
            let is_ones = superfluous
                || [ErrorKind::InvalidSubcommand, ErrorKind::MissingRequiredArgument].contains(&kind);
            ExitCode::from(if is_ones { 1 } else { 125 })
        }
    }
}
