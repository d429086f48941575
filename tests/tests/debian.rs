//! The engine on real input: Debian with Redis, as a two-platform image in a real registry, and with PostgreSQL.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testbed::debian::debian;
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, tar};
use testbed::until;
use testbed::user::{FIRST, User};

/// The configuration of images.
fn config() -> Value {
    json!({"Cmd": ["bash"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]})
}

/// Debian with one more layer.
fn image(second: &Path) -> Image {
    let layer = |path, compression| (fs::read(path).expect("a layer"), compression);
    Image {
        layers: vec![layer(debian().base.as_path(), Compression::Zstd), layer(second, Compression::Gzip)],
        config: config(),
        architecture: image_architecture(),
        docker: false,
    }
}

/// A registry with `debian:12`, for this machine and for another.
fn registry() -> Registry {
    let registry = Registry::start();
    let elsewhere = Image {
        layers: vec![(tar(&[("other", b"")]), Compression::None)],
        config: config(),
        architecture: "riscv64",
        docker: false,
    };
    let (here, elsewhere) = (
        registry.push("debian", "here", &image(&debian().redis)),
        registry.push("debian", "elsewhere", &elsewhere),
    );
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

    let other = Engine::new();
    let quiet = other.run(&["run", "--rm", "--quiet", &image, "true"]);
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), "", "a pull that is to be quiet");

    // The platform can be chosen, and the store read by others.
    let pulled = engine.ok(&["pull", "--platform", "linux/riscv64", &image]);
    assert!(pulled.contains("Status: Downloaded newer image"), "{pulled}");
    assert_eq!(engine.inspect(&image, "{{.Architecture}}"), "riscv64");
    let layout = format!("oci:{}:{image}", engine.data().join("images").display());
    let seen = testbed::stdout(Command::new("skopeo").args(["inspect", &layout]));
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

/// A database on the volume, made by the first container that starts.
const POSTGRES: &str = "set -e; bin=$(echo /usr/lib/postgresql/*/bin); data=/var/lib/postgresql/data; \
    if ! [ -e $data/PG_VERSION ]; then \
        $bin/initdb --no-sync --auth=trust -D $data; echo 'host all all all trust' >> $data/pg_hba.conf; \
    fi; exec $bin/postgres -D $data -c listen_addresses='*'";

/// The words that ask PostgreSQL at `host`.
fn psql<'a>(host: &'a str, port: &'a str, query: &'a str) -> [&'a str; 10] {
    ["psql", "-h", host, "-p", port, "-U", "postgres", "-At", "-c", query]
}

/// What the host is answered at a port of its own.
fn ask(port: &str, query: &str) -> String {
    let [program, arguments @ ..] = psql("127.0.0.1", port, query);
    testbed::stdout(Command::new(program).args(arguments)).trim_end().to_owned()
}

#[test]
fn postgres_is_asked_from_everywhere_and_keeps_its_data() {
    let (registry, engine) = (Registry::start(), Engine::new());
    registry.push("postgres", "15", &image(&debian().postgres));
    let image = format!("{}/postgres:15", registry.host());
    engine.ok(&["network", "create", "back"]);
    engine.ok(&["pull", "-q", &image]);
    // A new volume is root's.
    engine.ok(&["run", "--rm", "-v", "data:/data", &image, "chown", "postgres:", "/data"]);
    let start = |options: &[&str]| {
        let first =
            ["run", "-d", "--name", "db", "--network", "back", "-p", "5432:5432", "--user", "postgres"];
        let volume = ["-v", "data:/var/lib/postgresql"];
        engine.ok(&[&first, &volume[..], options, &[&image, "sh", "-c", POSTGRES]].concat());
        until("PostgreSQL is ready", || {
            let log = engine.run(&["logs", "db"]);
            String::from_utf8_lossy(&log.stderr).contains("ready to accept connections")
        });
    };
    let ends = || {
        engine.ok(&["stop", "db"]);
        let log = String::from_utf8_lossy(&engine.run(&["logs", "db"]).stderr).into_owned();
        assert_eq!(engine.inspect("db", "{{.State.ExitCode}}"), "0", "{log}");
        assert!(log.trim_end().ends_with("database system is shut down"), "{log}");
        engine.ok(&["rm", "db"]);
        log
    };
    // From the host, through the port, and from another container, by name.
    let outside = |query: &str| ask("5432", query);
    let inside = |query: &str| {
        let words = psql("db", "5432", query);
        engine.ok(&[&["run", "--rm", "--network", "back", &image], &words[..]].concat())
    };

    start(&["--stop-signal", "SIGINT"]);
    assert_eq!(outside("create table t as select generate_series(1, 1000) as n"), "SELECT 1000");
    assert_eq!(outside("select sum(n) from t"), "500500");
    assert_eq!(inside("select sum(n) from t"), "500500");
    // It knows who asks: the container's own address, and not the host's.
    let client = inside("select host(inet_client_addr()) from (select 1) as one");
    assert!(client.starts_with("172.") && !client.ends_with(".0.1"), "{client}");
    let log = ends();
    assert!(log.contains("received fast shutdown request"), "{log}");

    start(&[]);
    assert_eq!(outside("select count(*) from t"), "1000");
    assert_eq!(inside("select count(*) from t"), "1000");
    let log = ends();
    assert!(log.contains("received smart shutdown request"), "{log}");
}

/// The same for an ordinary user, whose port is let in by slirp4netns, and whose layers have other owners than the user.
#[test]
fn postgres_is_an_ordinary_users() {
    let (registry, user) = (Registry::start(), User::without_image());
    registry.push("postgres", "15", &image(&debian().postgres));
    let image = format!("{}/postgres:15", registry.host());
    user.ok(&["network", "create", "back"]);
    user.ok(&["pull", "-q", &image]);
    user.ok(&["run", "--rm", "-v", "data:/data", &image, "chown", "postgres:", "/data"]);
    let options = ["--network", "back", "-p", "15432:5432", "--user", "postgres", "--stop-signal", "SIGINT"];
    let volume = ["-v", "data:/var/lib/postgresql", &image, "sh", "-c", POSTGRES];
    user.ok(&[&["run", "-d", "--name", "db"], &options[..], &volume].concat());
    until("PostgreSQL is ready", || {
        let log = user.run(&["logs", "db"]);
        String::from_utf8_lossy(&log.stderr).contains("ready to accept connections")
    });

    assert_eq!(ask("15432", "create table t as select generate_series(1, 1000) as n"), "SELECT 1000");
    let words = psql("db", "5432", "select sum(n) from t");
    let inside = user.ok(&[&["run", "--rm", "--network", "back", &image], &words[..]].concat());
    assert_eq!(inside, "500500");
    // What the database wrote belongs to one of the user's subordinate ids.
    let version = user.path("home/.local/share/mini-docker/volumes/data/_data/data/PG_VERSION");
    let owner = fs::metadata(version).expect("the database is on the volume").uid();
    assert!((FIRST..FIRST + 65536).contains(&owner), "{owner}");

    user.ok(&["stop", "db"]);
    let log = String::from_utf8_lossy(&user.run(&["logs", "db"]).stderr).into_owned();
    assert_eq!(user.inspect("db", "{{.State.ExitCode}}"), "0", "{log}");
    assert!(log.trim_end().ends_with("database system is shut down"), "{log}");
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
