//! What a container may do to the host, and what it shares with it: privileges, devices, limits of processes, kernel
//! parameters, namespaces.

use testbed::agent::Agent;
use testbed::engine::Engine;
use testbed::{stdout, until};

/// Runs `line` in a container with these options; what it prints.
fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    engine.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
}

/// A container in the background.
fn background(engine: &Engine, name: &str, options: &[&str]) {
    engine.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "1000"]].concat());
}

#[test]
fn root_keeps_dockers_fourteen_capabilities() {
    let engine = Engine::with_busybox();
    let sets = "grep -E '^Cap|NoNewPrivs' /proc/self/status";
    insta::assert_snapshot!(sh(&engine, &[], sets));
    insta::assert_snapshot!(sh(&engine, &["--user", "user"], sets));
    insta::assert_snapshot!(sh(
        &engine,
        &["--cap-drop=all", "--cap-add", "net_bind_service", "--security-opt", "no-new-privileges"],
        sets
    ));
}

#[test]
fn process_1_with_init_is_confined_too() {
    let engine = Engine::with_busybox();
    let status = sh(&engine, &["--init", "--user", "user"], "grep -E '^(Uid|CapEff|CapBnd)' /proc/1/status");
    insta::assert_snapshot!(status);
}

#[test]
fn a_dropped_capability_is_missed() {
    let engine = Engine::with_busybox();
    assert_eq!(sh(&engine, &[], "chown 1 /etc/passwd && echo done"), "done");
    let refused =
        engine.fails(&["run", "--rm", "--cap-drop", "CHOWN", "busybox", "chown", "1", "/etc/passwd"]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
}

#[test]
fn system_calls_are_filtered() {
    let engine = Engine::with_busybox();
    let mode = "grep '^Seccomp:' /proc/self/status";
    assert_eq!(sh(&engine, &[], mode), "Seccomp:\t2");
    assert_eq!(sh(&engine, &["--init"], "grep '^Seccomp:' /proc/1/status"), "Seccomp:\t2");
    assert_eq!(sh(&engine, &["--security-opt", "seccomp=unconfined"], mode), "Seccomp:\t0");
    assert_eq!(sh(&engine, &["--privileged"], mode), "Seccomp:\t0");
    // What a user namespace would allow again: the filter refuses to make one.
    let refused = engine.fails(&["run", "--rm", "busybox", "unshare", "-U", "true"]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
    sh(&engine, &["--security-opt", "seccomp=unconfined"], "unshare -U true");
}

#[test]
fn an_agent_decides_about_system_calls() {
    let engine = Engine::with_busybox();
    let (profile, socket) = (engine.folder().join("profile.json"), engine.folder().join("agent"));
    std::fs::write(
        &profile,
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "{}", "syscalls": [
                {{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}}]}}"#,
            socket.display()
        ),
    )
    .unwrap();
    let agent = Agent::listen(&socket);
    let option = format!("seccomp={}", profile.display());
    let options = ["--security-opt", &option];
    let asked = "mkdir: can't create directory '/tmp/x': Inappropriate ioctl for device";
    assert_eq!(sh(&engine, &options, "mkdir /tmp/x 2>&1; true"), asked);
    assert_eq!(agent.told()["state"]["status"], "creating");

    background(&engine, "later", &options);
    let message = agent.told();
    assert_eq!(message["state"]["id"].as_str().unwrap(), engine.inspect("later", "{{.Id}}"));
    assert_eq!(message["pid"].to_string(), engine.inspect("later", "{{.State.Pid}}"));
    assert_eq!(engine.ok(&["exec", "later", "sh", "-c", "mkdir /tmp/x 2>&1; true"]), asked);
    assert_eq!(agent.told()["state"]["status"], "running");

    let refused = engine.fails(&[&["run", "--rm", "--init"], &options[..], &["busybox", "true"]].concat());
    assert!(refused.starts_with("125 ") && refused.contains("leave out --init"), "{refused}");
}

#[test]
fn a_profile_of_the_users_is_applied() {
    let engine = Engine::with_busybox();
    let profile = engine.folder().join("profile.json");
    std::fs::write(
        &profile,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    )
    .unwrap();
    let option = format!("seccomp={}", profile.display());
    for extra in [&[][..], &["--security-opt", "no-new-privileges"], &["--init", "--user", "user"]] {
        let options = [&["--security-opt", &option], extra].concat();
        let said = sh(&engine, &options, "mkdir /tmp/x 2>&1; true");
        assert_eq!(said, "mkdir: can't create directory '/tmp/x': No space left on device", "{options:?}");
    }
    let killed = engine.run(&["run", "--rm", "--security-opt", &option, "busybox", "hostname", "x"]);
    assert_eq!(killed.status.code(), Some(128 + 31), "SIGSYS");
    engine.ok(&["run", "-d", "--name", "kept", "--security-opt", &option, "busybox", "sleep", "1000"]);
    assert!(engine.inspect("kept", "{{json .HostConfig.SecurityOpt}}").contains("SCMP_ACT_KILL_PROCESS"));
}

/// A container as the courses' security chapters end up with it: everything at once, and each part in effect.
#[test]
fn all_of_it_together() {
    let engine = Engine::with_busybox();
    let profile = engine.folder().join("profile.json");
    std::fs::write(
        &profile,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#,
    )
    .unwrap();
    let options = [
        "--read-only",
        "--cap-drop=all",
        "--cap-add",
        "net_bind_service",
        "--cpus",
        "0.5",
        "--memory",
        "1024m",
        "--tmpfs",
        "/tmp",
        "--security-opt",
        &format!("seccomp={}", profile.display()),
    ];
    assert_eq!(sh(&engine, &options, "grep CapEff /proc/self/status"), "CapEff:\t0000000000000400");
    assert_eq!(sh(&engine, &options, "touch /x 2>&1; true"), "touch: /x: Read-only file system");
    assert_eq!(sh(&engine, &options, "ln -s a /tmp/b 2>&1; true"), "ln: /tmp/b: Operation not supported");
    let limits = "cd /sys/fs/cgroup; if test -e memory.max; then cat cpu.max memory.max; else \
                  cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory/memory.limit_in_bytes; fi";
    let seen = sh(&engine, &options, limits);
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["50000", "100000", "1073741824"]);
}

#[test]
fn a_bad_profile_is_one_line() {
    let engine = Engine::with_busybox();
    let profile = engine.folder().join("profile.json");
    let mut refused = Vec::new();
    for text in [
        "",
        "{",
        "{\"defaultAction\": \"SCMP_ACT_ODD\"}",
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"odd\": 1}",
    ] {
        std::fs::write(&profile, text).unwrap();
        let option = format!("seccomp={}", profile.display());
        refused.push(engine.fails(&["run", "--rm", "--security-opt", &option, "busybox", "true"]));
    }
    refused.push(engine.fails(&["run", "--rm", "--security-opt", "seccomp=/no/where", "busybox", "true"]));
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn a_privileged_container_has_the_hosts_devices_and_all_of_proc_and_sys() {
    let engine = Engine::with_busybox();
    let line = "mkdir /here && mount -t tmpfs none /here && test -w /sys && test -c /dev/kmsg && grep -c CPU0 /proc/interrupts";
    assert_eq!(sh(&engine, &["--privileged"], line), "1");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert_eq!(
        sh(&engine, &["--privileged"], "grep CapEff /proc/self/status"),
        format!("CapEff:\t{bounding}")
    );
    let dropped = engine.fails(&["run", "--rm", "busybox", "mount", "-t", "tmpfs", "none", "/etc"]);
    assert!(dropped.contains("permission denied"), "{dropped}");
}

#[test]
fn system_paths_are_shown_on_demand() {
    let engine = Engine::with_busybox();
    let look =
        "grep -c CPU0 /proc/interrupts; (echo mine > /proc/sys/kernel/domainname) 2>/dev/null; echo $?";
    assert_eq!(sh(&engine, &[], look), "0\n1");
    assert_eq!(sh(&engine, &["--security-opt", "systempaths=unconfined"], look), "1\n0");
}

#[test]
fn a_device_is_there_with_the_permissions_that_were_given() {
    let engine = Engine::with_busybox();
    let look = "stat -c '%F %t:%T' /dev/mine; dd if=/dev/mine of=/dev/null bs=1 count=1 2>/dev/null; echo $?; \
                echo x 2>/dev/null > /dev/mine; echo $?";
    let read_only = sh(&engine, &["--device", "/dev/kmsg:/dev/mine:r"], look);
    assert_eq!(
        read_only, "character special file 1:b\n1\n1",
        "dd reads less than a message, which kmsg refuses"
    );
    let writable = sh(&engine, &["--device", "/dev/zero:/dev/mine"], look);
    assert_eq!(writable, "character special file 1:5\n0\n0");
    let nodes = engine.folder().join("nodes");
    std::fs::create_dir(&nodes).unwrap();
    stdout(std::process::Command::new("mknod").arg(nodes.join("zero")).args(["c", "1", "5"]));
    let directory = format!("{}:/dev/other", nodes.display());
    assert_eq!(sh(&engine, &["--device", &directory], "head -c1 /dev/other/zero | wc -c"), "1");
    let missing = engine.fails(&["run", "--rm", "--device", "/dev/none", "busybox", "true"]);
    insta::assert_snapshot!(missing, @"125 Error: cannot gather device information while creating the container from /dev/none: ENOENT: No such file or directory");
}

#[test]
fn limits_and_parameters_reach_the_program() {
    let engine = Engine::with_busybox();
    let options = [
        "--ulimit=nofile=100:200",
        "--ulimit=core=0",
        "--oom-score-adj=500",
        "--sysctl=net.core.somaxconn=99",
        "--sysctl=kernel.shmmax=4096",
        "--shm-size=1m",
        "--tmpfs=/run:size=2m,exec",
        "--group-add=4242",
        "--group-add=extra",
    ];
    let line = "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj /proc/sys/net/core/somaxconn \
                /proc/sys/kernel/shmmax; df -k /dev/shm /run | awk '{print $2, $6}'; grep -o ' /run tmpfs rw,nosuid,nodev,relatime' /proc/mounts; id -G";
    insta::assert_snapshot!(sh(&engine, &options, line));
}

#[test]
fn ports_below_1024_need_no_privilege_in_a_network_of_its_own() {
    let engine = Engine::with_busybox();
    let parameter = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(sh(&engine, &[], parameter), "0");
    let host = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!(sh(&engine, &["--network", "host"], parameter), host.trim());
}

#[test]
fn what_cannot_be_raised_is_a_warning() {
    let engine = Engine::with_busybox();
    let output = engine.run(&["run", "--rm", "--ulimit", "nofile=100:2000000000", "busybox", "true"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let lacks = !std::fs::read_to_string("/proc/self/status").unwrap().contains("CapBnd:\t000001ffffffffff");
    if lacks {
        assert!(output.status.success(), "{error}");
        assert!(error.starts_with("WARNING: The limit nofile cannot be raised to 2000000000"), "{error}");
    } else {
        // More files than the kernel has room for are refused to everybody.
        assert!(error.starts_with("Error: cannot limit nofile"), "{error}");
    }
}

#[test]
fn namespaces_are_shared_with_the_host() {
    let engine = Engine::with_busybox();
    let inode =
        |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for (option, kind) in
        [("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts"), ("--cgroupns=host", "cgroup")]
    {
        let look = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(sh(&engine, &[option], &look), inode(kind));
        assert_ne!(sh(&engine, &[], &look), inode(kind));
    }
    assert_eq!(sh(&engine, &["--ipc=none"], "test -e /dev/shm/. ; grep -c /dev/shm /proc/mounts; true"), "0");
}

#[test]
fn namespaces_are_shared_with_another_container() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "donor",
        "--ipc",
        "shareable",
        "--hostname",
        "given",
        "busybox",
        "sh",
        "-c",
        "echo shared > /dev/shm/file; exec sleep 1000",
    ]);
    let all = ["--pid=container:donor", "--ipc=container:donor", "--network=container:donor"];
    until("the file is written", || {
        engine
            .run(&["run", "--rm", "--ipc=container:donor", "busybox", "test", "-s", "/dev/shm/file"])
            .status
            .success()
    });
    let seen = sh(
        &engine,
        &all,
        "cat /dev/shm/file; ps -o args | grep sleep | head -1; hostname; tail -1 /etc/hostname",
    );
    assert_eq!(seen, "shared\nsleep 1000\ngiven\ngiven");
    for kind in ["net", "ipc", "pid"] {
        let look = format!("readlink /proc/self/ns/{kind}");
        let theirs = sh(&engine, &["--pid=container:donor"], &format!("readlink /proc/1/ns/{kind}"));
        assert_eq!(sh(&engine, &all, &look), theirs);
    }
}

#[test]
fn bad_modes_are_refused_before_anything_is_made() {
    let engine = Engine::with_busybox();
    background(&engine, "private", &[]);
    let long = engine.inspect("private", "{{.Id}}");
    let cases: &[&[&str]] = &[
        &["--pid", "odd"],
        &["--ipc", "container:private"],
        &["--ipc", "container:none"],
        &["--uts", "container:private"],
        &["--uts", "host", "--hostname", "x"],
        &["--network", "container:private", "--hostname", "x"],
        &["--cap-add", "odd"],
        &["--cap-drop", "odd"],
        &["--security-opt", "odd=1"],
        &["--security-opt", "apparmor=mine"],
        &["--security-opt", "label=type:mine"],
        &["--gpus", "all"],
        &["--sysctl", "kernel.panic=1"],
        &["--sysctl", "net.core.somaxconn=1", "--network", "host"],
        &["--ulimit", "odd=1"],
        &["--ulimit", "nofile=2:1"],
        &["--oom-score-adj", "1001"],
        &["--group-add", "odd"],
        &["--device", "odd:odd"],
        &["--tmpfs", "relative"],
    ];
    let refused = |case: &&[&str]| {
        let said = engine.fails(&[&["run", "--rm"], *case, &["busybox", "true"]].concat());
        format!("{}\n  {}\n", case.join(" "), said.replace(&long, "ID"))
    };
    insta::assert_snapshot!(cases.iter().map(refused).collect::<String>());
    assert_eq!(engine.ok(&["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn a_container_that_has_ended_cannot_be_joined() {
    let engine = Engine::with_busybox();
    background(&engine, "ended", &[]);
    engine.ok(&["kill", "ended"]);
    let id = engine.inspect("ended", "{{.Id}}");
    let said = engine.fails(&["run", "--rm", "--pid", "container:ended", "busybox", "true"]);
    insta::assert_snapshot!(said.replace(&id, "ID"));
}
