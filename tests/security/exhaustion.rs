//! A container that takes all it can get: the host, the other containers and its own shim go on.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use testbed::engine::Engine;
use testbed::until;

use crate::sh;

/// The most memory that a process of the engine's may need whatever a container does, in KiB. It is a few MiB of the
/// program itself, and buffers that have limits.
const BOUND: u64 = 48 << 10;

/// The most memory that process `pid` ever had, in KiB.
fn peak(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The shim of container `name`.
fn shim(engine: &Engine, name: &str) -> String {
    let first = engine.inspect(name, "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("it has one").to_owned()
}

/// 200 MB without a single line end.
const FLOOD: &str = "tr '\\0' x < /dev/zero | head -c 200000000";

/// Output that nobody waits for goes to the log piece by piece.
#[test]
fn a_shim_takes_any_amount_of_output() {
    let engine = Engine::with_busybox();
    let line = format!("{FLOOD}; echo; echo all is said; exec sleep 1000");
    engine.ok(&["run", "-d", "--name", "loud", "busybox", "sh", "-c", &line]);
    let (shim, log) = (shim(&engine, "loud"), engine.inspect("loud", "{{.LogPath}}"));
    for megabytes in (10..=200).step_by(10) {
        until("more is written", || fs::metadata(&log).is_ok_and(|log| log.len() > megabytes * 1_000_000));
    }
    assert!(peak(&shim) < BOUND, "the shim has {} KiB", peak(&shim));
    assert_eq!(engine.ok(&["run", "--rm", "busybox", "echo", "others go on"]), "others go on");
    engine.ok(&["rm", "-f", "loud"]);
}

/// An attached command whose reader has stopped reading: the container waits, as it would for a terminal, and nothing
/// piles up. It can still be ended, and others do not notice.
#[test]
fn nobody_reads_the_output() {
    let engine = Engine::with_busybox();
    let mut run = engine.command(&["run", "--name", "loud", "busybox", "sh", "-c", FLOOD]);
    let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
    until("it runs", || {
        engine.run(&["inspect", "loud"]).status.success()
            && engine.inspect("loud", "{{.State.Running}}") == "true"
    });
    let shim = shim(&engine, "loud");
    let log = engine.inspect("loud", "{{.LogPath}}");
    let written = || fs::metadata(&log).map_or(0, |log| log.len());
    // It stands still, far from the end.
    let mut last = 0;
    until("the container waits", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let still = written() == last && last > 0;
        last = written();
        still
    });
    assert!(last < 20_000_000, "{last} bytes");
    for (who, pid) in [("shim", &shim), ("command", &run.id().to_string())] {
        assert!(peak(pid) < BOUND, "the {who} has {} KiB", peak(pid));
    }
    assert_eq!(engine.ok(&["run", "--rm", "busybox", "echo", "others go on"]), "others go on");
    let begun = Instant::now();
    engine.ok(&["kill", "loud"]);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    drop(run.stdout.take());
    run.wait().unwrap();
}

/// Input for a container that does not read it.
#[test]
fn nobody_reads_the_input() {
    let engine = Engine::with_busybox();
    let mut run = engine.command(&["run", "-i", "--name", "deaf", "busybox", "sleep", "1000"]);
    let mut run = run.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = run.stdin.take().unwrap();
    let flood = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        // It ends with a broken pipe.
        (0..200).try_for_each(|_| stdin.write_all(&piece)).is_err()
    });
    until("it runs", || {
        engine.run(&["inspect", "deaf"]).status.success()
            && engine.inspect("deaf", "{{.State.Running}}") == "true"
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    for (who, pid) in [("shim", shim(&engine, "deaf")), ("command", run.id().to_string())] {
        assert!(peak(&pid) < BOUND, "the {who} has {} KiB", peak(&pid));
    }
    assert_eq!(engine.ok(&["run", "--rm", "busybox", "echo", "others go on"]), "others go on");
    engine.ok(&["kill", "deaf"]);
    run.wait().unwrap();
    assert!(flood.join().unwrap(), "it was not all taken");
}

/// Processes, memory and files in memory have limits, and end with the container.
#[test]
fn processes_memory_and_files_in_memory() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "quiet", "busybox", "sleep", "1000"]);
    // A fork bomb.
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "30",
        "busybox",
        "sh",
        "-c",
        "f() { f | f & }; f; exec sleep 1000",
    ]);
    assert_eq!(sh(&engine, &[], "echo others go on"), "others go on");
    engine.ok(&["rm", "-f", "bomb"]);
    // The reader of a line without end.
    let eaten = engine.run(&["run", "--name", "eater", "--memory", "32m", "busybox", "tail", "/dev/zero"]);
    assert_eq!(eaten.status.code(), Some(137), "{eaten:?}");
    assert_eq!(engine.inspect("eater", "{{.State.OOMKilled}}"), "true");
    let fill = "for folder in /dev/shm /dev /run; do dd if=/dev/zero of=$folder/x bs=1M count=200 2>&1 | grep -c 'No space left'; du -m $folder/x | cut -f1; done; \
                i=0; while [ $i -lt 100 ] && mkdir /sys/fs/cgroup/$i 2>/dev/null; do i=$((i + 1)); done; echo $i";
    let said = sh(&engine, &["--tmpfs", "/run:size=3m"], &fill.replace("du", "busybox du"));
    assert_eq!(said, "1\n64\n1\n64\n1\n3\n0");
    assert_eq!(engine.inspect("quiet", "{{.State.Running}}"), "true");
}

/// A full disk is the worst that a log can do. It is no reason to end the container, or to lose its end.
#[test]
fn a_log_that_cannot_grow() {
    let engine = Engine::with_busybox();
    // The shim inherits the limit of how large a file may become.
    let line = format!(
        "ulimit -f 64; exec {} run -d --name loud busybox sh -c 'head -c 1000000 /dev/zero | tr \"\\0\" x; exit 7'",
        Engine::program().display()
    );
    let mut run = Command::new("sh");
    run.args(["-c", &line])
        .env("MINI_DOCKER_DATA_ROOT", engine.data())
        .env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    testbed::stdout(&mut run);
    until("it has ended", || engine.inspect("loud", "{{.State.Running}}") == "false");
    let end = engine.inspect("loud", "{{.State.ExitCode}} {{.State.Error}}");
    assert!(end.starts_with("7 cannot write the whole log: EFBIG"), "{end}");
}
