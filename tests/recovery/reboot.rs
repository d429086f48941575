//! A reboot ends containers and what lies in memory, and loses nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use testbed::engine::Engine;
use testbed::{stdout, until};

use crate::kills::{first, parent};
use crate::leftovers::Leftovers;

/// What a reboot does: every process ends at once, and the folder in memory is empty.
fn reboot(engine: &Engine, leftovers: &Leftovers) {
    leftovers.look(engine);
    let running = engine.ok(&["ps", "-q"]);
    for name in running.lines() {
        let first = first(name, engine);
        kill(parent(first), Signal::SIGKILL).expect("its shim runs");
        until("the container is gone", || !Path::new(&format!("/proc/{first}")).exists());
    }
    fs::remove_dir_all(engine.exec()).expect("our own folder");
    // Links and rules are the kernel's.
    stdout(Command::new("nft").args(["flush", "ruleset"]));
    let links = fs::read_to_string("/proc/thread-self/net/dev").expect("our network");
    for bridge in links.lines().filter_map(|line| line.split(':').next()).map(str::trim) {
        if bridge.starts_with("md-") {
            stdout(Command::new("ip").args(["link", "delete", bridge]));
        }
    }
}

#[test]
fn a_reboot_ends_containers_and_loses_none() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let line = "echo layer > /layer; echo word > /kept/word; echo said; exec sleep 1000";
    for (name, options) in [
        ("first", &["-v", "kept:/kept"][..]),
        ("second", &["-v", "/kept", "-p", "8080:80"]),
        ("third", &["-v", "/kept", "--rm", "--network", "none"]),
    ] {
        engine.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", line]].concat());
        until("it has begun", || engine.ok(&["logs", name]) == "said");
    }
    engine.ok(&["create", "--name", "fourth", "busybox", "true"]);
    reboot(&engine, &leftovers);

    let listed = "{{.Names}} {{.State}}";
    assert_eq!(engine.ok(&["ps", "-a", "--format", listed]), "fourth created\nsecond exited\nfirst exited");
    assert_eq!(engine.inspect("first", "{{.State.ExitCode}} {{.State.Pid}}"), "255 0");
    assert_eq!(engine.ok(&["logs", "first"]), "said");
    assert_eq!(engine.ok(&["run", "--rm", "-v", "kept:/kept", "busybox", "cat", "/kept/word"]), "word");
    // The volume without a name has gone with the container that removes itself, the other's has not.
    assert_eq!(engine.ok(&["volume", "ls", "-q"]).lines().count(), 2);
    // They start again, in networks that are made again.
    engine.ok(&["start", "first", "second", "fourth"]);
    assert_eq!(engine.ok(&["exec", "first", "cat", "/layer", "/kept/word"]), "layer\nword");
    assert_eq!(engine.ok(&["port", "second"]).lines().next(), Some("80/tcp -> 0.0.0.0:8080"));
    engine.ok(&["rm", "-f", "-v", "first", "second", "fourth"]);
    engine.ok(&["volume", "rm", "kept"]);
    assert_eq!(engine.ok(&["volume", "ls", "-q"]), "");
    leftovers.require_none(&engine, "after a reboot");
}

#[test]
fn a_reboot_comes_in_the_middle_of_a_creation_and_a_removal() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let id = engine.ok(&["create", "--name", "box", "busybox", "true"]);
    // As they are when one has not written its record, and the other has got as far as its new name.
    let containers = engine.data().join("containers");
    let begun = "0".repeat(64);
    fs::create_dir_all(containers.join(&begun).join("upper")).unwrap();
    fs::write(containers.join(&begun).join("lock"), "").unwrap();
    std::os::unix::fs::symlink(&begun, engine.data().join("names/begun")).unwrap();
    fs::rename(containers.join(&id), containers.join(format!(".gone-{id}"))).unwrap();
    reboot(&engine, &leftovers);
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
    leftovers.require_none(&engine, "after a reboot");
}
