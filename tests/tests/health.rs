//! Health checks: the user's and the image's.

use serde_json::{Value, json};
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, tar_directory};
use testbed::rootfs::Rootfs;
use testbed::until;

/// A container called box that runs, and is checked every 50 milliseconds.
fn checked(options: &[&str]) -> Engine {
    let engine = Engine::with_busybox();
    let before = ["run", "-d", "--name", "box", "--health-interval", "50ms"];
    engine.ok(&[&before[..], options, &["busybox", "sleep", "1000"]].concat());
    engine
}

fn status(engine: &Engine) -> String {
    engine.inspect("box", "{{.State.Health.Status}}")
}

fn log(engine: &Engine) -> Vec<Value> {
    let log = engine.inspect("box", "{{json .State.Health.Log}}");
    serde_json::from_str(&log).expect("a list")
}

#[test]
fn a_commit_brings_a_check() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "busybox", "sleep", "1000"]);
    let check = "HEALTHCHECK --interval=100ms --retries=2 CMD test -e /etc/passwd";
    engine.ok(&["commit", "--change", check, "box", "checked"]);
    engine.ok(&["run", "-d", "--name", "checked", "checked"]);
    testbed::until("it is well", || engine.inspect("checked", "{{.State.Health.Status}}") == "healthy");
    engine.ok(&["commit", "-c", "HEALTHCHECK NONE", "checked", "unchecked"]);
    engine.ok(&["run", "-d", "--name", "unchecked", "unchecked"]);
    assert!(!engine.inspect("unchecked", "{{json .State}}").contains("Health"));
    assert_eq!(
        engine.fails(&["commit", "-c", "HEALTHCHECK --retries=0 CMD x", "box"]),
        "1 Error: invalid change 'HEALTHCHECK --retries=0 CMD x': --retries must be a number from 1 on, and is 0"
    );
}

#[test]
fn a_container_falls_ill_and_gets_well() {
    let engine = checked(&["--health-cmd", "cat /well", "--health-retries", "2"]);
    until("it is ill", || status(&engine) == "unhealthy");
    assert!(engine.inspect("box", "{{.State.Health.FailingStreak}}").parse::<u32>().unwrap() >= 2);
    assert!(engine.ok(&["ps"]).contains(" (unhealthy)"));
    engine.ok(&["create", "--name", "other", "busybox"]);
    let named = |health: &str| engine.ok(&["ps", "-a", "--filter", health, "--format", "{{.Names}}"]);
    assert_eq!(
        [named("health=unhealthy"), named("health=healthy"), named("health=none")],
        ["box", "", "other"]
    );
    let result = log(&engine).pop().unwrap();
    assert_eq!(result["ExitCode"], 1);
    assert_eq!(result["Output"], "cat: can't open '/well': No such file or directory\n");
    engine.ok(&["exec", "box", "sh", "-c", "echo fine > /well"]);
    until("it is well", || status(&engine) == "healthy");
    assert!(engine.ok(&["ps"]).contains(" (healthy)"));
    until("there are many results", || log(&engine).len() == 5);
    std::thread::sleep(std::time::Duration::from_millis(120));
    assert_eq!(log(&engine).len(), 5, "no more than five are kept");
    // What a check writes is not the container's output, and a check is no reason to start it again.
    assert_eq!(engine.ok(&["logs", "box"]), "");
    assert_eq!(engine.inspect("box", "{{.RestartCount}}"), "0");
    engine.ok(&["stop", "-t", "0", "box"]);
    assert!(!engine.ok(&["ps", "-a"]).contains("healthy"));
}

#[test]
fn a_check_that_takes_too_long_is_ended() {
    let engine =
        checked(&["--health-cmd", "sleep 1234", "--health-timeout", "100ms", "--health-retries", "1"]);
    until("it counts as a failure", || status(&engine) == "unhealthy");
    let result = log(&engine).remove(0);
    assert_eq!(
        (&result["ExitCode"], &result["Output"]),
        (&json!(-1), &json!("Health check exceeded timeout (100ms)"))
    );
    engine.ok(&["pause", "box"]);
    // A check that was under way then still comes to its end.
    let mut before = log(&engine);
    until("a frozen container is not checked", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let earlier = std::mem::replace(&mut before, log(&engine));
        before == earlier
    });
    engine.ok(&["unpause", "box"]);
    until("it is checked again", || log(&engine) != before);
}

#[test]
fn failures_at_the_start_do_not_count() {
    let options = ["--health-cmd", "test -e /well", "--health-retries", "1", "--health-start-period", "1h"];
    let engine = checked(&[&options[..], &["--health-start-interval", "20ms"]].concat());
    until("it has failed often", || log(&engine).len() == 5);
    assert_eq!(
        engine.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "starting 0"
    );
    assert!(engine.ok(&["ps"]).contains(" (health: starting)"));
    engine.ok(&["exec", "box", "touch", "/well"]);
    until("it is well", || status(&engine) == "healthy");
    engine.ok(&["exec", "box", "rm", "/well"]);
    until("from now on they count", || status(&engine) == "unhealthy");
}

#[test]
fn an_images_check() {
    let engine = Engine::with_busybox();
    let registry = Registry::start();
    let config = json!({
        "Cmd": ["sleep", "1000"], "Shell": ["/bin/sh", "-ec"],
        "Healthcheck": { "Test": ["CMD-SHELL", "echo $0 checks"], "Interval": 50_000_000 },
    });
    let layers = vec![(tar_directory(Rootfs::busybox().path()), Compression::Gzip)];
    registry.push("app", "1", &Image { layers, config, ..Image::default() });
    let image = format!("{}/app:1", registry.host());
    engine.ok(&["run", "-d", "-q", "--name", "box", &image]);
    until("it is well", || status(&engine) == "healthy");
    assert_eq!(log(&engine)[0]["Output"], "/bin/sh checks\n");
    engine.ok(&["rm", "-f", "box"]);
    engine.ok(&["run", "-d", "--name", "box", "--no-healthcheck", &image]);
    assert!(!engine.inspect("box", "{{json .State}}").contains("Health"));
    engine.ok(&["rm", "-f", "box"]);
    engine.ok(&["run", "-d", "--name", "box", "--health-cmd", "exit 3", "--health-retries", "1", &image]);
    until("the user's command, and the image's interval", || status(&engine) == "unhealthy");
    assert_eq!(log(&engine)[0]["ExitCode"], 3);
}

#[test]
fn checks_that_cannot_be() {
    let engine = Engine::with_busybox();
    let complaints: String = [
        &["--health-interval", "soon"][..],
        &["--health-timeout", "0.1ms"],
        &["--health-cmd", "true", "--no-healthcheck"],
    ]
    .iter()
    .map(|options| engine.fails(&[&["run"], *options, &["busybox"]].concat()) + "\n")
    .collect();
    insta::assert_snapshot!(complaints);
}

#[test]
fn a_container_among_the_processes_of_another() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "donor", "busybox", "sleep", "1000"]);
    let check = ["--health-cmd", "test -d /proc/1", "--health-interval", "50ms", "--health-retries", "1"];
    let command = ["--pid", "container:donor", "busybox", "sleep", "1000"];
    engine.ok(&[&["run", "-d", "--name", "box"], &check[..], &command].concat());
    until("there is a result", || !log(&engine).is_empty());
    assert_eq!(log(&engine)[0]["ExitCode"], 0, "{:?}", log(&engine)[0]);
    assert_eq!(status(&engine), "healthy");
}

#[test]
fn a_check_ends_with_its_container() {
    let engine = Engine::with_busybox();
    let check = ["--health-cmd", "touch /began; sleep 1000", "--health-interval", "10ms"];
    let command = ["busybox", "sh", "-c", "until test -e /began; do sleep 0.01; done; rm /began; exit 1"];
    engine.ok(&[&["run", "-d", "--name", "box", "--restart", "always"], &check[..], &command].concat());
    until("it was started again", || {
        engine.inspect("box", "{{.RestartCount}}").parse::<u32>().is_ok_and(|count| count >= 2)
    });
    let name = format!("md-shim {}", &engine.inspect("box", "{{.Id}}")[..12]);
    let is_shim = |pid: &&String| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(&name))
    };
    // One that has ended just now is there until the shim comes to it.
    until("the checks of earlier runs are gone", || {
        let processes = Engine::entries("/proc".as_ref());
        let shim = processes.iter().find(is_shim).expect("it is looked after");
        let zombies = processes.iter().filter(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains(&format!("\nPPid:\t{shim}\n")) && status.contains("\nState:\tZ")
        });
        zombies.count() <= 1
    });
}
