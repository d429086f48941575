//! Containers whose root is not the host's (`--userns-remap`): who owns what, inside and outside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use testbed::accounts::Account;
use testbed::engine::Engine;
use testbed::network::hear;
use testbed::until;

/// The first of the ids that containers get here.
const FIRST: u32 = 200_000;

/// An engine on a host with the user `dockremap`, who has subordinate ids: for this thread alone.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    let home = Path::new("/");
    Account { name: "dockremap", id: 900, home, subordinate: Some(FIRST) }.bring(engine.folder());
    engine
}

/// Runs `line` in a container of this engine's, with other ids; what it prints.
fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    let arguments =
        [&["--userns-remap", "default", "container", "run", "--rm"], options, &["busybox", "sh", "-c", line]];
    engine.ok(&arguments.concat())
}

#[test]
fn root_inside_is_nobody_outside() {
    let engine = engine();
    engine.ok(&[
        "--userns-remap",
        "default",
        "container",
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sleep",
        "1000",
    ]);
    let pid = engine.inspect("box", "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}\n")), "{status}");
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
    // Inside it is root, of files that belong to it there, and with the privileges that containers have.
    let seen = sh(
        &engine,
        &[],
        "id -u; stat -c '%u:%g' /bin/busybox /etc/hosts /dev/null; touch /mine && stat -c %u /mine; \
         grep CapEff /proc/self/status; test -c /dev/null && echo x > /dev/null; ping -c1 -W1 172.17.0.1 | grep -c ' 0% '",
    );
    assert_eq!(seen, "0\n0:0\n0:0\n0:0\n0\nCapEff:\t00000000a80425fb\n1");
}

#[test]
fn what_it_writes_is_stored_as_if_root_had_written_it() {
    let engine = engine();
    engine.ok(&[
        "--userns-remap",
        "default",
        "container",
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo mine > /mine; chown 1000:2000 /mine; rm /etc/group",
    ]);
    let upper = engine.data().join("containers").join(engine.inspect("box", "{{.Id}}")).join("upper");
    let metadata = fs::metadata(upper.join("mine")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1000, 2000));
    // The image is what it was, for others too.
    engine.ok(&["run", "--rm", "busybox", "cat", "/etc/group"]);
    assert_eq!(
        sh(&engine, &["--userns", "host"], "cat /proc/self/uid_map").split_whitespace().collect::<Vec<_>>(),
        ["0", "0", "4294967295"]
    );
}

#[test]
fn a_volume_is_its_own_and_a_host_directory_is_not() {
    let engine = engine();
    assert_eq!(sh(&engine, &["-v", "data:/data"], "touch /data/x && stat -c %u /data"), "0");
    let volume = engine.data().join("volumes/data/_data");
    assert_eq!(fs::metadata(volume.join("x")).unwrap().uid(), FIRST);

    let shared = engine.folder().join("shared");
    fs::create_dir(&shared).unwrap();
    let bind = format!("{}:/shared", shared.display());
    // The class of attack: a program that runs as the host's root, left where the host's users find it.
    let attack = "cp /bin/busybox /shared/su && chmod 4755 /shared/su";
    engine.ok(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", attack]);
    assert_eq!(fs::metadata(shared.join("su")).unwrap().uid(), 0, "without, it succeeds");
    fs::remove_file(shared.join("su")).unwrap();
    let refused = engine.fails(&[
        "--userns-remap",
        "default",
        "container",
        "run",
        "--rm",
        "-v",
        &bind,
        "busybox",
        "sh",
        "-c",
        attack,
    ]);
    assert!(refused.contains("Permission denied"), "{refused}");
    assert!(!shared.join("su").exists());
}

#[test]
fn a_volume_is_filled_for_the_containers_users() {
    let engine = engine();
    let root = testbed::rootfs::Rootfs::busybox();
    fs::create_dir(root.join("data")).unwrap();
    fs::write(root.join("data/file"), "").unwrap();
    std::os::unix::fs::chown(root.join("data"), Some(5), Some(6)).unwrap();
    std::os::unix::fs::chown(root.join("data/file"), Some(1000), Some(70000)).unwrap();
    let archive = engine.folder().join("app.tar");
    testbed::stdout(
        std::process::Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."),
    );
    engine.ok(&["import", "app.tar", "app"]);
    let run = ["--userns-remap", "default", "container", "run", "--rm", "-v", "data:/data", "app"];
    let seen = engine.ok(&[&run[..], &["stat", "-c", "%u:%g", "/data", "/data/file"]].concat());
    // Who is nobody inside has nothing there.
    assert_eq!(seen, "5:6\n1000:0");
    let file = fs::metadata(engine.data().join("volumes/data/_data/file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (FIRST + 1000, FIRST));
}

#[test]
fn copies_belong_to_whom_the_container_knows() {
    let engine = engine();
    fs::write(engine.folder().join("file"), "").unwrap();
    std::os::unix::fs::chown(engine.folder().join("file"), Some(5), Some(6)).unwrap();
    let line = "touch /mine /data/mine; chown 7:8 /mine /data/mine; echo ready; sleep 1000";
    let run = [
        "--userns-remap",
        "default",
        "container",
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "data:/data",
        "busybox",
    ];
    engine.ok(&[&run[..], &["sh", "-c", line]].concat());
    until("they are theirs", || engine.ok(&["logs", "box"]) == "ready");
    for state in ["running", "stopped"] {
        for directory in ["", "/data"] {
            engine.ok(&["cp", "file", &format!("box:{directory}/{state}-given")]);
            engine.ok(&["cp", "-a", "file", &format!("box:{directory}/{state}-kept")]);
            engine.ok(&["cp", "-a", &format!("box:{directory}/mine"), "back"]);
            let back = fs::metadata(engine.folder().join("back")).unwrap();
            assert_eq!((back.uid(), back.gid()), (7, 8), "{state} {directory}");
        }
        engine.ok(&["export", "-o", "all.tar", "box"]);
        let mut list = std::process::Command::new("tar");
        let listed =
            testbed::stdout(list.arg("--numeric-owner").arg("-tvf").arg(engine.folder().join("all.tar")));
        assert!(
            listed.contains(" 7/8 ") && listed.contains(" 0/0 ") && !listed.contains("200000"),
            "{state}"
        );
        if state == "running" {
            engine.ok(&["kill", "box"]);
        }
    }
    let upper = engine.inspect("box", "{{.GraphDriver.Data.UpperDir}}");
    let data = engine.data().join("volumes/data/_data");
    for state in ["running", "stopped"] {
        for (directory, first) in [(Path::new(&upper), 0), (&*data, FIRST)] {
            let owner = |kind| fs::metadata(directory.join(format!("{state}-{kind}"))).unwrap().uid();
            assert_eq!(
                (owner("given"), owner("kept")),
                (first, first + 5),
                "{state} {}",
                directory.display()
            );
        }
    }
}

#[test]
fn published_ports_users_init_and_limits_work_as_ever() {
    let engine = engine();
    engine.ok(&[
        "--userns-remap",
        "default",
        "container",
        "run",
        "-d",
        "--name",
        "web",
        "--init",
        "-u",
        "user",
        "-m",
        "64m",
        "-p",
        "127.0.0.1:8080:80",
        "busybox",
        "nc",
        "-ll",
        "-p",
        "80",
        "-e",
        "echo",
        "hello",
    ]);
    until("it answers", || hear("127.0.0.1:8080") == "hello");
    let pid = engine.inspect("web", "{{.State.Pid}}");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.contains(&engine.inspect("web", "{{.Id}}")), "{cgroup}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{0}\t{0}", FIRST + 1000)), "{status}");
    engine.ok(&["stop", "-t", "1", "web"]);
    assert_eq!(sh(&engine, &["-u", "user"], "echo out > /dev/stdout; id -u"), "out\n1000");
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let engine = engine();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let refused = |user: &str, options: &[&str]| {
        let all =
            [&["--userns-remap", user, "container", "run", "--rm"], options, &["busybox", "true"]].concat();
        engine.fails(&all)
    };
    let table = [
        refused("default", &["--privileged"]),
        refused("default", &["--network", "host"]),
        refused("default", &["--pid", "host"]),
        refused("default", &["--network", "container:box"]),
        refused("default", &["--userns", "odd"]),
        refused("nobody-here", &[]),
        refused("root", &[]),
    ];
    insta::assert_snapshot!(table.join("\n"));
}
