//! `doctor`: what this host can do, and what to do about the rest.

use mini_docker::doctor::{self, Finding};

/// Prints a line for each thing looked at; the exit code is 1 if something is missing.
pub(crate) fn run() -> u8 {
    let mut code = 0;
    for check in doctor::examine() {
        match check.finding {
            Finding::Works(detail) => {
                println!("{:<18} {:<12} ok       {detail}", check.chapter, check.what);
            }
            Finding::Missing { why, advice } => {
                println!("{:<18} {:<12} MISSING  {why}; to do: {advice}", check.chapter, check.what);
                code = 1;
            }
        }
    }
    code
}
