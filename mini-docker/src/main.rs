//! `mini-docker`: the command line of the engine.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use mini_docker::{hello, inside, terminal};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        terminal::restore();
        eprintln!("mini-docker: this is a bug of mini-docker's: {panic}");
    }));
    // The binary is also the one program in the built-in image.
    if std::env::args_os().next().is_some_and(|name| name == *format!("/{}", hello::PROGRAM)) {
        return show_inside();
    }
    let cli = match cli::Cli::try_parse() {
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

/// Help goes to standard output and is no error; bad usage is Docker's 125.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nothing is left to be done if even this cannot be printed.
    let printed = error.print().is_ok();
    if error.use_stderr() || !printed { ExitCode::from(125) } else { ExitCode::SUCCESS }
}
