//! Containers that start more than once, or pause: `create`, `start`, `restart`, `pause`, `wait`, `rename`, `attach`, and
//! restart policies.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use testbed::engine::Engine;
use testbed::{network, until};

fn status(engine: &Engine, name: &str) -> String {
    engine.inspect(name, "{{.State.Status}}")
}

#[test]
fn a_policy_that_comes_while_it_runs() {
    let engine = Engine::with_busybox();
    // The second also with others who could look into it, and with an init process.
    for (name, options) in [("plain", &[][..]), ("shared", &["--pid", "host"]), ("attended", &["--init"])] {
        let line = "until test -e /go; do sleep 0.05; done; rm /go; exit 3";
        engine.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", line]].concat());
        engine.ok(&["update", "--restart", "on-failure:1", name]);
        engine.let_end(name, "/go");
        until("it runs again", || engine.inspect(name, "{{.RestartCount}} {{.State.Running}}") == "1 true");
        engine.let_end(name, "/go");
        until("it has ended", || engine.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 3");
    }
}

/// CVE-2019-5736: a container whose program has become the engine's binary meanwhile is not started as lightly as the shim
/// does it.
#[test]
fn what_only_a_command_starts_again() {
    let engine = Engine::with_busybox();
    let bound = format!("{}:/engine:ro", Engine::program().display());
    let line = "ln -sf /engine /bin/sh; until test -e /go; do sleep 0.05; done; exit 3";
    engine.ok(&["run", "-d", "--name", "box", "-v", &bound, "busybox", "sh", "-c", line]);
    engine.ok(&["update", "--restart", "always", "box"]);
    engine.let_end("box", "/go");
    until("it has ended", || status(&engine, "box") == "exited");
    let error = engine.inspect("box", "{{.State.Error}}");
    assert!(
        error.contains("the program would be run by this binary (use 'mini-docker start box')"),
        "{error}"
    );
    engine.ok(&["update", "--restart", "no", "box"]);
    engine.ok(&["start", "box"]);
    until("it has ended", || status(&engine, "box") == "exited");
    assert_eq!(engine.inspect("box", "{{.State.Error}}"), "");
}

#[test]
fn a_container_is_created_started_and_started_again() {
    let engine = Engine::with_busybox();
    let line = "test -e /mark && echo again || echo first; touch /mark; exit 4";
    let id = engine.ok(&["create", "--name", "box", "busybox", "sh", "-c", line]);
    assert_eq!(
        (id.as_str(), status(&engine, "box").as_str()),
        (&*engine.inspect("box", "{{.Id}}"), "created")
    );
    assert!(!engine.fleeting().join(&id).exists(), "nothing is under way");
    for said in ["first\n", "again\n"] {
        let output = engine.run(&["start", "-a", "box"]);
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stdout)), (Some(4), said));
    }
    assert_eq!(engine.ok(&["start", "box"]), "box");
    assert_eq!(engine.ok(&["wait", "box"]), "4");
    assert_eq!(engine.ok(&["logs", "box"]), "first\nagain\nagain");
}

#[test]
fn to_start_what_runs_is_no_error_and_changes_nothing() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = engine.inspect("box", "{{.State.Pid}}");
    assert_eq!(engine.ok(&["start", "box"]), "box");
    assert_eq!(engine.inspect("box", "{{.State.Pid}}"), pid);
    assert_eq!(engine.ok(&["restart", "-t", "0", "box"]), "box");
    assert_ne!(engine.inspect("box", "{{.State.Pid}}"), pid);
    insta::assert_snapshot!(engine.fails(&["start", "box", "nobody"]), @"1 Error: No such container: nobody");
    insta::assert_snapshot!(engine.fails(&["start", "-a", "box", "box"]), @"1 Error: you cannot start and attach multiple containers at once");
}

#[test]
fn what_cannot_start_stays_what_it_was() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "busybox", "nothing"]);
    insta::assert_snapshot!(engine.fails(&["start", "box"]), @r#"1 Error: exec: "nothing": executable file not found in $PATH"#);
    insta::assert_snapshot!(engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}"), @r#"created 127 exec: "nothing": executable file not found in $PATH"#);
    insta::assert_snapshot!(engine.fails(&["start", "-a", "box"]), @r#"1 Error: exec: "nothing": executable file not found in $PATH"#);
}

#[test]
fn a_paused_container_does_nothing_and_can_be_killed() {
    let engine = Engine::with_busybox();
    let counter = "while true; do echo >> /count; done";
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", counter]);
    let id = engine.inspect("box", "{{.Id}}");
    let count = engine.data().join("containers").join(id).join("upper/count");
    let size = || fs::metadata(&count).map_or(0, |count| count.len());
    until("it counts", || size() > 0);
    assert_eq!(engine.ok(&["pause", "box"]), "box");
    let frozen = size();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(size(), frozen);
    assert!(engine.ok(&["ps"]).contains("(Paused)"));
    insta::assert_snapshot!(engine.inspect("box", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"), @"paused true true");
    insta::assert_snapshot!(engine.fails(&["attach", "box"]), @"1 Error: cannot attach to a paused container, unpause it first");
    assert_eq!(engine.ok(&["unpause", "box"]), "box");
    until("it counts again", || size() > frozen);
    let said = engine.fails(&["unpause", "box"]).replace(&engine.inspect("box", "{{.Id}}"), "<ID>");
    insta::assert_snapshot!(said, @"1 Error: Container <ID> is not paused");

    engine.ok(&["pause", "box"]);
    engine.ok(&["kill", "box"]);
    assert_eq!(engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    engine.ok(&["start", "box"]);
    engine.ok(&["pause", "box"]);
    engine.ok(&["stop", "-t", "1", "box"]);
    assert_eq!(status(&engine, "box"), "exited");
    engine.ok(&["start", "box"]);
    engine.ok(&["pause", "box"]);
    engine.ok(&["rm", "-f", "box"]);
}

#[test]
fn to_wait_tells_exit_codes() {
    let engine = Engine::with_busybox();
    for (name, code, options) in [("one", 3, &[][..]), ("two", 5, &["--rm"])] {
        let line = format!("until test -e /go; do sleep 0.05; done; exit {code}");
        engine.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", &line]].concat());
    }
    let mut wait = engine.command(&["wait", "one", "two"]);
    let mut wait = wait.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(wait.stdout.take().unwrap()).lines();
    engine.let_end("one", "/go");
    assert_eq!(said.next().unwrap().unwrap(), "3");
    // They are waited for in turn; the second would be gone without a trace. What is connected now is to its shim.
    let descriptors = format!("/proc/{}/fd", wait.id());
    until("the second is waited for", || {
        let open = fs::read_dir(&descriptors).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        open.into_iter().any(|file| file.to_string_lossy().starts_with("socket:"))
    });
    engine.let_end("two", "/go");
    assert_eq!(said.next().unwrap().unwrap(), "5");
    assert!(wait.wait().unwrap().success());
    assert_eq!(engine.ok(&["wait", "one"]), "3");
    insta::assert_snapshot!(engine.fails(&["wait", "two"]), @"1 Error: No such container: two");
}

#[test]
fn a_container_gets_another_name() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "old", "busybox", "sleep", "1000"]);
    engine.ok(&["create", "--name", "other", "busybox"]);
    assert_eq!(engine.ok(&["rename", "old", "new"]), "");
    assert_eq!(engine.inspect("new", "{{.Name}} {{.State.Status}}"), "/new running");
    assert!(engine.fails(&["inspect", "old"]).contains("No such object: old"));
    assert!(
        engine.fails(&["rename", "new", "other"]).contains("The container name \"/other\" is already in use")
    );
    // A record that cannot be written has not taken the name.
    let block = engine.data().join("containers").join(engine.inspect("new", "{{.Id}}")).join("container.tmp");
    fs::create_dir(&block).unwrap();
    assert!(engine.fails(&["rename", "new", "third"]).contains("EISDIR"));
    fs::remove_dir(&block).unwrap();
    assert_eq!(Engine::entries(&engine.data().join("names")), ["new", "other"]);
    insta::assert_snapshot!(engine.fails(&["rename", "new", "new"]), @"1 Error: Renaming a container with the same name as its current name");
    insta::assert_snapshot!(engine.fails(&["rename", "new", "a/b"]), @"1 Error: Invalid container name (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    // The old name is free, and the new one goes with the container.
    engine.ok(&["create", "--name", "old", "busybox"]);
    engine.ok(&["rm", "-f", "new"]);
    engine.ok(&["rename", "old", "new"]);
    assert_eq!(Engine::entries(&engine.data().join("names")), ["new", "other"]);
}

#[test]
fn what_is_attached_later_sees_what_comes_later() {
    let engine = Engine::with_busybox();
    let line = "echo early; read word; echo got $word; exit 6";
    engine.ok(&["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", line]);
    until("it has written", || engine.ok(&["logs", "box"]) == "early");
    let mut attach = engine.command(&["attach", "box"]);
    let attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut attach = attach.spawn().unwrap();
    std::io::Write::write_all(&mut attach.stdin.take().unwrap(), b"it\n").unwrap();
    let output = attach.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stdout)), (Some(6), "got it\n"));
    insta::assert_snapshot!(engine.fails(&["attach", "box"]), @"1 Error: cannot attach to a stopped container, start it first");
}

#[test]
fn a_failure_is_tried_again_as_often_as_the_policy_says() {
    let engine = Engine::with_busybox();
    let line = "echo try; exit 3";
    engine.ok(&["run", "-d", "--restart", "on-failure:2", "--name", "box", "busybox", "sh", "-c", line]);
    until("it is given up", || status(&engine, "box") == "exited");
    assert_eq!(engine.ok(&["logs", "box"]), "try\ntry\ntry");
    insta::assert_snapshot!(
        engine.inspect("box", "{{.RestartCount}} {{.State.ExitCode}} {{json .HostConfig.RestartPolicy}}"),
        @r#"2 3 {"Name":"on-failure","MaximumRetryCount":2}"#
    );
    engine.ok(&["run", "-d", "--restart", "on-failure", "--name", "good", "busybox", "true"]);
    until("it has ended", || status(&engine, "good") == "exited");
    assert_eq!(engine.inspect("good", "{{.RestartCount}}"), "0");
}

#[test]
fn always_means_until_somebody_stops_it() {
    let engine = Engine::with_busybox();
    for policy in ["always", "unless-stopped"] {
        let line = "echo run; sleep 0.1";
        engine.ok(&["run", "-d", "--restart", policy, "--name", policy, "busybox", "sh", "-c", line]);
        until("it has run twice", || engine.ok(&["logs", policy]).lines().count() >= 2);
        engine.ok(&["stop", policy]);
        assert_eq!(status(&engine, policy), "exited");
        let runs = engine.ok(&["logs", policy]);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(engine.ok(&["logs", policy]), runs);
    }
    // Also while it waits, and by a kill.
    engine.ok(&["run", "-d", "--restart", "always", "--name", "failing", "busybox", "false"]);
    until("it waits for one more try", || engine.ok(&["ps"]).contains("Restarting (1) "));
    engine.ok(&["kill", "failing"]);
    assert_eq!(status(&engine, "failing"), "exited");
    engine.ok(&["start", "failing"]);
    engine.ok(&["rm", "-f", "failing"]);
}

#[test]
fn a_restart_keeps_ports_and_files() {
    let engine = Engine::with_busybox();
    network::own();
    let line =
        "echo run >> /runs; nc -ll -p 80 -e sh -c 'wc -l < /runs' & read -t 1000 < /dev/zero; sleep 1000";
    engine.ok(&[
        "run",
        "-d",
        "--restart",
        "always",
        "--name",
        "box",
        "-p",
        "127.0.0.1:8080:80",
        "busybox",
        "sh",
        "-c",
        line,
    ]);
    until("it answers", || network::hear("127.0.0.1:8080") == "1");
    // As if it had crashed: not by the engine.
    let pid: i32 = engine.inspect("box", "{{.State.Pid}}").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("it answers again", || network::hear("127.0.0.1:8080") == "2");
    assert_eq!(engine.inspect("box", "{{.RestartCount}}"), "1");
    engine.ok(&["rm", "-f", "box"]);
    assert_eq!(engine.leases(), [""; 0]);
}

#[test]
fn policies_that_cannot_be() {
    let engine = Engine::with_busybox();
    let complaints: String = [
        &["--rm", "--restart", "always"][..],
        &["--restart", "sometimes"],
        &["--restart", "always:3"],
        &["--restart", "on-failure:many"],
    ]
    .iter()
    .map(|options| engine.fails(&[&["run"], *options, &["busybox"]].concat()) + "\n")
    .collect();
    insta::assert_snapshot!(complaints);
}

#[test]
fn two_commands_that_start_and_stop_one_container_at_once() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "busybox", "sleep", "1000"]);
    let began = Instant::now();
    for _ in 0..6 {
        let mut commands: Vec<_> = [["start", "box"], ["start", "box"], ["kill", "box"]]
            .iter()
            .map(|words| engine.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
            .collect();
        let codes: Vec<_> = commands.iter_mut().map(|command| command.wait().unwrap().code()).collect();
        assert_eq!(&codes[..2], [Some(0), Some(0)]);
        assert!(["running", "exited"].contains(&&*status(&engine, "box")));
    }
    assert!(began.elapsed() < Duration::from_mins(1), "somebody waited for somebody");
    engine.ok(&["rm", "-f", "box"]);
}

#[test]
fn one_after_another_may_feed_a_container() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "-i", "--name", "box", "busybox", "cat"]);
    let mut feeders = Vec::new();
    for said in ["one", "one\ntwo"] {
        let mut attach = engine.command(&["attach", "box"]);
        let mut attach = attach.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let line = said.lines().last().unwrap();
        writeln!(attach.stdin.take().unwrap(), "{line}").unwrap();
        until("it has come", || engine.ok(&["logs", "box"]) == said);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(status(&engine, "box"), "running");
        feeders.push(attach);
    }
    engine.ok(&["kill", "box"]);
    for mut feeder in feeders {
        assert_eq!(feeder.wait().unwrap().code(), Some(137));
    }
    // But not one whose only feeder was there from the beginning.
    engine.ok(&["create", "-i", "--name", "fed", "busybox", "cat"]);
    let mut start = engine.command(&["start", "-a", "-i", "fed"]);
    assert!(start.stdin(Stdio::null()).status().unwrap().success());
}
