//! `explain CONTAINER`: its parts as the kernel has them.

use serde_json::Value;
use testbed::engine::Engine;
use testbed::until;

#[test]
fn a_container_beside_the_host() {
    let engine = Engine::with_busybox();
    let line = "head -c 100000 /dev/zero > /file; sleep 1000 & sleep 2000; true";
    let options = ["-m", "64m", "--pids-limit", "20", "--cpu-quota", "150000", "-p", "127.0.0.1:8080:80"];
    engine.ok(&[&["run", "-d", "--name", "box"], &options[..], &["busybox", "sh", "-c", line]].concat());
    until("three processes", || engine.ok(&["top", "box"]).lines().count() == 4);
    let anatomy: Value = serde_json::from_str(&engine.ok(&["explain", "--format", "json", "box"])).unwrap();
    let pid = engine.inspect("box", "{{.State.Pid}}");
    let first = &anatomy["processes"][0];
    assert_eq!((first["outside"].to_string(), first["inside"].as_i64()), (pid.clone(), Some(1)));
    assert_eq!(anatomy["processes"][1]["depth"], 1);
    for namespace in anatomy["namespaces"].as_array().unwrap() {
        let kind = namespace["kind"].as_str().unwrap();
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("{kind}:[{}]", namespace["inode"]));
        assert_eq!(namespace["inode"] == namespace["host"], ["user", "time"].contains(&kind), "{kind}");
    }
    let screen = engine.ok(&["explain", "box"]);
    for part in [
        "of 64MiB",
        "3, of 20",
        "at most 1.5 processors at once",
        "in the writable one",
        "127.0.0.1:8080 on the host leads to port 80/tcp",
        "14 in effect",
        "filter mode",
        "none: user 0 inside is user 0 on the host",
    ] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    assert!(screen.lines().count() < 50, "more than a screen:\n{screen}");
    assert_eq!(engine.ok(&["explain", "--svg", "box.svg", "box"]), "");
    let picture = std::fs::read_to_string(engine.folder().join("box.svg")).unwrap();
    assert!(
        picture.starts_with("<svg ")
            && picture.contains("of 64MiB")
            && picture.contains("sleep 1000 &amp; sleep")
    );
    engine.ok(&["kill", "box"]);
    let said = engine.fails(&["explain", "box"]).replace(&engine.inspect("box", "{{.Id}}"), "<ID>");
    insta::assert_snapshot!(said, @"1 Error: container <ID> is not running");
}
