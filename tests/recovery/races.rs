//! Two commands at once: each race ends as if one had come before the other.

use std::process::Output;
use std::sync::Barrier;

use testbed::engine::Engine;
use testbed::output;

use crate::leftovers::Leftovers;

/// What the two of a race have said, each as its exit code and standard error, the container's ID replaced.
fn race(engine: &Engine, one: &[&str], other: &[&str], id: &str) -> [String; 2] {
    let start = Barrier::new(2);
    let run = |arguments: &[&str]| {
        let mut command = engine.command(arguments);
        start.wait();
        told(&output(&mut command), id)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(other));
        [run(one), other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
    })
}

fn told(output: &Output, id: &str) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().expect("nobody kills it");
    format!("{code} {}", error.trim_end().replace(id, "ID")).trim_end().to_owned()
}

/// How often each race is run.
const ROUNDS: usize = 25;
/// What is said of a container that there is not.
const MISSING: &str = "1 Error: No such container: box";
/// The same, forgiven.
const FORGIVEN: &str = "0 Error: No such container: box";
/// What is made to race.
const BOX: &[&str] = &["--name", "box", "--network", "none", "busybox", "sleep", "1000"];

#[test]
fn start_and_rm() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let running = "1 Error: cannot remove container \"/box\": container is running: stop the container before removing or \
                   force remove";
    for _ in 0..ROUNDS {
        let id = engine.ok(&[&["create"], BOX].concat());
        leftovers.look(&engine);
        let said = race(&engine, &["start", "box"], &["rm", "box"], &id);
        match said.each_ref().map(String::as_str) {
            ["0", told] if told == running => drop(engine.ok(&["rm", "-f", "box"])),
            // The one that found it by its name finds it gone by its ID.
            [MISSING | "1 Error: No such container: ID", "0"] => {}
            _ => panic!("{said:?}"),
        }
        leftovers.require_none(&engine, &format!("{said:?}"));
    }
}

#[test]
fn stop_and_kill() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    for _ in 0..ROUNDS {
        let id = engine.ok(&[&["run", "-d"], BOX].concat());
        leftovers.look(&engine);
        let said = race(&engine, &["stop", "-t", "0", "box"], &["kill", "box"], &id);
        match said.each_ref().map(String::as_str) {
            ["0", "0" | "1 Error: cannot kill container: box: container ID is not running"] => {}
            _ => panic!("{said:?}"),
        }
        let state = engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}");
        assert!(["exited 137", "exited 143"].contains(&&*state), "{state}");
        engine.ok(&["rm", "box"]);
        leftovers.require_none(&engine, &format!("{said:?}"));
    }
}

#[test]
fn rm_and_rm() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    for round in 0..ROUNDS {
        let (make, remove): (&[&str], &[&str]) = if round % 2 == 0 {
            (&["create"], &["rm", "box"])
        } else {
            (&["run", "-d"], &["rm", "-f", "box"])
        };
        let id = engine.ok(&[make, BOX].concat());
        leftovers.look(&engine);
        let said = race(&engine, remove, remove, &id);
        match said.each_ref().map(String::as_str) {
            ["0", "0" | MISSING] | [MISSING, "0"] => {}
            // What is not there is no failure of --force.
            ["0", FORGIVEN] | [FORGIVEN, "0"] if remove.contains(&"-f") => {}
            _ => panic!("{said:?}"),
        }
        leftovers.require_none(&engine, &format!("{said:?}"));
    }
}

#[test]
fn rename_and_rename() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let names = || engine.ok(&["ps", "-a", "--format", "{{.Names}}"]);
    for round in 0..ROUNDS {
        let id = engine.ok(&[&["create"], BOX].concat());
        leftovers.look(&engine);
        // One container to two names.
        let said = race(&engine, &["rename", "box", "one"], &["rename", "box", "two"], &id);
        match (said.each_ref().map(String::as_str), &*names()) {
            // Whose name stays was the second.
            (["0", "0"], "one" | "two") | (["0", MISSING], "one") | ([MISSING, "0"], "two") => {}
            (_, names) => panic!("{round}: {said:?}: {names}"),
        }
        assert_eq!(Engine::entries(&engine.data().join("names")), [names()]);
        // Two containers to one name.
        if names() != "one" {
            engine.ok(&["rename", &names(), "one"]);
        }
        let other = engine.ok(&["create", "--name", "two", "--network", "none", "busybox", "true"]);
        let said = race(&engine, &["rename", "one", "box"], &["rename", "two", "box"], &id);
        let conflict = |owner: &str| {
            format!(
                "1 Error: Conflict. The container name \"/box\" is already in use by container \"{owner}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            )
        };
        let right = [["0".to_owned(), conflict("ID")], [conflict(&other), "0".to_owned()]];
        assert!(right.contains(&said), "{round}: {said:?}");
        engine.ok(&["rm", &id, &other]);
        leftovers.require_none(&engine, &format!("{said:?}"));
    }
}

#[test]
fn rm_and_run_of_one_name() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    for round in 0..ROUNDS * 2 {
        let id = engine.ok(&[&["create"], BOX].concat());
        leftovers.look(&engine);
        let run = ["run", "-d", "--network", "none", "--name", "box", "busybox", "sleep", "1000"];
        let said = race(&engine, &["rm", "box"], &run, &id);
        let conflict = "125 Error: Conflict. The container name \"/box\" is already in use by container \"ID\". You have to \
                        remove (or rename) that container to be able to reuse that name.";
        leftovers.look(&engine);
        match said.each_ref().map(String::as_str) {
            // The new one bears the name.
            ["0", "0"] => {
                assert_eq!(engine.inspect("box", "{{.State.Status}}"), "running", "{round}");
                engine.ok(&["rm", "-f", "box"]);
            }
            ["0", told] if told == conflict => {}
            _ => panic!("{round}: {said:?}"),
        }
        leftovers.require_none(&engine, &format!("{said:?}"));
    }
}

#[test]
fn four_at_once() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    for _ in 0..5 {
        let id = engine.ok(&[&["run", "-d"], BOX].concat());
        leftovers.look(&engine);
        let outputs: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = [
                &["rm", "-f", "box"][..],
                &["rm", "-f", "box"],
                &["stop", "-t", "0", "box"],
                &["kill", "box"],
            ]
            .map(|arguments| scope.spawn(|| told(&engine.run(arguments), &id)))
            .into_iter()
            .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert!(outputs[..2].contains(&"0".to_owned()), "{outputs:?}");
        for said in outputs.iter().filter(|said| *said != "0") {
            assert!(said.contains("No such container") || said.contains("is not running"), "{said}");
        }
        leftovers.require_none(&engine, &format!("{outputs:?}"));
    }
}

#[test]
fn many_short_containers_at_once() {
    let engine = Engine::with_busybox();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..6 {
                    let number = round.to_string();
                    assert_eq!(engine.ok(&["run", "--rm", "busybox", "echo", &number]), number);
                }
            });
        }
    });
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
}
