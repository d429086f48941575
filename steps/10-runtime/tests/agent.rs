//! System calls that somebody else decides about.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Bench, complaint};
use serde_json::json;
use testbed::agent::Agent;

/// A bundle that makes a directory, which the agent at the returned path is asked about.
fn asking() -> (Bench, PathBuf) {
    let mut bench = Bench::sh("mkdir /tmp/x; sleep 100");
    let path = bench.bundle().join("agent");
    bench.set("/annotations", json!({"a": "b"}));
    bench.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "what it is for",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
    (bench, path)
}

#[test]
fn calls_are_answered_by_an_agent() {
    // The filter comes last, or before privileges are given up.
    for no_new_privileges in [true, false] {
        let (mut bench, path) = asking();
        bench.set("/process/noNewPrivileges", json!(no_new_privileges));
        let agent = Agent::listen(&path);
        let output = bench.create(&["--pid-file", "pid"]);
        bench.ok(&["start", "c"]);
        let message = agent.told();
        let pid: i64 = fs::read_to_string(bench.bundle().join("pid")).unwrap().parse().unwrap();
        assert_eq!(
            message,
            json!({
                "ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": pid, "metadata": "what it is for",
                "state": {
                    "ociVersion": "1.2.0", "id": "c", "status": "creating", "pid": pid,
                    "bundle": bench.bundle(), "annotations": {"a": "b"},
                },
            })
        );
        let said = || fs::read_to_string(&output).unwrap();
        testbed::until("an answer", || said().contains("Inappropriate ioctl"));

        // Another process has a filter of its own, and the agent hears of it too.
        let refused = complaint(&bench.run(&["exec", "c", "mkdir", "/tmp/y"]));
        assert!(refused.contains("Inappropriate ioctl"), "{refused}");
        let message = agent.told();
        assert_eq!(message["state"]["status"], "running");
        assert_eq!(message["state"]["pid"], pid);
        assert_ne!(message["pid"], pid);
        bench.ok(&["kill", "c", "KILL"]);
        bench.until("stopped");
    }
}

/// Before the agent has the listener nobody would answer, so nothing is asked for: no memory, say, for a long message.
#[test]
fn an_agent_is_told_before_anything_is_asked() {
    let (mut bench, path) = asking();
    bench.set("/annotations", json!({"a": "b".repeat(300_000)}));
    bench.set("/linux/seccomp/syscalls/0/names", json!(["mmap", "mremap", "brk"]));
    bench.set("/process/noNewPrivileges", json!(true));
    let agent = Agent::listen(&path);
    bench.create(&[]);
    bench.ok(&["start", "c"]);
    assert_eq!(agent.told()["state"]["status"], "creating");
    bench.ok(&["delete", "--force", "c"]);
}

#[test]
fn nobody_listens() {
    let (bench, path) = asking();
    assert_eq!(
        complaint(&bench.run(&["run", "c"])),
        format!(
            "Error: cannot connect to the seccomp listener {}: ENOENT: No such file or directory",
            path.display()
        )
    );
    assert_eq!(bench.ok(&["list", "-q"]), "");
}
