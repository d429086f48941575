//! Killed at any moment, the engine leaves nothing that the next command does not understand and repair.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, noise, tar, tar_directory};
use testbed::rootfs::Rootfs;
use testbed::until;

/// A registry with an image of four layers, the lowest with a shell.
fn registry() -> Registry {
    let registry = Registry::start();
    let mut layers = vec![(tar_directory(Rootfs::busybox().path()), Compression::Gzip)];
    for seed in 0..3 {
        layers.push((tar(&[(&format!("noise{seed}"), &noise(6 << 20, seed))]), Compression::Gzip));
    }
    registry.push("shell", "latest", &Image { layers, config: json!({"Cmd": ["sh"]}), ..Image::default() });
    registry
}

/// Cgroups of containers that exist now.
fn cgroups() -> Vec<String> {
    let mut found = Vec::new();
    for root in ["/sys/fs/cgroup/pids/mini-docker", "/sys/fs/cgroup/mini-docker"] {
        if Path::new(root).exists() {
            found.extend(Engine::entries(Path::new(root)).into_iter().filter(|name| name.len() == 64));
        }
    }
    found
}

#[test]
fn the_command_is_killed_at_twenty_moments_of_pull_and_run() {
    let (registry, engine) = (registry(), Engine::new());
    let image = format!("{}/shell", registry.host());
    let run = ["run", "--rm", &image, "sh", "-c", "echo done"];
    let begun = Instant::now();
    assert_eq!(engine.ok(&run), "done");
    let whole = begun.elapsed();

    for round in 0..20 {
        // Every second round pulls as well.
        if round % 2 == 0 {
            engine.ok(&["rmi", "-f", &image]);
        }
        let mut command = engine.command(&run);
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        // Spread over the time that the whole takes; what is over sooner is killed after its end.
        let span = if round % 2 == 0 { whole } else { Duration::from_millis(30) };
        std::thread::sleep(span * round / 20);
        child.kill().unwrap();
        child.wait().unwrap();

        engine.ok(&["ps", "-a"]);
        engine.ok(&["images"]);
        assert_eq!(engine.ok(&run), "done", "round {round}");
    }
    // A container whose command was killed goes on, and removes itself at its end.
    until("nothing is left", || {
        engine.ok(&["ps", "-aq"]).is_empty() && Engine::entries(&engine.fleeting()).is_empty()
    });
    engine.ok(&["ps", "-a"]);
    assert_eq!(Engine::entries(&engine.data().join("containers")), Vec::<String>::new());
    assert_eq!(Engine::entries(&engine.data().join("names")), Vec::<String>::new());
    // The image is whole, and the only one.
    assert_eq!(engine.ok(&["images", "-q"]).lines().count(), 1);
    let staged =
        Engine::entries(&engine.data().join("layers")).into_iter().filter(|name| name.starts_with('.'));
    engine.ok(&["rmi", &image]);
    assert_eq!(staged.count(), 0, "no half layer stays");
    assert_eq!(Engine::entries(&engine.data().join("images/blobs/sha256")), Vec::<String>::new());
}

#[test]
fn a_container_ends_with_its_shim_and_the_next_command_tidies_up() {
    let engine = Engine::with_busybox();
    for (name, options) in [("kept", &[][..]), ("gone", &["--rm"][..])] {
        let mut run = vec!["run", "-d", "--name", name];
        run.extend(options);
        run.extend(["busybox", "sh", "-c", "sleep 1000 & sleep 1000"]);
        let id = engine.ok(&run);
        let first: i32 = engine.inspect(name, "{{.State.Pid}}").parse().unwrap();
        let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
        let shim: i32 =
            status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
        kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
        until("the container is gone", || !Path::new(&format!("/proc/{first}")).exists());
        engine.ok(&["ps", "-a"]);
        assert!(!cgroups().contains(&id), "its cgroup is gone");
    }
    assert_eq!(engine.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]), "kept exited");
    assert_eq!(engine.inspect("kept", "{{.State.ExitCode}} {{.State.Pid}}"), "255 0");
    engine.ok(&["rm", "kept"]);
}

#[test]
fn a_reboot_ends_containers_and_loses_none() {
    let engine = Engine::with_busybox();
    let id = engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let first: i32 = engine.inspect("box", "{{.State.Pid}}").parse().unwrap();
    let shim = fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    let shim: i32 = shim.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    until("the container is gone", || !Path::new(&format!("/proc/{first}")).exists());
    // What a reboot does to a folder in memory.
    fs::remove_dir_all(engine.exec()).unwrap();
    assert_eq!(engine.inspect("box", "{{.State.Status}}"), "exited");
    assert_eq!(engine.ok(&["rm", "box"]), "box");
    assert!(!cgroups().contains(&id), "its cgroup is gone");
}

#[test]
fn commands_that_race_end_in_one_of_the_right_orders() {
    let engine = Engine::with_busybox();
    for _ in 0..5 {
        engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let spawn = |arguments: &[&str]| engine.command(arguments).output().unwrap();
        let outputs: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = [
                &["rm", "-f", "box"][..],
                &["rm", "-f", "box"],
                &["stop", "-t", "0", "box"],
                &["kill", "box"],
            ]
            .into_iter()
            .map(|arguments| scope.spawn(move || spawn(arguments)))
            .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert!(outputs.iter().take(2).any(|output| output.status.success()), "{outputs:?}");
        for output in outputs.iter().filter(|output| !output.status.success()) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("No such container") || said.contains("is not running"), "{said}");
        }
        assert_eq!(engine.ok(&["ps", "-aq"]), "");
    }
}

#[test]
fn many_short_containers_at_once() {
    let engine = Engine::with_busybox();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..6 {
                    let number = round.to_string();
                    assert_eq!(engine.ok(&["run", "--rm", "busybox", "echo", &number]), number);
                }
            });
        }
    });
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let engine = Engine::with_busybox();
    // A data folder of its own, in a small file system.
    let small = engine.folder().join("small");
    fs::create_dir(&small).unwrap();
    mount(Some("small"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=3m")).unwrap();
    let archive = engine.folder().join("busybox.tar");
    let mut import = engine.command(&["import", archive.to_str().unwrap(), "busybox"]);
    let output = testbed::output(import.env("MINI_DOCKER_DATA_ROOT", &small));
    let images = testbed::stdout(engine.command(&["images", "-q"]).env("MINI_DOCKER_DATA_ROOT", &small));
    umount2(&small, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ENOSPC") && said.lines().count() == 1, "{said}");
    assert_eq!(images, "");
}
