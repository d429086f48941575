//! `cargo xtask CHORE`: what there is to do around the project, without a single shell script.

mod bench;
mod book;
mod command;
mod course_registry;
mod demo;
mod leaks;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of this project")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the host lacks, saying what and why first; make a busybox image
    Setup(setup::Options),
    /// Build mini-docker and run a container, with no network access at all
    Demo,
    /// Everything that CI runs
    Test(test::Options),
    /// Measure against other engines, and against a floor
    Bench(bench::Options),
    /// Build the book
    Book(book::Options),
    /// Serve the images that courses name from a registry on this machine
    CourseRegistry(course_registry::Options),
    /// Run the tests that need cgroup v2 in a virtual machine
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Setup(options) => options.run(),
        Chore::Demo => demo::run(),
        Chore::Test(options) => options.run(),
        Chore::Bench(options) => options.run(),
        Chore::Book(options) => options.run(),
        Chore::CourseRegistry(options) => options.run(),
        Chore::Vm(options) => options.run(),
    };
    match done.and(command::hand_over()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
