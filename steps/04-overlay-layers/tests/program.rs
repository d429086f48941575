//! The step's program, from outside: layers in, changes out, nothing left.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cgroups::{Cgroup, Hierarchy};
use common::Archive;
use tar::EntryType;

fn run(options: &[&str], command: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_overlay-layers")).args(options).args(command).output().unwrap()
}

#[test]
fn a_command_on_layers() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok());
    let busybox = busybox.expect("a static busybox is on every test host");
    let base = ["sh", "cat", "rm"].iter().fold(Archive::new(), |archive, name| {
        archive
            .with(&format!("bin/{name}"), EntryType::Regular, "", &busybox, |header| header.set_mode(0o755))
    });
    fs::write(at("base.tar"), base.file("etc/motd", "hello\n").file("etc/old", "").bytes()).unwrap();
    fs::write(at("top.tar"), Archive::new().file("etc/motd", "hello again\n").bytes()).unwrap();
    let (store, base, top) = (at("store"), at("base.tar"), at("top.tar"));
    let layers = ["--store", &store, "-l", &base, "-l", &top];

    let script = "cat /etc/motd; echo x >/new; rm /etc/old; exit 7";
    let commit = at("change.tar");
    let output = run(&[&layers[..], &["--commit", &commit]].concat(), &["/bin/sh", "-c", script]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{out}{err}");
    let lines: Vec<_> = out.lines().filter(|line| !line.starts_with("sha256:")).collect();
    assert!(lines.starts_with(&["hello again"]), "{out}{err}");
    for change in ["A /new", "C /etc", "D /etc/old"] {
        assert!(lines.contains(&change), "{change}: {out}{err}");
    }

    // What it changed is a layer like any other.
    let options = [&layers[..], &["-l", &commit]].concat();
    let output = run(&options, &["/bin/sh", "-c", "cat /new; test ! -e /etc/old"]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"x\n"), "{output:?}");

    // What is written lasts only where it was asked for.
    let kept = at("kept");
    for expected in ["x\n", "x\nx\n"] {
        let output =
            run(&[&layers[..], &["--upper", &kept]].concat(), &["/bin/sh", "-c", "echo x >>/log; cat /log"]);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.starts_with(expected) && out.contains("\nA /log\n"), "{output:?}");
    }
    assert_eq!(fs::read_dir(&store).unwrap().count(), 3, "three layers, each once, and nothing else");

    let output = run(&layers, &["/no/such/program"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let output = run(&["--store", &store, "-l", "/no/such.tar"], &["x"]);
    assert_eq!(output.status.code(), Some(125));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.starts_with("overlay-layers: cannot open /no/such.tar") && error.lines().count() == 1,
        "{error}"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()) && Path::new(&store).exists());

    // The parent of all our cgroups stays for the next one, unless this test was the only one to want it.
    let hierarchy = Hierarchy::detect().unwrap();
    if let Some(parent) = Cgroup::open(&hierarchy, "", "mini-docker").unwrap()
        && Cgroup::list(&hierarchy, "mini-docker").unwrap().is_empty()
    {
        parent.remove().unwrap();
    }
}
