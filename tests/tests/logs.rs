//! `logs`: how output is kept, put aside, told and lost.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use testbed::engine::Engine;
use testbed::{stdout, until};

/// The sizes of a container's log files, by what follows the ID in their names.
fn files(engine: &Engine, name: &str) -> Vec<(String, u64)> {
    let id = engine.inspect(name, "{{.Id}}");
    let directory = engine.data().join("containers").join(&id);
    let names = Engine::entries(&directory).into_iter();
    names
        .filter_map(|name| Some((name.strip_prefix(&id)?.to_owned(), name)))
        .map(|(rest, name)| (rest, fs::metadata(directory.join(name)).expect("a file of the log").len()))
        .collect()
}

#[test]
fn a_log_is_put_aside_when_it_is_full() {
    let engine = Engine::with_busybox();
    let line = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done";
    let options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=3"];
    engine.ok(&[&["run", "--name", "box"], &options[..], &["busybox", "sh", "-c", line]].concat());
    let files = files(&engine, "box");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["-json.log", "-json.log.1", "-json.log.2"]);
    assert!(files.iter().all(|(_, size)| *size < 10_200), "{files:?}");
    // What is kept is read in one piece, in the order in which it was written.
    let logs = engine.ok(&["logs", "box"]);
    let numbers: Vec<usize> =
        logs.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
    assert!(numbers.len() > 200 && numbers.len() < 400, "{}", numbers.len());
    assert_eq!(numbers, (400 - numbers.len()..400).collect::<Vec<_>>());
    assert_eq!(engine.ok(&["logs", "-n", "2", "box"]), "line 398\nline 399");
    insta::assert_snapshot!(engine.inspect("box", "{{json .HostConfig.LogConfig}}"), @r#"{"Type":"json-file","Config":{"max-file":"3","max-size":"10k"}}"#);

    // One file that is never full for long.
    engine.ok(&["run", "--name", "one", "--log-opt", "max-size=1k", "busybox", "sh", "-c", line]);
    assert_eq!(self::files(&engine, "one").len(), 1);
    assert!(engine.ok(&["logs", "one"]).ends_with("line 399"));
}

#[test]
fn who_follows_a_log_misses_nothing_when_it_is_put_aside() {
    let engine = Engine::with_busybox();
    // No more is written than what one file holds before the follower has shown it: what is dropped, nobody can follow.
    let line = "echo ready; i=0; while [ $i -lt 600 ]; do [ $((i%50)) = 0 ] && read go; echo line $i; i=$((i+1)); done";
    let options = ["--log-opt", "max-size=4k", "--log-opt", "max-file=4"];
    engine
        .ok(&[&["run", "-d", "-i", "--name", "box"], &options[..], &["busybox", "sh", "-c", line]].concat());
    let mut follower = engine.command(&["logs", "-f", "box"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut attach = engine.command(&["attach", "box"]);
    let mut attach = attach.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut keyboard = attach.stdin.take().unwrap();
    assert_eq!(seen.next().unwrap().unwrap(), "ready");
    for number in 0..600 {
        if number % 50 == 0 {
            keyboard.write_all(b"go\n").unwrap();
        }
        assert_eq!(seen.next().unwrap().unwrap(), format!("line {number}"));
    }
    assert!(seen.next().is_none(), "a log ends with its container");
    follower.wait().unwrap();
    attach.wait().unwrap();
}

#[test]
fn a_log_that_is_not_kept_cannot_be_read() {
    let engine = Engine::with_busybox();
    assert_eq!(
        engine.ok(&["run", "--name", "box", "--log-driver", "none", "busybox", "echo", "seen"]),
        "seen"
    );
    assert_eq!(files(&engine, "box"), []);
    insta::assert_snapshot!(engine.fails(&["logs", "box"]), @"1 Error: configured logging driver does not support reading");
    assert_eq!(engine.inspect("box", "{{.LogPath}}"), "");
    for options in [["--log-driver", "syslog"], ["--log-opt", "max-size=big"], ["--log-opt", "max-file=0"]] {
        let said = engine.fails(&[&["run", "--rm"], &options[..], &["busybox", "true"]].concat());
        assert!(said.starts_with("125 Error: ") && said.lines().count() == 1, "{said}");
    }
    assert_eq!(engine.ok(&["ps", "-a", "--format", "{{.Names}}"]), "box", "nothing was made");
}

#[test]
fn details_tell_labels_and_variables() {
    let engine = Engine::with_busybox();
    let words =
        ["--label", "tier=a b", "--label", "other=x", "-e", "COLOUR=blue", "--log-opt", "labels=tier"];
    let words = [&["run", "--name", "box", "--log-opt", "env=COLOUR,NONE"], &words[..]].concat();
    engine.ok(&[&words[..], &["busybox", "echo", "said"]].concat());
    assert_eq!(engine.ok(&["logs", "--details", "box"]), "COLOUR=blue,tier=a+b said");
    assert_eq!(engine.ok(&["logs", "box"]), "said");
    engine.ok(&["run", "--name", "plain", "busybox", "echo", "said"]);
    assert_eq!(engine.ok(&["logs", "--details", "plain"]), " said");
}

#[test]
fn a_container_goes_on_when_the_disk_is_full() {
    let engine = Engine::with_busybox();
    // In a mount namespace of its own: the small disk ends with the script.
    let script = r#"
        set -e
        mkdir -p "$MINI_DOCKER_DATA_ROOT"
        mount -t tmpfs -o size=4m tmpfs "$MINI_DOCKER_DATA_ROOT"
        "$PROGRAM" import --change 'CMD ["sh"]' busybox.tar busybox > /dev/null
        "$PROGRAM" run --name box busybox sh -c '
            i=0; while [ $i -lt 400 ]; do head -c 16000 /dev/zero | tr "\0" x; echo; i=$((i+1)); done
            echo done >&2' > /dev/null
        "$PROGRAM" inspect --format '{{.State.ExitCode}} {{.State.Error}}' box
        # Every line that is there is whole.
        "$PROGRAM" logs box 2> /dev/null | awk '{ print length($0) }' | sort -un
        "$PROGRAM" rm box
    "#;
    let mut command = engine.command(&[]);
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).envs(environment).env("PROGRAM", Engine::program());
    let said = stdout(command.current_dir(engine.folder()));
    let lengths: BTreeSet<&str> = said.lines().skip(1).collect();
    assert!(said.starts_with("0 cannot write the whole log: ENOSPC"), "{said}");
    assert!(lengths.contains("16000"), "{said}");
    until("nothing is left", || engine.ok(&["ps", "-aq"]).is_empty());
}
