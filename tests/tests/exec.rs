//! `exec`: commands that come later into a container.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use testbed::engine::Engine;
use testbed::until;

/// An engine with a container called box that runs.
fn engine(options: &[&str]) -> Engine {
    let engine = Engine::with_busybox();
    let (before, after) = (["run", "-d", "--name", "box"], ["busybox", "sleep", "1000"]);
    engine.ok(&[&before, options, &after].concat());
    engine
}

#[test]
fn a_command_finds_itself_in_the_container() {
    let engine = engine(&["-e", "COLOUR=blue", "--hostname", "inn", "-w", "/tmp", "-m", "64m"]);
    let line = "echo $COLOUR $HOSTNAME $PWD; hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo; id -u; \
                for ns in pid net ipc uts mnt cgroup; do \
                    test \"$(readlink /proc/1/ns/$ns)\" = \"$(readlink /proc/self/ns/$ns)\" && echo $ns; done; \
                for field in CapEff CapBnd Seccomp NoNewPrivs; do \
                    test \"$(grep $field: /proc/1/status)\" = \"$(grep $field: /proc/self/status)\" && echo $field; done";
    insta::assert_snapshot!(engine.ok(&["exec", "box", "sh", "-c", line]));
    // It counts for the container's limits.
    let pid = engine.inspect("box", "{{.State.Pid}}");
    engine.ok(&["exec", "-d", "box", "sleep", "1234"]);
    let cgroup = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let sleeper = || {
        let children = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let is_it = |path: &Path| fs::read(path.join("cmdline")).is_ok_and(|line| line == b"sleep\x001234\0");
        children.into_iter().find(|path| is_it(path))
    };
    until("it sleeps", || sleeper().is_some());
    let sleeper = sleeper().unwrap();
    assert_eq!(cgroup(sleeper.file_name().unwrap().to_str().unwrap()), cgroup(&pid));
    // The end of the first process is that of all.
    engine.ok(&["kill", "box"]);
    until("it is gone", || !sleeper.exists());
}

#[test]
fn what_the_user_asks_for() {
    let engine = engine(&["-e", "A=container", "--user", "1000:100"]);
    let said = |options: &[&str], line: &str| {
        let (before, after) = (["exec"], ["box", "sh", "-c", line]);
        engine.ok(&[&before[..], options, &after].concat())
    };
    assert_eq!(said(&[], "id -u; id -g; echo $A"), "1000\n100\ncontainer");
    assert_eq!(said(&["-u", "0"], "id -u; id -g"), "0\n0");
    assert_eq!(said(&["-e", "A=exec", "-e", "B=too", "-w", "/etc"], "echo $A $B; pwd"), "exec too\n/etc");
    let all = said(&["--privileged", "-u", "root"], "grep CapBnd /proc/self/status");
    let host = fs::read_to_string("/proc/self/status").unwrap();
    assert!(host.contains(&all), "{all}");
    // The container's own have stayed what they were.
    assert!(!host.contains(&said(&[], "grep CapBnd /proc/1/status")));
}

#[test]
fn streams_and_exit_codes_pass_through() {
    let engine = engine(&[]);
    let output = engine.run(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(output.status.code(), Some(42));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    let mut cat = engine.command(&["exec", "-i", "box", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let mut stdin = cat.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || std::io::Write::write_all(&mut stdin, &sent)
    });
    let output = cat.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.stdout == sent, "{} of {} bytes came back", output.stdout.len(), sent.len());
    assert_eq!(engine.ok(&["exec", "box", "wc", "-c"]), "0", "without -i there is no input");
    assert_eq!(engine.ok(&["exec", "-d", "box", "touch", "/done"]), "");
    until("it has been done", || engine.run(&["exec", "box", "test", "-e", "/done"]).status.success());
    // What they write is not the container's output.
    assert_eq!(engine.ok(&["logs", "box"]), "");
}

#[test]
fn what_cannot_be() {
    let engine = engine(&[]);
    let id = engine.inspect("box", "{{.Id}}");
    let mut complaints = String::new();
    let mut complain = |arguments: &[&str]| {
        complaints += &engine.fails(&[&["exec"], arguments].concat()).replace(&id, "<ID>");
        complaints.push('\n');
    };
    complain(&["box", "nothing"]);
    complain(&["box", "/etc/passwd"]);
    complain(&["-u", "nobody-here", "box", "true"]);
    complain(&["nobody", "true"]);
    engine.ok(&["pause", "box"]);
    complain(&["box", "true"]);
    engine.ok(&["unpause", "box"]);
    engine.ok(&["kill", "box"]);
    complain(&["box", "true"]);
    insta::assert_snapshot!(complaints);
}

#[test]
fn a_working_directory_that_is_not_there_is_not_made() {
    let engine = engine(&[]);
    insta::assert_snapshot!(engine.fails(&["exec", "-w", "/missing", "box", "true"]), @"126 Error: cannot enter the working directory /missing: ENOENT: No such file or directory");
    engine.ok(&["exec", "box", "test", "!", "-e", "/missing"]);
}
