//! Killed at any stage, nobody leaves what the next command does not understand and repair.

use std::fs;

use nix::unistd::Pid;
use serde_json::json;
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, tar};
use testbed::stages::{self, Clock, Outcome, Part, Victim};
use testbed::until;

use crate::leftovers::Leftovers;

/// Something that is done, and somebody who is killed at each stage of it.
struct Scene<'a> {
    /// What is there before.
    before: &'a [&'a [&'a str]],
    /// What is done.
    command: &'a [&'a str],
    /// Whose stages are counted: a part of the command, or what runs in the container `box` already.
    clock: Who,
    /// Who is killed.
    victim: Who,
    /// What must hold then, beside what always must.
    after: &'a dyn Fn(&Engine, &Outcome),
}

impl Scene<'_> {
    /// At every how many stages all is checked: what a container's first process does before it is that, it does in
    /// namespaces of its own.
    fn stride(&self) -> usize {
        if self.clock == Who::First { 16 } else { 1 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Command,
    Shim,
    First,
    /// The shim of the container `box`, which runs before.
    RunningShim,
    /// Its first process.
    RunningFirst,
}

const IN_BOX: &[&str] = &["--network", "none", "--name", "box", "-v", "kept:/kept"];

/// An engine with an image, and a volume that has a word in it.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "kept:/kept",
        "busybox",
        "sh",
        "-c",
        "echo word > /kept/word",
    ]);
    engine
}

/// Plays a scene as often as there are stages; how many there were.
fn play(engine: &Engine, scene: &Scene<'_>) -> usize {
    let leftovers = Leftovers::default();
    for stage in 1.. {
        for command in scene.before {
            engine.ok(command);
        }
        let running = |who| match who {
            Who::RunningFirst => first("box", engine),
            _ => parent(first("box", engine)),
        };
        let clock = match scene.clock {
            Who::Command => Clock::Of(Part::Command),
            Who::Shim => Clock::Of(Part::Shim),
            Who::First => Clock::Of(Part::First),
            who => Clock::Running(running(who)),
        };
        let victim = match scene.victim {
            who if who == scene.clock => Victim::Same,
            Who::Command | Who::Shim | Who::First => Victim::Child,
            who => Victim::Running(running(who)),
        };
        let outcome = stages::run(&mut engine.command(scene.command), clock, victim, stage);
        let when = format!(
            "{:?}, {:?} killed at stage {stage} of {:?}: {outcome:?}",
            scene.command, scene.victim, scene.clock
        );
        leftovers.look(engine);
        let all_done = outcome.killed_before.is_none();
        if all_done {
            assert_eq!(outcome.code, Some(0), "{when}");
            assert!(stage > 1, "there is no stage at all: {when}");
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            check(engine, scene, &outcome, &leftovers, &when, all_done || stage % scene.stride() == 0);
        }));
        if let Err(panic) = checked {
            eprintln!("{when}");
            std::panic::resume_unwind(panic);
        }
        if all_done {
            return stage - 1;
        }
    }
    unreachable!("every command ends")
}

/// What must hold whatever was killed.
fn check(
    engine: &Engine,
    scene: &Scene<'_>,
    outcome: &Outcome,
    leftovers: &Leftovers,
    when: &str,
    thorough: bool,
) {
    assert!(scene.victim == Who::Command || outcome.code.is_some(), "{when}");
    assert!(outcome.complained.lines().count() <= 1, "{when}");
    if !thorough {
        engine.ok(&["rm", "-f", "-v", "box"]);
        return;
    }
    // What is there is there wholly.
    let listed = engine.ok(&["ps", "-aq"]);
    let ids = || listed.lines();
    if ids().next().is_some() {
        engine.ok(&["inspect"].into_iter().chain(ids()).collect::<Vec<_>>());
    }
    (scene.after)(engine, outcome);
    if ids().next().is_some() {
        engine.ok(&["rm", "-f", "-v"].into_iter().chain(ids()).collect::<Vec<_>>());
    }
    let word = [&["run", "--rm"], IN_BOX, &["busybox", "cat", "/kept/word"]].concat();
    assert_eq!(engine.ok(&word), "word", "{when}");
    leftovers.require_none(engine, when);
    // Those without a name that a killed creation has left are like any that nobody uses any more.
    engine.ok(&["volume", "prune", "-f"]);
    assert_eq!(engine.ok(&["volume", "ls", "-q"]), "kept", "{when}");
    assert!(images(engine).contains(&"busybox".to_owned()), "{when}");
}

/// The first process of a container that runs.
pub(crate) fn first(name: &str, engine: &Engine) -> Pid {
    Pid::from_raw(engine.inspect(name, "{{.State.Pid}}").parse().expect("a number"))
}

/// Its parent: the shim.
pub(crate) fn parent(pid: Pid) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("it has a parent");
    Pid::from_raw(parent.parse().expect("a number"))
}

fn nothing(_: &Engine, _: &Outcome) {}

/// What a container has written is there.
fn has_layer(engine: &Engine, name: &str) {
    let upper = engine.inspect(name, "{{.GraphDriver.Data.UpperDir}}");
    assert_eq!(fs::read_to_string(format!("{upper}/layer")).expect("its layer"), "layer\n");
}

/// The names of all containers.
fn names(engine: &Engine) -> Vec<String> {
    engine.ok(&["ps", "-a", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
}

/// The names of all images.
fn images(engine: &Engine) -> Vec<String> {
    engine.ok(&["images", "--format", "{{.Repository}}"]).lines().map(str::to_owned).collect()
}

/// What is at the top of all layers.
fn files(engine: &Engine) -> Vec<String> {
    let layers = engine.data().join("layers");
    let whole = Engine::entries(&layers).into_iter().filter(|layer| !layer.starts_with('.'));
    let trees = whole.map(|layer| layers.join(layer).join("fs"));
    let mut files: Vec<String> = trees.flat_map(|tree| Engine::entries(&tree)).collect();
    files.sort();
    files
}

/// Plays scenes on an engine of their own; says how many stages each had.
fn play_all(engine: &Engine, scenes: &[Scene<'_>]) {
    for scene in scenes {
        let begun = std::time::Instant::now();
        let stages = play(engine, scene);
        let (clock, victim) = (scene.clock, scene.victim);
        println!(
            "{} by the clock of {clock:?}, {victim:?} killed: {stages} stages, {:?}",
            scene.command[0],
            begun.elapsed()
        );
    }
}

/// A container that writes to its layer, and ends.
const WRITES: &[&str] = &["busybox", "sh", "-c", "[ -e /layer ] || echo layer > /layer"];
/// One that goes on, and what is written to its layer.
const STAYS: &[&str] = &["busybox", "sleep", "1000"];
const WRITE: &[&str] = &["exec", "box", "sh", "-c", "echo layer > /layer"];

#[test]
fn create() {
    let engine = engine();
    let create = [&["create"], IN_BOX, &["-v", "/new", "busybox", "true"]].concat();
    let scene =
        |command| Scene { before: &[], command, clock: Who::Command, victim: Who::Command, after: &nothing };
    play_all(&engine, &[scene(&create)]);
}

#[test]
fn run() {
    let engine = engine();
    let plain = [&["run"], IN_BOX, &["-v", "/new", "busybox", "true"]].concat();
    let passing = [&["run", "--rm"], IN_BOX, &["-v", "/new", "busybox", "true"]].concat();
    let scene = |command, who| Scene { before: &[], command, clock: who, victim: who, after: &nothing };
    play_all(
        &engine,
        &[
            scene(&plain, Who::Command),
            scene(&plain, Who::Shim),
            scene(&passing, Who::Shim),
            Scene { victim: Who::First, ..scene(&plain, Who::Shim) },
        ],
    );
}

#[test]
fn run_in_a_network() {
    let engine = engine();
    let run = ["run", "--name", "box", "-p", "8080:80", "busybox", "true"];
    // Who makes the records of networks next finds what is left of one.
    let after = |engine: &Engine, _: &Outcome| drop(engine.ok(&["network", "ls"]));
    let scene = |who| Scene { before: &[], command: &run, clock: who, victim: who, after: &after };
    play_all(&engine, &[scene(Who::Command), scene(Who::Shim)]);
}

#[test]
fn start() {
    let engine = engine();
    let before = [&["run"], IN_BOX, WRITES].concat();
    let before = [&*before];
    let after = |engine: &Engine, _: &Outcome| {
        has_layer(engine, "box");
        engine.ok(&["start", "-a", "box"]);
        assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "0");
    };
    let scene =
        |who| Scene { before: &before, command: &["start", "box"], clock: who, victim: who, after: &after };
    play_all(&engine, &[scene(Who::Command), scene(Who::Shim), scene(Who::First)]);
}

#[test]
fn stop_and_kill() {
    let engine = engine();
    let before = [&["run", "-d"], IN_BOX, STAYS].concat();
    let before = [&*before, WRITE];
    let after = |engine: &Engine, _: &Outcome| {
        engine.ok(&["stop", "-t", "0", "box"]);
        assert_eq!(engine.inspect("box", "{{.State.Status}}"), "exited");
        has_layer(engine, "box");
    };
    let scene = |command, clock, victim| Scene { before: &before, command, clock, victim, after: &after };
    let (stop, kill) = (&["stop", "-t", "0", "box"][..], &["kill", "box"][..]);
    play_all(
        &engine,
        &[
            scene(stop, Who::Command, Who::Command),
            scene(stop, Who::RunningShim, Who::RunningShim),
            scene(stop, Who::Command, Who::RunningShim),
            scene(stop, Who::Command, Who::RunningFirst),
            scene(kill, Who::Command, Who::Command),
            scene(kill, Who::Command, Who::RunningShim),
        ],
    );
}

#[test]
fn rm() {
    let engine = engine();
    let stopped = [&["run"], IN_BOX, WRITES].concat();
    let running = [&["run", "-d"], IN_BOX, &["-v", "/new"], STAYS].concat();
    let after = |engine: &Engine, _: &Outcome| {
        if names(engine).contains(&"box".to_owned()) {
            has_layer(engine, "box");
            engine.ok(&["start", "box"]);
        }
    };
    let scene = |before, command, clock, victim| Scene { before, command, clock, victim, after: &after };
    let (stopped, running) = (&[&*stopped][..], &[&*running, WRITE][..]);
    let forced = &["rm", "-f", "-v", "box"][..];
    play_all(
        &engine,
        &[
            scene(stopped, &["rm", "box"], Who::Command, Who::Command),
            scene(running, forced, Who::Command, Who::Command),
            scene(running, forced, Who::RunningShim, Who::RunningShim),
            scene(running, forced, Who::Command, Who::RunningShim),
            scene(running, forced, Who::Command, Who::RunningFirst),
        ],
    );
}

#[test]
fn rename() {
    let engine = engine();
    let before = [&["create"], IN_BOX, &["busybox", "true"]].concat();
    let before = [&*before];
    let after = |engine: &Engine, _: &Outcome| {
        let names = names(engine);
        let other = if names == ["box"] { "other" } else { "box" };
        assert!(names == ["box"] || names == ["other"], "{names:?}");
        // The other name is nobody's.
        engine.ok(&["rename", &names[0], other]);
        engine.ok(&["rename", other, &names[0]]);
    };
    let scene = Scene {
        before: &before,
        command: &["rename", "box", "other"],
        clock: Who::Command,
        victim: Who::Command,
        after: &after,
    };
    play_all(&engine, &[scene]);
}

#[test]
fn commit() {
    let engine = engine();
    let before = [&["run", "-d"], IN_BOX, STAYS].concat();
    let before = [&*before, WRITE];
    let command = &["commit", "box", "made"][..];
    let after = |engine: &Engine, _: &Outcome| {
        has_layer(engine, "box");
        // It is frozen no longer than the command lives.
        until("the container goes on", || engine.inspect("box", "{{.State.Status}}") != "paused");
        if images(engine).contains(&"made".to_owned()) {
            assert_eq!(engine.ok(&["run", "--rm", "--network", "none", "made", "cat", "/layer"]), "layer");
        } else {
            engine.ok(command);
        }
        engine.ok(&["rmi", "made"]);
        assert_eq!(images(engine), ["busybox"]);
        assert_eq!(Engine::entries(&engine.data().join("layers")).len(), 1);
        assert_eq!(Engine::entries(&engine.data().join("images/blobs/sha256")).len(), 3);
    };
    let scene = |victim| Scene { before: &before, command, clock: Who::Command, victim, after: &after };
    play_all(&engine, &[scene(Who::Command), scene(Who::RunningShim)]);
}

#[test]
fn volumes() {
    let engine = engine();
    let write = [
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "other:/other",
        "busybox",
        "sh",
        "-c",
        "echo word > /other/word",
    ];
    let read = ["run", "--rm", "--network", "none", "-v", "other:/other", "busybox", "cat", "/other/word"];
    let removed = |engine: &Engine, _: &Outcome| {
        if engine.ok(&["volume", "ls", "-q"]).lines().any(|name| name == "other") {
            assert_eq!(engine.ok(&read), "word");
            engine.ok(&["volume", "rm", "other"]);
        }
    };
    let made = |engine: &Engine, _: &Outcome| {
        engine.ok(&["volume", "create", "other"]);
        engine.ok(&["volume", "rm", "other"]);
    };
    let scene =
        |before, command, after| Scene { before, command, clock: Who::Command, victim: Who::Command, after };
    play_all(
        &engine,
        &[
            scene(&[], &["volume", "create", "other"], &made),
            scene(&[&write], &["volume", "rm", "other"], &removed),
        ],
    );
}

#[test]
fn images_come_and_go() {
    let (engine, registry) = (engine(), Registry::start());
    let archive = engine.folder().join("made.tar").display().to_string();
    fs::write(&archive, tar(&[("made", b"made\n")])).unwrap();
    let layers = ["one", "two"].map(|name| (tar(&[(name, b"layer\n")]), Compression::Gzip)).to_vec();
    registry.push("shell", "latest", &Image { layers, config: json!({"Cmd": ["sh"]}), ..Image::default() });
    let name = format!("{}/shell", registry.host());
    let (pull, rmi) = (["pull", "-q", &name], ["rmi", &name]);
    let after = |engine: &Engine, _: &Outcome| {
        if images(engine).len() == 1 {
            engine.ok(&pull);
        }
        // All of its layers are there.
        assert_eq!(files(engine), ["bin", "etc", "one", "two"]);
        engine.ok(&rmi);
        assert_eq!(images(engine), ["busybox"]);
        assert_eq!(Engine::entries(&engine.data().join("layers")).len(), 1);
        assert_eq!(Engine::entries(&engine.data().join("images/blobs/sha256")).len(), 3);
    };
    let imported = |engine: &Engine, _: &Outcome| {
        engine.ok(&["import", &archive, "made"]);
        assert!(files(engine).contains(&"made".to_owned()));
        engine.ok(&["image", "prune", "-f"]);
        engine.ok(&["rmi", "made"]);
        assert_eq!(images(engine), ["busybox"]);
    };
    let scene =
        |before, command, after| Scene { before, command, clock: Who::Command, victim: Who::Command, after };
    play_all(
        &engine,
        &[
            scene(&[], &pull, &after),
            scene(&[&pull], &rmi, &after),
            scene(&[], &["import", &archive, "made"], &imported),
        ],
    );
}
