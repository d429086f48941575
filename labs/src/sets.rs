//! What a program gained by being run: the effective set, printed by a program for graders.
//!
//! Such a program must be one file that needs no other, and must not give its gains up, as busybox does. This program
//! itself is such a file: started under the name [`NAME`], it prints.

use std::process::ExitCode;

use capabilities::Sets;

/// The name under which this program prints its set.
pub const NAME: &str = "sets";

/// Prints the effective set.
pub fn main() -> ExitCode {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match Sets::of_status(&status) {
        Ok(sets) => println!("{}", sets.effective),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}
