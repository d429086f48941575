//! The engine on real input: Debian with Redis, as a two-platform image in a real registry.

use std::fs;

use serde_json::json;
use testbed::debian::debian;
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, tar};
use testbed::until;

/// A registry with `debian:12`, for this machine and for another.
fn registry() -> Registry {
    let registry = Registry::start();
    let layer = |path, compression| (fs::read(path).expect("a layer"), compression);
    let config = json!({"Cmd": ["bash"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]});
    let here = Image {
        layers: vec![layer(&debian().base, Compression::Zstd), layer(&debian().redis, Compression::Gzip)],
        config: config.clone(),
        architecture: image_architecture(),
        docker: false,
    };
    let elsewhere = Image {
        layers: vec![(tar(&[("other", b"")]), Compression::None)],
        config,
        architecture: "riscv64",
        docker: false,
    };
    let (here, elsewhere) =
        (registry.push("debian", "here", &here), registry.push("debian", "elsewhere", &elsewhere));
    let platform = |architecture: &str| json!({"os": "linux", "architecture": architecture});
    registry.push_index(
        "debian",
        "12",
        &[(platform("riscv64"), &elsewhere), (platform(image_architecture()), &here)],
    );
    registry
}

/// This machine's architecture in Go's words.
fn image_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The lines of a pull with digests and ports set to one length.
fn redacted(text: &str, host: &str) -> String {
    let text = text.replace(host, "HOST");
    let line = |line: &str| match line.split_once(": ") {
        Some((id, word)) if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("<layer>: {word}\n")
        }
        Some(("Digest", _)) => "Digest: <digest>\n".to_owned(),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_pulled_debian_runs_and_is_not_pulled_again() {
    let (registry, engine) = (registry(), Engine::new());
    let image = format!("{}/debian:12", registry.host());
    let run = ["run", "--rm", &image, "sh", "-c", "apt-get --version | head -1 && id && cat /proc/1/comm"];

    let first = engine.run(&run);
    insta::assert_snapshot!(redacted(&String::from_utf8_lossy(&first.stderr), &registry.host()), @"
    Unable to find image 'HOST/debian:12' locally
    12: Pulling from debian
    <layer>: Pull complete
    <layer>: Pull complete
    Digest: <digest>
    Status: Downloaded newer image for HOST/debian:12
    ");
    let said = String::from_utf8_lossy(&first.stdout);
    assert!(
        said.starts_with("apt ") && said.ends_with("\nuid=0(root) gid=0(root) groups=0(root)\nsh\n"),
        "{said}"
    );

    let second = engine.run(&run);
    assert_eq!(String::from_utf8_lossy(&second.stderr), "");
    assert_eq!(second.stdout, first.stdout);

    // The platform can be chosen, and the store read by others.
    let pulled = engine.ok(&["pull", "--platform", "linux/riscv64", &image]);
    assert!(pulled.contains("Status: Downloaded newer image"), "{pulled}");
    assert_eq!(engine.inspect(&image, "{{.Architecture}}"), "riscv64");
    let layout = format!("oci:{}:{image}", engine.data().join("images").display());
    let seen = testbed::stdout(std::process::Command::new("skopeo").args(["inspect", &layout]));
    assert!(seen.contains("\"riscv64\""), "{seen}");
}

#[test]
fn redis_runs_in_it() {
    let (registry, engine) = (registry(), Engine::new());
    let image = format!("{}/debian:12", registry.host());
    engine.ok(&["pull", "-q", &image]);
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "db",
        "-v",
        "data:/data",
        "-w",
        "/data",
        &image,
        "redis-server",
        "--save",
        "",
        "--appendonly",
        "yes",
    ]);
    until("Redis is ready", || engine.ok(&["logs", "db"]).contains("Ready to accept connections"));
    engine.ok(&["stop", "db"]);
    assert_eq!(engine.inspect("db", "{{.State.ExitCode}}"), "0", "Redis ends by itself when it is asked to");
    // What it wrote lies in the volume, and a second server finds it.
    let line = "redis-server --appendonly yes --daemonize yes >/dev/null; until redis-cli ping 2>/dev/null | grep PONG; do sleep 0.1; done; redis-cli set key value";
    let seen = engine.ok(&["run", "--rm", "-v", "data:/data", "-w", "/data", &image, "sh", "-c", line]);
    assert!(seen.ends_with("PONG\nOK"), "{seen}");
}

#[test]
fn limits_hold() {
    let (registry, engine) = (registry(), Engine::new());
    let image = format!("{}/debian:12", registry.host());
    engine.ok(&["pull", "-q", &image]);

    let greedy = [
        "run",
        "--name",
        "greedy",
        "-m",
        "64m",
        &image,
        "perl",
        "-e",
        "$x = 'x' x (200 << 20); print 'had it'",
    ];
    let output = engine.run(&greedy);
    assert_eq!((output.status.code(), &*output.stdout), (Some(137), &b""[..]));
    assert_eq!(engine.inspect("greedy", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");

    // A fork bomb: every process starts two more, as long as it may.
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "20",
        &image,
        "bash",
        "-c",
        "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1000",
    ]);
    let count = || {
        let pid = engine.inspect("bomb", "{{.State.Pid}}");
        let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).expect("it runs");
        let same = |entry: fs::DirEntry| {
            fs::read_link(entry.path().join("ns/pid")).is_ok_and(|other| other == namespace)
        };
        fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("ns").exists())
            .map(same)
            .filter(|same| *same)
            .count()
    };
    let most = (0..30)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            count()
        })
        .max()
        .expect("thirty looks");
    assert!((2..=20).contains(&most), "{most} processes");
    engine.ok(&["rm", "-f", "bomb"]);

    // A spinner for two seconds of the clock: half a processor leaves it one of processor time.
    let line = "use POSIX; $end = time + 2; 1 while time < $end; print((POSIX::times())[1] / POSIX::sysconf(POSIX::_SC_CLK_TCK))";
    let used: f64 =
        engine.ok(&["run", "--rm", "--cpus", "0.5", &image, "perl", "-e", line]).parse().expect("seconds");
    assert!(used < 1.5, "{used} seconds of processor time");
}
