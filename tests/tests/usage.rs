//! What runs in containers and what they use: `top`, `stats`, `update`.

use std::process::Stdio;

use serde_json::Value;
use testbed::engine::Engine;
use testbed::{network, until};

#[test]
fn top_shows_the_processes_with_their_numbers_on_the_host() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-u",
        "user",
        "busybox",
        "sh",
        "-c",
        "sleep 1000 & sleep 2000; true",
    ]);
    until("three processes", || {
        // What the shell has forked is a shell first.
        let text = engine.ok(&["top", "box"]);
        text.lines().filter(|line| line.contains(" sleep ") && !line.contains("sh -c")).count() == 2
    });
    let text = engine.ok(&["top", "box"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert!(text.starts_with("UID                 PID                 PPID"), "{text}");
    let first = engine.inspect("box", "{{.State.Pid}}");
    assert_eq!((rows[1][1], rows[1][5], rows[1][6]), (first.as_str(), "?", "00:00:00"));
    assert_eq!(&rows[1][7..], ["sh", "-c", "sleep", "1000", "&", "sleep", "2000;", "true"]);
    assert!(rows[2..].iter().all(|row| row[2] == first && row[7] == "sleep"), "{text}");

    // The host's ps has the same to say.
    let by_ps = engine.ok(&["container", "top", "box", "-eo", "pid,ppid,args"]);
    let by_ps: Vec<Vec<&str>> = by_ps.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(by_ps[0], ["PID", "PPID", "COMMAND"]);
    let pids = |rows: &[Vec<&str>], column: usize| -> Vec<String> {
        rows[1..].iter().map(|row| row[column].to_owned()).collect()
    };
    assert_eq!(pids(&by_ps, 0), pids(&rows, 1));
    // Without -e too, by which ps would show only those of its own user and terminal.
    let chosen = engine.ok(&["top", "box", "-o", "pid"]);
    assert_eq!(chosen.lines().skip(1).map(str::trim_end).collect::<Vec<_>>(), pids(&rows, 1));
    insta::assert_snapshot!(engine.fails(&["top", "box", "-eo", "comm"]), @"1 Error: Couldn't find PID field in ps output");
    assert!(engine.fails(&["top", "box", "--nonsense"]).starts_with("1 Error: ps: "));
    engine.ok(&["kill", "box"]);
    let said = engine.fails(&["top", "box"]).replace(&engine.inspect("box", "{{.Id}}"), "<ID>");
    insta::assert_snapshot!(said, @"1 Error: container <ID> is not running");
}

#[test]
fn stats_show_what_is_used() {
    let engine = Engine::with_busybox();
    let busy = "x=; head -c 20000000 /dev/zero > /dev/shm/x; while true; do x=; done";
    engine.ok(&["run", "-d", "--name", "busy", "-m", "64m", "--cpus", "0.5", "busybox", "sh", "-c", busy]);
    engine.ok(&["create", "--name", "idle", "busybox"]);
    let row = |name: &str| -> Value {
        serde_json::from_str(&engine.ok(&["stats", "--no-stream", "--format", "json", name])).unwrap()
    };
    // In MiB, as soon as the unit is that.
    let used = |row: &Value| -> f64 {
        let usage = row["MemUsage"].as_str().unwrap();
        usage.split_once("MiB / 64MiB").map_or(0.0, |(used, _)| used.parse().unwrap())
    };
    let mut busy = Value::Null;
    until("it has taken the memory, and works", || {
        busy = row("busy");
        used(&busy) > 19.0 && busy["PIDs"] == "1"
    });
    let share: f64 = busy["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!((5.0..60.0).contains(&share), "{busy}");
    let part: f64 = busy["MemPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!((part - used(&busy) / 64.0 * 100.0).abs() < 0.1, "{busy}");
    assert_eq!(busy["Name"], "busy");

    let table = engine.ok(&["container", "stats", "--no-stream"]);
    insta::assert_snapshot!(table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), @"CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS");
    assert_eq!(table.lines().count(), 2);
    let columns = [
        "stats",
        "-a",
        "--no-stream",
        "--no-trunc",
        "--format",
        "{{.Name}} {{.CPUPerc}} {{.NetIO}} {{.PIDs}} {{.ID}}",
    ];
    let all = engine.ok(&columns);
    let id = engine.inspect("idle", "{{.Id}}");
    assert!(all.contains(&format!("idle 0.00% 0B / 0B 0 {id}")), "{all}");
    insta::assert_snapshot!(engine.fails(&["stats", "--no-stream", "nobody"]), @"1 Error: No such container: nobody");
}

#[test]
fn stats_count_what_goes_over_the_network() {
    let engine = Engine::with_busybox();
    engine.greeter("box", &["-p", "127.0.0.1:8080:80"]);
    assert_eq!(network::hear("127.0.0.1:8080"), "box");
    let traffic = engine.ok(&["stats", "--no-stream", "--format", "{{.NetIO}}", "box"]);
    assert!(traffic.split(" / ").all(|bytes| bytes != "0B"), "{traffic}");
}

#[test]
fn stats_go_on_until_they_are_stopped() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let mut command = engine.command(&["stats", "--format", "{{.Name}} {{.PIDs}}"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "box 1");
    }
    engine.ok(&["rm", "-f", "box"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The value of a limit of a container's, wherever this host keeps it.
fn limit(engine: &Engine, name: &str, v1: (&str, &str), v2: &str) -> String {
    let id = engine.inspect(name, "{{.Id}}");
    let (tree, file) = v1;
    let places = [
        format!("/sys/fs/cgroup/{tree}/mini-docker/{id}/{file}"),
        format!("/sys/fs/cgroup/mini-docker/{id}/{v2}"),
    ];
    let texts = places.iter().filter_map(|place| std::fs::read_to_string(place).ok());
    texts.map(|text| text.trim().to_owned()).next().expect("a cgroup with this limit")
}

fn memory(engine: &Engine, name: &str) -> String {
    limit(engine, name, ("memory", "memory.limit_in_bytes"), "memory.max")
}

fn pids(engine: &Engine, name: &str) -> String {
    limit(engine, name, ("pids", "pids.max"), "pids.max")
}

#[test]
fn limits_are_changed_while_a_container_runs() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "1000"]);
    engine.ok(&["create", "--name", "idle", "busybox", "sleep", "1000"]);
    let change = [
        "--memory",
        "96m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
    ];
    let said = engine.ok(&[&["update"], &change[..], &["box", "idle"]].concat());
    assert_eq!(said, "box\nidle");
    assert_eq!((memory(&engine, "box").as_str(), pids(&engine, "box").as_str()), ("100663296", "20"));
    assert_eq!(limit(&engine, "box", ("cpuset", "cpuset.cpus"), "cpuset.cpus"), "0");
    for name in ["box", "idle"] {
        let figures = "{{with .HostConfig}}{{.Memory}} {{.PidsLimit}} {{.NanoCpus}} {{.CpuShares}} {{.CpusetCpus}}{{end}}";
        assert_eq!(engine.inspect(name, figures), "100663296 20 500000000 512 0");
    }
    // The next start has them too; and a limit can be taken away.
    engine.ok(&["start", "idle"]);
    assert_eq!(memory(&engine, "idle"), "100663296");
    engine.ok(&["container", "update", "--pids-limit", "-1", "box"]);
    assert_eq!(pids(&engine, "box"), "max");
    engine.ok(&["update", "--restart", "on-failure:3", "box"]);
    assert_eq!(engine.inspect("box", "{{.HostConfig.RestartPolicy.MaximumRetryCount}}"), "3");
    assert_eq!(engine.inspect("box", "{{.HostConfig.Memory}}"), "100663296");
}

#[test]
fn what_cannot_be_changed_changes_nothing() {
    let engine = Engine::with_busybox();
    let fill = "head -c 60000000 /dev/zero > /dev/shm/x; echo full; sleep 1000";
    let mounts = ["--shm-size", "100m", "--rm"];
    engine.ok(&[&["run", "-d", "--name", "box"], &mounts[..], &["busybox", "sh", "-c", fill]].concat());
    until("its memory is full", || engine.ok(&["logs", "box"]) == "full");
    let before =
        (memory(&engine, "box"), pids(&engine, "box"), engine.inspect("box", "{{json .HostConfig}}"));
    let id = engine.inspect("box", "{{.Id}}");
    let said: String = [
        &[][..],
        &["--memory", "1m"],
        &["--memory-swap", "100m"],
        &["--memory", "300m", "--cpuset-cpus", "0", "--cpuset-mems", "99"],
        &["--cpuset-cpus", "zero", "--pids-limit", "7"],
        &["--restart", "always"],
        &["--restart", "sometimes"],
        &["--cpus", "0.5", "--cpu-quota", "1000"],
    ]
    .iter()
    .map(|options| engine.fails(&[&["update"], *options, &["box"]].concat()) + "\n")
    .collect();
    insta::assert_snapshot!(said.replace(&id, "<ID>").replace("/sys/fs/cgroup/cpuset/", "/sys/fs/cgroup/"));
    let after = (memory(&engine, "box"), pids(&engine, "box"), engine.inspect("box", "{{json .HostConfig}}"));
    assert_eq!(before, after);
    assert_eq!(engine.fails(&["update", "-m", "64m", "nobody"]), "1 Error: No such container: nobody");
}

#[test]
fn info_counts_containers_by_what_they_do() {
    let engine = Engine::with_busybox();
    for name in ["one", "two", "three"] {
        engine.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    }
    engine.ok(&["pause", "two"]);
    engine.ok(&["kill", "three"]);
    engine.ok(&["create", "--name", "four", "busybox"]);
    let figures = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}";
    assert_eq!(engine.ok(&["system", "info", "--format", figures]), "4 1 1 2");
}
