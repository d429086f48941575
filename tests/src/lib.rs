//! What the tests of all crates share: roots to run in, and the rules about skipping.
//!
//! Every test that changes the kernel's state runs the binary under test as a child; what the child mounts is in
//! its own mount namespace, so nothing outlives it.

pub mod accounts;
pub mod agent;
pub mod course;
pub mod debian;
pub mod engine;
pub mod http;
pub mod mounts;
pub mod network;
pub mod programs;
pub mod proxy;
pub mod registry;
pub mod rootfs;
pub mod stages;
pub mod transcript;
pub mod user;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs `command` and returns its output; panics, naming the command, if it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs `command`, requires success, and returns its standard output.
pub fn stdout(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the tests' programs print UTF-8")
}

/// Waits, for at most twenty seconds, until `condition` holds; panics, saying `what` did not happen.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(Duration::from_secs(20), what, condition);
}

/// The same for at most `patience`: for what depends on luck, and is tried until it happens.
pub fn until_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "this did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
