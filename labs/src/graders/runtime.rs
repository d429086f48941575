//! Lab 10: a container in two halves.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::{self, Bench, Ran};
use crate::check::{Check, Failure, Stop, Verdict};
use crate::host;
use crate::process::Process;

pub(super) const CHECKS: &[Check] = &[
    ("created", created),
    ("waits", waits),
    ("started", started),
    ("missing", missing),
    ("taken", taken),
    ("signal", signal),
    ("stopped", stopped),
    ("unstarted", unstarted),
    ("stranger", stranger),
    ("again", again),
    ("delete", delete),
    ("deleted", deleted),
    ("creating", creating),
];

/// The bundle's directory. The learner's is called so, too.
const BUNDLE: &str = "10-runtime/bundle";
/// The container's name.
const ID: &str = "one";
/// A program that notes that it runs, and which signal it hears.
const PROGRAM: &str = "trap 'echo TERM > /tmp/heard; exit 7' TERM; \
                       echo $NAME in $PWD on $(hostname) >> /tmp/begun; sleep 1000 & wait";
/// What it notes.
const BEGUN: &str = "somebody in /tmp on inside\n";
/// How long something may take that needs no time.
const SOON: Duration = Duration::from_secs(2);
/// For how long nothing may happen that should not.
const A_WHILE: Duration = Duration::from_millis(100);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A folder of containers, and a bundle.
struct Runtime<'a> {
    bench: &'a Bench,
    /// Our children before there was a container.
    known: Vec<Process>,
}

fn created(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        let created = runtime.create()?;
        // What ends with its maker has done so by then.
        std::thread::sleep(A_WHILE);
        let process = runtime.process(&created)?;
        let (ran, state) = runtime.state()?;
        word(&ran, &state, "created")?;
        if state["pid"] == process.0 {
            return Ok(());
        }
        let expected = "\"pid\" is that of the process that create has left";
        Failure::verdict(&ran.command, expected, format!("it is another number: {}", ran.stdout.trim()))
    })
}

fn waits(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        let created = runtime.create()?;
        let process = runtime.process(&created)?;
        let expected = "in its own root, a process that waits, and runs no program yet";
        let identity = |path: PathBuf| fs::metadata(path).map(|root| (root.dev(), root.ino()));
        let root = identity(process.path().join("root")).context("cannot look at a process")?;
        if root != identity(bench.root()).context("cannot look at the root")? {
            return Failure::verdict(&created.command, expected, "its root is the host's");
        }
        let busybox = bench.root().join("bin/busybox");
        let deadline = Instant::now() + A_WHILE;
        while Instant::now() < deadline {
            if runtime.begun().exists() || process.runs(&busybox) {
                return Failure::verdict(&created.command, expected, "the program runs");
            }
            if !process.is_alive() {
                return Failure::verdict(&created.command, expected, "it has ended");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    })
}

fn started(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        let created = runtime.create()?;
        let process = runtime.process(&created)?;
        let started = runtime.start()?;
        let said = fs::read_to_string(runtime.begun()).unwrap_or_default();
        if said != BEGUN {
            let expected = format!("the program has its variables, directory and hostname: {BEGUN}");
            return Failure::verdict(&started.command, expected.trim(), format!("it notes: {said}"));
        }
        if !process.runs(&bench.root().join("bin/busybox")) {
            let expected = "the process that has waited becomes the program";
            return Failure::verdict(&started.command, expected, "it runs something else");
        }
        let (ran, state) = runtime.state()?;
        word(&ran, &state, "running")
    })
}

fn missing(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.write_bundle(&["/bin/nosuch"])?;
        let ran = runtime.run(&["create", BUNDLE, ID])?;
        let expected = "create fails, names the program, and leaves nothing";
        if ran.code() == Some(0) {
            return Failure::verdict(&ran.command, expected, "exit code 0");
        }
        if !ran.stderr.contains("nosuch") {
            return Failure::verdict(&ran.command, expected, ran.seen());
        }
        if ran.left > 0 {
            return Failure::verdict(&ran.command, expected, format!("left running: {}", ran.left));
        }
        if runtime.folder().exists() {
            return Failure::verdict(&ran.command, expected, format!("state/{ID} is there"));
        }
        Ok(())
    })
}

fn taken(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.create()?;
        let second = runtime.run(&["create", BUNDLE, ID])?;
        if second.code() == Some(0) {
            return Failure::verdict(&second.command, "the name is taken, and create fails", "exit code 0");
        }
        let again = format!("{}, which fails, and then", second.command);
        let (ran, state) = runtime.state().map_err(|stop| follow(&again, stop))?;
        word(&ran, &state, "created").map_err(|stop| follow(&again, stop))?;
        runtime.start().map_err(|stop| follow(&again, stop)).map(drop)
    })
}

fn signal(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.create()?;
        runtime.start()?;
        let ran = runtime.well(&["kill", ID, "TERM"])?;
        let heard = runtime.bench.root().join("tmp/heard");
        if until(|| Ok(heard.exists()))? {
            return Ok(());
        }
        Failure::verdict(
            &ran.command,
            "the program hears SIGTERM, and notes it",
            "it heard nothing of the kind",
        )
    })
}

fn stopped(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.create_and_end()?;
        let (ran, state) = runtime.state()?;
        word(&ran, &state, "stopped")?;
        refused(&runtime.run(&["kill", ID, "KILL"])?)?;
        refused(&runtime.run(&["start", ID])?)
    })
}

/// One that ends before it was started: its fifo is there, and nobody waits at it any more.
fn unstarted(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        let created = runtime.create()?;
        let process = runtime.process(&created)?;
        let killed = runtime.well(&["kill", ID, "KILL"])?;
        let told = format!("{}, before its start, and then", killed.command);
        let tell = |stop| follow(&told, stop);
        if !until(|| Ok(!process.is_alive()))? {
            return Failure::verdict(
                &killed.command,
                "the process ends, although it was not started",
                "it lives",
            );
        }
        let (ran, state) = runtime.state().map_err(tell)?;
        word(&ran, &state, "stopped").map_err(tell)?;
        refused(&runtime.run(&["start", ID])?).map_err(tell)?;
        runtime.well(&["delete", ID]).map_err(tell).map(drop)
    })
}

fn stranger(bench: &Bench) -> Verdict {
    let busybox = host::busybox().context("there is no busybox")?;
    let mut other = Command::new(busybox)
        .args(["sleep", "1000"])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start a process")?;
    // So that it and the container do not start within one tick of the clock.
    std::thread::sleep(Duration::from_millis(20));
    let verdict = with(bench, |runtime| {
        runtime.create()?;
        runtime.start()?;
        runtime.forge("pid", &json!(other.id()))?;
        let told = format!("with the number of another process in state/{ID}/state.json: ");
        let tell = |stop| follow(&told, stop);
        let (ran, state) = runtime.state().map_err(tell)?;
        word(&ran, &state, "stopped").map_err(tell)?;
        let ran = runtime.run(&["kill", ID, "KILL"])?;
        if until_for(A_WHILE, || Ok(other.try_wait()?.is_some()))? {
            let expected = "nobody is killed who is not the container's";
            return Failure::verdict(
                format!("{told}{}", ran.command),
                expected,
                "the other process is killed",
            );
        }
        refused(&ran).map_err(tell)
    });
    other.kill().and_then(|()| other.wait()).context("cannot end a process")?;
    verdict
}

fn again(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.create()?;
        runtime.start()?;
        refused(&runtime.run(&["start", ID])?)?;
        let (ran, state) = runtime.state()?;
        word(&ran, &state, "running")
    })
}

fn delete(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        let created = runtime.create()?;
        let process = runtime.process(&created)?;
        for word in ["created", "running"] {
            if word == "running" {
                runtime.start()?;
            }
            let ran = runtime.run(&["delete", ID])?;
            refused(&ran)?;
            let expected = "delete fails, and all is as it was";
            if !process.is_alive() {
                return Failure::verdict(&ran.command, expected, "the process is gone");
            }
            if runtime.state()?.1["status"] != word {
                return Failure::verdict(&ran.command, expected, "it is not known as it was");
            }
        }
        Ok(())
    })
}

fn deleted(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        runtime.create_and_end()?;
        let ran = runtime.well(&["delete", ID])?;
        let left = runtime.bench.list("state")?;
        if !left.is_empty() {
            let left: Vec<String> = left.into_iter().collect();
            return Failure::verdict(&ran.command, "nothing is left", format!("left: {}", left.join(", ")));
        }
        refused(&runtime.run(&["state", ID])?)?;
        // The name is free again.
        runtime.create().map(drop)
    })
}

fn creating(bench: &Bench) -> Verdict {
    with(bench, |runtime| {
        fs::create_dir_all(runtime.folder()).context("cannot make a directory")?;
        let told = format!("with no record in state/{ID} yet: ");
        let (ran, state) = runtime.state().map_err(|stop| follow(&told, stop))?;
        word(&ran, &state, "creating").map_err(|stop| follow(&told, stop))?;
        refused(&runtime.run(&["start", ID])?).map_err(|stop| follow(&told, stop))
    })
}

/// Does something with containers, of which nothing is left afterwards.
fn with(bench: &Bench, act: impl FnOnce(&Runtime<'_>) -> Verdict) -> Verdict {
    let runtime = Runtime { bench, known: Process::own().children() };
    runtime.write_bundle(&["/bin/sh", "-c", PROGRAM])?;
    for old in [bench.beside("state"), bench.root().join("tmp")] {
        if old.exists() {
            fs::remove_dir_all(old).context("cannot remove what another check has left")?;
        }
    }
    fs::create_dir(bench.root().join("tmp")).context("cannot make a directory")?;
    bench::with_orphans(|| act(&runtime))
}

impl Runtime<'_> {
    fn write_bundle(&self, args: &[&str]) -> Result<()> {
        let bundle = self.bench.beside(BUNDLE);
        let config = json!({
            "ociVersion": "1.2.0",
            "hostname": "inside",
            "root": { "path": "../../root" },
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": args,
                "env": ["PATH=/bin", "NAME=somebody"],
                "cwd": "/tmp",
            },
        });
        fs::create_dir_all(&bundle).context("cannot make a bundle")?;
        fs::write(bundle.join("config.json"), config.to_string()).context("cannot write a config")
    }

    /// `box --root state WORDS`. What is a path, lies beside the root.
    fn run(&self, words: &[&str]) -> Result<Ran> {
        let path = |name: &str| self.bench.beside(name).display().to_string();
        let mut all = vec!["--root".to_owned(), path("state")];
        all.extend(words.iter().map(|word| if *word == BUNDLE { path(word) } else { (*word).to_owned() }));
        self.bench.run_leaving(&all)
    }

    /// Likewise; a failure if it does not succeed.
    fn well(&self, words: &[&str]) -> Result<Ran, Stop> {
        let ran = self.run(words)?;
        if ran.code() == Some(0) {
            return Ok(ran);
        }
        Err(Stop::Failed(Failure { seen: ran.seen(), command: ran.command, expected: "exit code 0".into() }))
    }

    fn create(&self) -> Result<Ran, Stop> {
        self.well(&["create", BUNDLE, ID])
    }

    /// Starts it, and waits until its program has noted that it runs.
    fn start(&self) -> Result<Ran, Stop> {
        let ran = self.well(&["start", ID])?;
        if until(|| Ok(fs::read_to_string(self.begun()).is_ok_and(|said| said.ends_with('\n'))))? {
            return Ok(ran);
        }
        let expected = "the program runs, and notes it in /tmp/begun".into();
        Err(Stop::Failed(Failure { command: ran.command, expected, seen: "there is no note".into() }))
    }

    /// Creates and starts it, and kills its process.
    fn create_and_end(&self) -> Verdict {
        let created = self.create()?;
        let process = self.process(&created)?;
        self.start()?;
        let ran = self.well(&["kill", ID, "KILL"])?;
        if until(|| Ok(!process.is_alive()))? {
            return Ok(());
        }
        Failure::verdict(&ran.command, "the process ends", "it lives")
    }

    fn state(&self) -> Result<(Ran, Value), Stop> {
        let ran = self.well(&["state", ID])?;
        match serde_json::from_str(&ran.stdout) {
            Ok(state) => Ok((ran, state)),
            Err(error) => {
                let expected = "an object of JSON".into();
                let seen = format!("{error}: {}", ran.stdout.trim());
                Err(Stop::Failed(Failure { command: ran.command, expected, seen }))
            }
        }
    }

    /// The container's process. It is nobody's child but ours, since the program that has made it has ended.
    fn process(&self, created: &Ran) -> Result<Process, Stop> {
        let mut left = bench::orphans(&self.known);
        left.retain(|orphan| orphan.is_alive());
        match left.as_slice() {
            [process] => Ok(*process),
            _ => Err(Stop::Failed(Failure {
                command: created.command.clone(),
                expected: "one process is there when create has ended".into(),
                seen: format!("processes that are there: {}", left.len()),
            })),
        }
    }

    fn folder(&self) -> PathBuf {
        self.bench.beside("state").join(ID)
    }

    fn begun(&self) -> PathBuf {
        self.bench.root().join("tmp/begun")
    }

    /// Changes a value of the record.
    fn forge(&self, key: &str, value: &Value) -> Verdict {
        let path = self.folder().join("state.json");
        let text = fs::read(&path).context("there is no record")?;
        let mut record: Value = serde_json::from_slice(&text).context("the record is no JSON")?;
        record[key] = value.clone();
        fs::write(&path, record.to_string()).context("cannot write a record")?;
        Ok(())
    }
}

fn word(ran: &Ran, state: &Value, expected: &str) -> Verdict {
    if state["status"] == expected {
        return Ok(());
    }
    Failure::verdict(
        &ran.command,
        format!("\"status\": \"{expected}\""),
        format!("\"status\": {}", state["status"]),
    )
}

fn refused(ran: &Ran) -> Verdict {
    match ran.code() {
        Some(0) => Failure::verdict(&ran.command, "it fails", "exit code 0"),
        Some(_) if !ran.stderr.is_empty() => Ok(()),
        _ => Failure::verdict(&ran.command, "it fails, and says why", ran.seen()),
    }
}

/// A failure that shows what was done before.
fn follow(before: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(failure) => {
            let command = format!("{} {}", before.trim_end(), failure.command);
            Stop::Failed(Failure { command, ..failure })
        }
        stop @ Stop::Unable(_) => stop,
    }
}

/// Whether something happens soon.
fn until(happens: impl FnMut() -> Result<bool>) -> Result<bool> {
    until_for(SOON, happens)
}

fn until_for(patience: Duration, mut happens: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        if happens()? {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}
