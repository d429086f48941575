//! `system start`: what comes back after a reboot, which here is the loss of all processes and of the folder in memory.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::engine::Engine;
use testbed::until;

/// Ends a container's shim, and with it the container, as a power cut does.
fn cut(engine: &Engine, name: &str) {
    let first = engine.inspect(name, "{{.State.Pid}}");
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).expect("it runs");
    let parent = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(1));
    let shim = parent.and_then(|pid| pid.parse().ok()).expect("a process has a parent");
    kill(Pid::from_raw(shim), Signal::SIGKILL).expect("the shim lives");
    until("the container is gone", || !Path::new(&format!("/proc/{first}")).exists());
}

#[test]
fn containers_come_back_as_their_policies_say() {
    let engine = Engine::with_busybox();
    let policies = ["no", "always", "unless-stopped", "on-failure"];
    for policy in policies {
        engine.ok(&["run", "-d", "--name", policy, "--restart", policy, "busybox", "sleep", "1000"]);
        let stopped = format!("{policy}-stopped");
        engine.ok(&[
            "run",
            "-d",
            "--name",
            &stopped,
            "--restart",
            policy,
            "--init",
            "busybox",
            "sleep",
            "1000",
        ]);
        // At once: as process 1 it would ignore the signal.
        engine.ok(&["stop", &stopped]);
    }
    engine.ok(&["create", "--name", "never", "--restart", "always", "busybox", "sleep", "1000"]);
    policies.iter().for_each(|name| cut(&engine, name));
    fs::remove_dir_all(engine.exec()).unwrap();

    let started = engine.ok(&["system", "start"]);
    insta::assert_snapshot!(started);
    for name in started.lines() {
        assert_eq!(engine.inspect(name, "{{.State.Status}}"), "running");
    }
    assert_eq!(engine.inspect("never", "{{.State.Status}}"), "created");
    assert_eq!(engine.ok(&["system", "start"]), "", "what runs is left alone");
}

#[test]
fn the_unit_starts_this_engine() {
    let engine = Engine::new();
    let unit = engine.ok(&["system", "unit"]);
    let words = format!(
        "ExecStart={} --data-root {} --exec-root {} system start",
        Engine::program().display(),
        engine.data().display(),
        engine.exec().display()
    );
    assert!(unit.lines().any(|line| line == words), "{unit}");
}
