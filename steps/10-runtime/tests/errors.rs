//! What a config must not say: each is an error on one line, which names the field.

mod common;

use std::fmt::Write;

use common::{Bench, complaint};
use serde_json::{Value, json};

#[test]
fn wrong_values_are_named() {
    let table: Vec<(&str, Value)> = vec![
        ("/ociVersion", json!("2.0.0")),
        ("/root", Value::Null),
        ("/root/path", json!("")),
        ("/process", Value::Null),
        ("/process/args", json!([])),
        ("/process/args", json!("sh")),
        ("/process/cwd", json!("relative")),
        ("/process/env/0", json!("NOVALUE")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!("root")),
        ("/process/user/umask", json!(0o1777)),
        ("/process/capabilities/bounding/0", json!("CAP_ODD")),
        ("/process/capabilities/effective", json!(["CAP_SYS_ADMIN"])),
        ("/process/rlimits/0/type", json!("NOFILE")),
        ("/process/rlimits/0/soft", json!(5000)),
        ("/process/rlimits/-", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})),
        ("/process/oomScoreAdj", json!(1001)),
        ("/process/apparmorProfile", json!("odd")),
        ("/process/selinuxLabel", json!("odd")),
        ("/process/scheduler", json!({"policy": "SCHED_ODD"})),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 5})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        ("/process/execCPUAffinity", json!({"initial": "0-", "final": "0"})),
        ("/mounts/0/destination", json!("")),
        ("/mounts/0/destination", json!("/a/../b")),
        ("/mounts/0/type", json!("")),
        ("/mounts/-", json!({"destination": "/x", "type": "bind", "options": ["bind"]})),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "bind", "source": "/x", "options": ["bind", "size=1"]}),
        ),
        ("/mounts/-", json!({"destination": "/x", "type": "tmpfs", "options": ["iversion"]})),
        ("/mounts/-", json!({"destination": "/etc", "type": "tmpfs", "options": ["remount"]})),
        ("/mounts/-", json!({"destination": "/etc", "type": "bind", "options": ["remount", "ro"]})),
        ("/mounts/-", json!({"destination": "/x", "type": "bind", "options": ["remount", "size=1"]})),
        ("/mounts/-", json!({"destination": "/x", "type": "tmpfs", "options": ["remount", "tmpcopyup"]})),
        ("/mounts/-", json!({"destination": "/x", "type": "tmpfs", "options": ["idmap"]})),
        ("/mounts/-", json!({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]})),
        ("/hooks", json!({"prestart": [{"path": "relative"}]})),
        ("/hooks", json!({"poststop": [{"path": "/x", "timeout": 0}]})),
        ("/linux/namespaces/0/type", json!("odd")),
        ("/linux/namespaces/0/path", json!("relative")),
        ("/linux/namespaces/-", json!({"type": "pid"})),
        ("/linux/namespaces/-", json!({"type": "user"})),
        ("/linux/namespaces/-", json!({"type": "user", "path": "/proc/self/ns/user"})),
        ("/linux/namespaces/-", json!({"type": "user", "path": "/none"})),
        ("/linux/namespaces", json!([{"type": "uts"}, {"type": "mount", "path": "/proc/self/ns/mnt"}])),
        ("/linux/namespaces", json!([{"type": "mount", "path": "/proc/1/ns/mnt"}, {"type": "user"}])),
        ("/linux/namespaces", json!([])),
        ("/linux/namespaces", json!([{"type": "mount"}])),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}])),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
        ("/linux/devices", json!([{"path": "x", "type": "c", "major": 1, "minor": 3}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "z"}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": 1}])),
        ("/linux/cgroupsPath", json!("../up")),
        ("/linux/resources", json!({"devices": [{"allow": true, "access": "rx"}]})),
        ("/linux/resources", json!({"devices": [{"allow": true, "type": "z", "access": "r"}]})),
        ("/linux/resources", json!({"memory": {"limit": -2}})),
        ("/linux/resources", json!({"memory": {"limit": 20, "swap": 10}})),
        ("/linux/resources", json!({"memory": {"kernel": 10}})),
        ("/linux/resources", json!({"memory": {"swappiness": 101}})),
        ("/linux/resources", json!({"blockIO": {"leafWeight": 10}})),
        ("/linux/resources", json!({"unified": {"memory.max": "1"}})),
        ("/linux/resources", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})),
        ("/linux/rootfsPropagation", json!("odd")),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ODD"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"})),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}),
        ),
        ("/linux/maskedPaths/0", json!("relative")),
        ("/linux/readonlyPaths/0", json!("relative")),
        ("/linux/mountLabel", json!("odd")),
        ("/linux/sysctl", json!({"kernel.panic": "1"})),
        ("/linux/sysctl", json!({"net.../x": "1"})),
        ("/linux/personality", json!({"domain": "ODD"})),
        ("/linux/intelRdt", json!({})),
        ("/linux/memoryPolicy", json!({})),
        ("/linux/netDevices", json!({"eth0": {}})),
        ("/windows", json!({})),
    ];
    let mut said = String::new();
    for (pointer, value) in table {
        let mut bench = Bench::new();
        bench.set(pointer, value.clone());
        let output = bench.run(&["run", "c"]);
        assert!(!output.status.success(), "{pointer} = {value} should fail");
        let complaint = complaint(&output);
        assert_eq!(complaint.lines().count(), 1, "{pointer} = {value}: {complaint}");
        writeln!(said, "{pointer} = {value}\n  {complaint}").expect("a string takes everything");
        assert_eq!(bench.ok(&["list", "-q"]), "", "{pointer} = {value}");
    }
    insta::assert_snapshot!(said);
}
