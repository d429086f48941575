//! Debian's runc and this runtime, side by side: the same config must give the same container.
//!
//! Each line of the table is one change to a config. A script in the container prints what it finds; that must be the
//! same under both.

mod common;

use common::Bench;
use serde_json::{Value, json};

/// Prints what a container looks like from inside; inodes and device numbers of file systems are left out.
///
/// Where ours is stricter on purpose, the difference is taken out: what masks a directory has all flags that forbid
/// something, and runc's has one. And where the kernel has no `/proc/kcore`, runc makes no link to it.
const LOOK: &str = r#"
id -u; id -g; id -G; umask; pwd; env | sort; hostname; cat /proc/sys/kernel/domainname
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Cpus_allowed_list)' /proc/self/status
cat /proc/self/limits /proc/self/uid_map /proc/self/gid_map /proc/self/oom_score_adj
awk '{ tags = ""; for (i = 7; $i != "-"; i++) { sub(/:.*/, "", $i); tags = tags " " $i } print "mount", $5, $6, $(i + 1) tags }' /proc/self/mountinfo | grep -v cgroup | sed "$MASKS" | sort
stat -c '%n %F %a %u %g %t %T' /dev/* | grep -v /dev/core | sort
for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind > /dev/null && echo $kind; done
ls /proc/self/fd | wc -l; ls /sys/class/net; cat /proc/1/comm
cat /proc/kcore 2>&1 | head -c 10; (echo x > /proc/sys/kernel/hostname) 2>&1; (: > /file) 2>&1; (: > /dev/file) 2>&1
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; uname -m; ls /sys/fs/cgroup | grep -v unified
"#;

const MASKS: &str = "MASKS='s/^\\(mount .* ro\\),nosuid,nodev,noexec,relatime tmpfs/\\1,relatime tmpfs/'";

/// Where Debian's package `runc` puts the program.
const RUNC: &str = "/usr/sbin/runc";

/// What the container looks like under one runtime, and how its start ends.
fn look(runtime: &str, cgroup: &str, changes: &[(&str, Value)], files: &[&str]) -> String {
    let mut bench = Bench::with(runtime);
    bench.set("/linux/cgroupsPath", json!(cgroup));
    // Which devices everybody may use has changed from runc to runc: tun, and the console.
    let limits: String =
        files.iter().map(|file| format!("grep -v -e 10:200 -e 5:1 /sys/fs/cgroup/{file} | sort; ")).collect();
    bench.set("/process/args", json!(["sh", "-c", format!("{MASKS}{LOOK}{limits}")]));
    bench.set("/hostname", json!("table"));
    bench.root.write("etc/marker", "from the root\n");
    for (pointer, value) in changes {
        bench.set(pointer, value.clone());
    }
    let output = bench.run(&["run", "c"]);
    let text =
        String::from_utf8_lossy(&output.stdout).replace(&bench.root.path().display().to_string(), "ROOT");
    if output.status.success() {
        return text;
    }
    // The two have words of their own for a failure.
    format!("{text}fails\n")
}

/// A mount to add.
fn mount(options: &[&str]) -> (&'static str, Value) {
    ("/mounts/-", json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options}))
}

/// A bind mount of the host's `/usr/share` to add.
fn bind(options: &[&str]) -> (&'static str, Value) {
    let options: Vec<&str> = ["bind"].iter().chain(options).copied().collect();
    ("/mounts/-", json!({"destination": "/mnt", "type": "bind", "source": "/usr/share", "options": options}))
}

fn namespaces(kinds: &[&str]) -> (&'static str, Value) {
    let all: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    ("/linux/namespaces", json!(all))
}

/// A config: what is special about it, the values that differ from the base, and the files of its cgroup that are compared.
type Row = (&'static str, Vec<(&'static str, Value)>, Vec<&'static str>);

fn table() -> Vec<Row> {
    let caps = |names: &[&str]| json!({"bounding": names, "effective": names, "permitted": names});
    let seccomp = |syscalls: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls});
    let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    vec![
        ("as it is", vec![], vec![]),
        ("writable root", vec![("/root/readonly", json!(false))], vec![]),
        ("user", vec![("/process/user", json!({"uid": 1000, "gid": 1000}))], vec![]),
        ("groups", vec![("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7, 8, 6]}))], vec![]),
        ("umask", vec![("/process/user/umask", json!(0o077))], vec![]),
        ("umask 0", vec![("/process/user/umask", json!(0))], vec![]),
        ("cwd", vec![("/process/cwd", json!("/etc"))], vec![]),
        ("missing cwd", vec![("/process/cwd", json!("/a/b")), ("/root/readonly", json!(false))], vec![]),
        ("relative cwd", vec![("/process/cwd", json!("etc"))], vec![]),
        ("env", vec![("/process/env", json!(["PATH=/bin", "A=b c", "HOME=/h", "EMPTY="]))], vec![]),
        ("no PATH", vec![("/process/env", json!(["A=b"])), ("/process/args/0", json!("/bin/sh"))], vec![]),
        (
            "home by passwd",
            vec![("/process/user/uid", json!(1000)), ("/process/args", json!(["sh", "-c", "echo $HOME"]))],
            vec![],
        ),
        ("no capabilities", vec![("/process/capabilities", json!({}))], vec![]),
        ("capabilities absent", vec![("/process/capabilities", Value::Null)], vec![]),
        ("capabilities", vec![("/process/capabilities", caps(&["CAP_CHOWN", "CAP_NET_RAW"]))], vec![]),
        (
            "bounding only",
            vec![("/process/capabilities", json!({"bounding": ["CAP_CHOWN", "CAP_KILL"]}))],
            vec![],
        ),
        (
            "effective less",
            vec![("/process/capabilities", json!({"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]}))],
            vec![],
        ),
        (
            "ambient of a user",
            vec![
                ("/process/user/uid", json!(1000)),
                (
                    "/process/capabilities",
                    json!({"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}),
                ),
            ],
            vec![],
        ),
        ("privileges may be gained", vec![("/process/noNewPrivileges", json!(false))], vec![]),
        (
            "rlimits",
            vec![(
                "/process/rlimits",
                json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
            )],
            vec![],
        ),
        (
            "rlimit unknown",
            vec![("/process/rlimits", json!([{"type": "RLIMIT_ODD", "soft": 100, "hard": 200}]))],
            vec![],
        ),
        ("oom score", vec![("/process/oomScoreAdj", json!(500))], vec![]),
        ("hostname", vec![("/hostname", json!("other.example"))], vec![]),
        ("tmpfs", vec![mount(&["nosuid", "size=1m", "mode=700"])], vec![]),
        ("tmpfs read-only", vec![mount(&["ro", "noexec", "nodev"])], vec![]),
        ("tmpfs noatime", vec![mount(&["noatime", "nodiratime"])], vec![]),
        ("tmpfs strictatime", vec![mount(&["strictatime"])], vec![]),
        (
            "tmpcopyup",
            vec![
                (
                    "/mounts/-",
                    json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}),
                ),
                (
                    "/process/args",
                    json!([
                        "sh",
                        "-c",
                        "cat /etc/marker /etc/passwd; stat -c '%n %a %u' /etc/*; df /etc | tail -1 | cut -d' ' -f1"
                    ]),
                ),
            ],
            vec![],
        ),
        ("bind", vec![bind(&["rprivate"])], vec![]),
        ("bind read-only", vec![bind(&["ro", "rprivate"])], vec![]),
        ("bind flags", vec![bind(&["nosuid", "nodev", "noexec", "private"])], vec![]),
        (
            "rbind",
            vec![(
                "/mounts/-",
                json!({"destination": "/mnt", "type": "none", "source": "/usr/share", "options": ["rbind", "ro", "rprivate"]}),
            )],
            vec![],
        ),
        (
            "bind a file",
            vec![
                (
                    "/mounts/-",
                    json!({"destination": "/new/file", "type": "bind", "source": "/etc/debian_version", "options": ["bind", "ro", "rprivate"]}),
                ),
                ("/root/readonly", json!(false)),
            ],
            vec![],
        ),
        (
            "bind without a source",
            vec![(
                "/mounts/-",
                json!({"destination": "/mnt", "type": "bind", "source": "/no/such", "options": ["bind"]}),
            )],
            vec![],
        ),
        ("recursive read-only", vec![bind(&["rro", "rprivate"])], vec![]),
        (
            "unknown file system",
            vec![("/mounts/-", json!({"destination": "/mnt", "type": "oddfs", "source": "x"}))],
            vec![],
        ),
        ("remount", vec![mount(&["nosuid", "size=1m"]), mount(&["remount", "noexec", "size=2m"])], vec![]),
        ("remount read-only", vec![mount(&["noatime"]), mount(&["remount", "ro"])], vec![]),
        ("remount of a bind mount", vec![bind(&["ro", "nosuid"]), bind(&["remount", "noexec"])], vec![]),
        ("remount of a bind mount, read-only", vec![bind(&["nodev"]), bind(&["remount", "ro"])], vec![]),
        (
            "remount of devices, read-only",
            vec![(
                "/mounts/-",
                json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "nosuid"]}),
            )],
            vec![],
        ),
        ("remount of nothing", vec![bind(&["remount", "ro"])], vec![]),
        ("no namespaces but mount", vec![namespaces(&["mount"]), ("/hostname", Value::Null)], vec![]),
        (
            "no uts, no ipc",
            vec![namespaces(&["mount", "pid", "network", "cgroup"]), ("/hostname", Value::Null)],
            vec![],
        ),
        ("hostname without uts", vec![namespaces(&["mount", "pid"])], vec![]),
        ("namespace unknown", vec![namespaces(&["mount", "odd"])], vec![]),
        ("namespace twice", vec![namespaces(&["mount", "pid", "pid"])], vec![]),
        (
            "user namespace",
            vec![
                ("/linux/namespaces/-", json!({"type": "user"})),
                ("/linux/uidMappings", ids.clone()),
                ("/linux/gidMappings", ids),
                ("/root/readonly", json!(true)),
                (
                    "/process/args",
                    json!([
                        "sh",
                        "-c",
                        "id; cat /proc/self/uid_map /proc/self/gid_map; ls /dev | grep -v core; cat /etc/marker; cat /proc/self/status | grep Cap"
                    ]),
                ),
            ],
            vec![],
        ),
        (
            "device",
            vec![(
                "/linux/devices",
                json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4}]),
            )],
            vec![],
        ),
        (
            "block device",
            vec![(
                "/linux/devices",
                json!([{"path": "/dev/loop99", "type": "b", "major": 7, "minor": 99, "fileMode": 0o600}]),
            )],
            vec![],
        ),
        (
            "fifo",
            vec![("/linux/devices", json!([{"path": "/dev/pipe", "type": "p", "fileMode": 0o666}]))],
            vec![],
        ),
        (
            "device of no kind",
            vec![("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]))],
            vec![],
        ),
        ("masked", vec![("/linux/maskedPaths", json!(["/proc/version", "/etc", "/no/such"]))], vec![]),
        (
            "nothing masked",
            vec![("/linux/maskedPaths", json!([])), ("/linux/readonlyPaths", json!([]))],
            vec![],
        ),
        ("read-only paths", vec![("/linux/readonlyPaths", json!(["/etc", "/no/such"]))], vec![]),
        (
            "sysctl",
            vec![(
                "/linux/sysctl",
                json!({"net.ipv4.ip_unprivileged_port_start": "80", "kernel.msgmax": "9000"}),
            )],
            vec![],
        ),
        ("sysctl of the host", vec![("/linux/sysctl", json!({"kernel.panic": "1"}))], vec![]),
        (
            "sysctl without its namespace",
            vec![
                namespaces(&["mount", "pid", "uts"]),
                ("/linux/sysctl", json!({"net.core.somaxconn": "99"})),
            ],
            vec![],
        ),
        (
            "seccomp",
            vec![
                (
                    "/linux/seccomp",
                    seccomp(
                        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]),
                    ),
                ),
                ("/root/readonly", json!(false)),
                ("/process/args", json!(["sh", "-c", "mkdir /x 2>&1; grep Seccomp: /proc/self/status"])),
            ],
            vec![],
        ),
        (
            "seccomp by argument",
            vec![
                (
                    "/linux/seccomp",
                    seccomp(
                        json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]}]),
                    ),
                ),
                ("/process/args", json!(["sh", "-c", "kill -0 $$ && echo 0; kill -USR2 $$ 2>&1 || echo no"])),
            ],
            vec![],
        ),
        (
            "seccomp kills",
            vec![
                ("/linux/seccomp", seccomp(json!([{"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS"}]))),
                ("/process/args", json!(["sh", "-c", "uname; echo $?"])),
            ],
            vec![],
        ),
        (
            "seccomp unknown action",
            vec![("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ODD"}))],
            vec![],
        ),
        (
            "personality",
            vec![("/process/args", json!(["uname", "-s"])), ("/linux/rootfsPropagation", json!("private"))],
            vec![],
        ),
        ("odd propagation", vec![("/linux/rootfsPropagation", json!("odd"))], vec![]),
        (
            "memory",
            vec![("/linux/resources/memory", json!({"limit": 33_554_432, "reservation": 16_777_216}))],
            vec!["memory/memory.limit_in_bytes", "memory/memory.soft_limit_in_bytes"],
        ),
        (
            "no memory limit",
            vec![("/linux/resources/memory", json!({"limit": -1}))],
            vec!["memory/memory.limit_in_bytes"],
        ),
        (
            "cpu",
            vec![(
                "/linux/resources/cpu",
                json!({"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"}),
            )],
            vec![],
        ),
        ("pids", vec![("/linux/resources/pids", json!({"limit": 50}))], vec!["pids/pids.max"]),
        (
            "devices allowed",
            vec![(
                "/linux/resources/devices",
                json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]),
            )],
            vec!["devices/devices.list"],
        ),
        (
            "unknown fields",
            vec![("/process/odd", json!(1)), ("/odd", json!({})), ("/linux/odd", json!([]))],
            vec![],
        ),
        ("no such program", vec![("/process/args", json!(["nosuch"]))], vec![]),
        ("no program", vec![("/process/args", json!([]))], vec![]),
        ("not executable", vec![("/process/args", json!(["/etc/passwd"]))], vec![]),
        ("exit code", vec![("/process/args", json!(["sh", "-c", "echo x; exit 3"]))], vec![]),
        ("no root", vec![("/root", Value::Null)], vec![]),
        ("root elsewhere", vec![("/root/path", json!("/no/such"))], vec![]),
    ]
}

#[test]
fn the_same_config_gives_the_same_container() {
    let (mut differences, mut failed) = (String::new(), String::new());
    let table = table();
    for (number, (name, changes, files)) in table.iter().enumerate() {
        let cgroup = format!("/runtime-table-{}-{number}", std::process::id());
        let theirs = look(RUNC, &cgroup, changes, files);
        let ours = look(common::PROGRAM, &cgroup, changes, files);
        if ours.ends_with("fails\n") {
            failed.extend([*name, "\n"]);
        }
        if theirs != ours {
            let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
            let missing = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("- {line}\n"));
            let added = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("+ {line}\n"));
            differences.extend([format!("== {name}\n")].into_iter().chain(missing).chain(added));
        }
    }
    assert!(
        differences.is_empty(),
        "of {} configs, these differ (- runc, + ours):\n{differences}",
        table.len()
    );
    // So that the two do not agree by failing.
    insta::assert_snapshot!(failed);
}
