//! `doctor`: what this host can do, and what to do about the rest.

use mini_docker::doctor::{self, Check, Finding};

/// Prints a line for each thing looked at; the exit code is 1 if something is missing.
pub(crate) fn run() -> u8 {
    let mut code = 0;
    let checks = doctor::examine();
    let widest = checks.iter().map(|check| check.what.len()).max().unwrap_or_default();
    for Check { chapter, what, finding } in checks {
        match finding {
            Finding::Works(detail) => println!("{chapter:<18} {what:<widest$} ok       {detail}"),
            Finding::Missing { why, advice } => {
                println!("{chapter:<18} {what:<widest$} MISSING  {why}; to do: {advice}");
                code = 1;
            }
        }
    }
    code
}
