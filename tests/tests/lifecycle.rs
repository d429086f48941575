//! Containers that outlive the command: `run -d`, `ps`, `logs`, `stop`, `kill`, `rm`, `inspect`, and images.

use testbed::engine::Engine;
use testbed::until;

/// A container that runs until it is stopped.
fn sleeper(engine: &Engine, name: &str) -> String {
    engine.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])
}

#[test]
fn filters_that_make_no_sense_are_errors_without_a_container_too() {
    let engine = Engine::with_busybox();
    for filter in ["status=bogus", "health=good", "exited=soon", "is-task=perhaps", "colour=red"] {
        let key = if filter == "colour=red" { "colour" } else { filter };
        let said = engine.fails(&["ps", "--filter", filter]);
        assert_eq!(said, format!("1 Error: invalid filter '{key}'"));
    }
    assert_eq!(engine.fails(&["ps", "-f", "before=none"]), "1 Error: No such container: none");
    assert_eq!(engine.ok(&["ps", "-q", "-f", "status=dead", "-f", "status=running"]), "");
}

#[test]
fn ps_shows_what_docker_shows() {
    let engine = Engine::with_busybox();
    let id = sleeper(&engine, "web");
    engine.fails(&["run", "--name", "done", "busybox", "sh", "-c", "exit 3"]);
    let other = engine.inspect("done", "{{.Id}}");
    let table =
        engine.ok(&["ps", "-a"]).replace(&id[..12], "<web's ID>").replace(&other[..12], "<done's ID>");
    insta::assert_snapshot!(without_times(&table), @r#"
    CONTAINER ID | IMAGE | COMMAND | CREATED | STATUS | PORTS | NAMES
    <done's ID> | busybox | "sh -c 'exit 3'" | <time> ago | Exited (3) <time> ago | done
    <web's ID> | busybox | "sleep 1000" | <time> ago | Up <time> | web
    "#);
    assert_eq!(engine.ok(&["ps", "-q"]), &id[..12]);
    assert_eq!(engine.ok(&["container", "ls", "-aq", "--no-trunc", "--filter", "exited=3"]), other);
    assert_eq!(engine.ok(&["ps", "--format", "{{.Names}}: {{.State}}"]), "web: running");
    assert_eq!(engine.ok(&["ps", "-a", "--filter", "name=do", "--format", "{{.Names}}"]), "done");
    assert_eq!(engine.ok(&["ps", "-lq", "--no-trunc"]), other);
    insta::assert_snapshot!(engine.ok(&["ps", "-a", "--format", "table {{.Names}}\\t{{.Image}}"]), @"
    NAMES     IMAGE
    done      busybox
    web       busybox
    ");
}

/// A table's cells, without the widths and times that depend on how quick the machine is.
fn without_times(table: &str) -> String {
    let cell = |cell: &str| {
        let before = ["Up ", "Exited (3) ", ""]
            .into_iter()
            .find(|before| cell.starts_with(before))
            .unwrap_or_default();
        match (cell.ends_with(" ago"), before) {
            (true, before) => format!("{before}<time> ago"),
            (false, "Up ") => "Up <time>".to_owned(),
            (false, _) => cell.to_owned(),
        }
    };
    let row = |row: &str| {
        row.split("   ")
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(cell)
            .collect::<Vec<_>>()
            .join(" | ")
    };
    table.lines().map(|line| row(line) + "\n").collect()
}

#[test]
fn logs_hold_both_streams_and_can_be_followed() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo one; echo two >&2; sleep 0.3; echo three; printf end",
    ]);
    let output = engine.run(&["logs", "--follow", "box"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\nthree\nend");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "two\n");
    assert_eq!(engine.ok(&["logs", "-n", "1", "box"]), "end");
    let stamped = engine.ok(&["logs", "-t", "box"]);
    assert!(stamped.lines().all(|line| line.len() > 30 && line.as_bytes()[29] == b'Z'), "{stamped}");
    assert_eq!(engine.ok(&["logs", "--until", "1h", "box"]), "");
    assert_eq!(engine.ok(&["logs", "--since", "1h", "box"]), "one\nthree\nend");
}

#[test]
fn stop_kill_and_rm() {
    let engine = Engine::with_busybox();
    let id = engine.ok(&[
        "run",
        "-d",
        "--name",
        "trap",
        "busybox",
        "sh",
        "-c",
        "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    until("the container is ready", || engine.ok(&["logs", "trap"]).contains("ready"));
    insta::assert_snapshot!(engine.fails(&["rm", "trap"]), @r#"1 Error: cannot remove container "/trap": container is running: stop the container before removing or force remove"#);
    assert_eq!(engine.ok(&["stop", "trap"]), "trap");
    assert_eq!(engine.inspect("trap", "{{.State.ExitCode}}"), "7");
    assert!(engine.ok(&["logs", "trap"]).ends_with("asked"));
    assert_eq!(engine.ok(&["stop", &id]), id, "stopping twice is no error");
    assert_eq!(
        engine.fails(&["kill", "trap"]),
        format!("1 Error: cannot kill container: trap: container {id} is not running")
    );

    // A program without a handler, as process 1, takes no notice of SIGTERM.
    sleeper(&engine, "deaf");
    assert_eq!(engine.ok(&["stop", "-t", "0", "deaf"]), "deaf");
    assert_eq!(engine.inspect("deaf", "{{.State.ExitCode}}"), "137");

    sleeper(&engine, "third");
    assert_eq!(engine.ok(&["kill", "-s", "KILL", "third"]), "third");
    assert_eq!(engine.inspect("third", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert_eq!(
        engine.ok(&["rm", "trap", &id[..3], "third"].map(|name| if name == &id[..3] {
            "deaf"
        } else {
            name
        })),
        "trap\ndeaf\nthird"
    );
    insta::assert_snapshot!(engine.fails(&["rm", "third"]), @"1 Error: No such container: third");
    let forced = engine.run(&["rm", "-f", "third"]);
    assert_eq!((forced.status.code(), forced.stdout.as_slice()), (Some(0), &b""[..]));
    assert_eq!(String::from_utf8_lossy(&forced.stderr), "Error: No such container: third\n");

    sleeper(&engine, "forced");
    assert_eq!(engine.ok(&["rm", "-f", "forced"]), "forced");
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_name_is_unique_until_its_container_is_removed() {
    let engine = Engine::with_busybox();
    let id = sleeper(&engine, "one");
    let refused = engine.fails(&["run", "--name", "one", "busybox", "true"]);
    assert_eq!(
        refused,
        format!(
            "125 Error: Conflict. The container name \"/one\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        )
    );
    engine.ok(&["rm", "-f", "one"]);
    sleeper(&engine, "one");
    assert!(
        engine.fails(&["run", "--name", "no/slash", "busybox"]).contains("Invalid container name (no/slash)")
    );
}

#[test]
fn containers_are_found_by_name_id_and_prefix() {
    let engine = Engine::with_busybox();
    let id = sleeper(&engine, "web");
    for reference in ["web", "/web", &id, &id[..12], &id[..2]] {
        assert_eq!(engine.inspect(reference, "{{.Id}}"), id, "{reference}");
    }
    assert_eq!(
        engine.inspect("web", "{{.Name}} {{.State.Running}} {{.Config.Hostname}}"),
        format!("/web true {}", &id[..12])
    );
    let pid = engine.inspect("web", "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")), "{status}");
    insta::assert_snapshot!(engine.fails(&["inspect", "nothing"]), @"1 Error: No such object: nothing");
}

#[test]
fn the_command_passes_signals_on() {
    use nix::sys::signal::{Signal, kill};
    let engine = Engine::with_busybox();
    let line = "trap 'echo got it; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let mut run = engine.command(&["run", "--name", "box", "busybox", "sh", "-c", line]);
    let run = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    until("the container is ready", || engine.run(&["logs", "box"]).stdout == b"ready\n");
    kill(nix::unistd::Pid::from_raw(run.id() as i32), Signal::SIGINT).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\ngot it\n");
}

#[test]
fn images_are_listed_and_removed_unless_needed() {
    let engine = Engine::with_busybox();
    let id = engine.inspect("busybox", "{{.Id}}");
    let short = &id["sha256:".len()..][..12];
    assert_eq!(
        engine.ok(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]),
        format!("busybox:latest {short}")
    );
    let container = engine.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    let refused = engine.fails(&["rmi", "busybox"]);
    assert_eq!(
        refused,
        format!(
            "1 Error: conflict: unable to remove repository reference \"busybox\" (must force) - container {} is using its referenced image {short}",
            &container[..12]
        )
    );
    let refused = engine.fails(&["rmi", "-f", short]);
    assert_eq!(
        refused,
        format!(
            "1 Error: conflict: unable to delete {short} (cannot be forced) - image is being used by running container {}",
            &container[..12]
        )
    );
    engine.ok(&["rm", "-f", &container]);
    let removed = engine.ok(&["rmi", "busybox"]);
    assert!(removed.starts_with("Untagged: busybox:latest\nDeleted: sha256:"), "{removed}");
    assert_eq!(engine.ok(&["images", "-q"]), "");
    assert_eq!(Engine::entries(&engine.data().join("layers")), Vec::<String>::new());
    insta::assert_snapshot!(engine.fails(&["rmi", "busybox"]), @"1 Error: No such image: busybox:latest");
    assert_eq!(engine.ok(&["rmi", "-f", "busybox"]), "");
}

#[test]
fn info_version_and_doctor() {
    let engine = Engine::with_busybox();
    sleeper(&engine, "web");
    assert_eq!(
        engine.ok(&["info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.Images}}"]),
        "1 1 1"
    );
    assert_eq!(engine.ok(&["version", "--format", "{{.Client.Version}}"]), env!("CARGO_PKG_VERSION"));
    let doctor = engine.ok(&["doctor"]);
    let ok = |line: &str| line.split_whitespace().skip(1).take(2).eq(["overlayfs", "ok"]);
    assert!(doctor.lines().any(ok), "{doctor}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let engine = Engine::with_busybox();
    let line = format!(
        "yes '{{{{.ID}}}}' | head -n 20000 | tr -d '\\n' > long; {} images --format \"$(cat long | head -c 99995)\" | head -c 1",
        Engine::program().display()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]).current_dir(engine.folder());
    command.env("MINI_DOCKER_DATA_ROOT", engine.data()).env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    let output = testbed::output(&mut command);
    assert_eq!((output.stdout.len(), String::from_utf8_lossy(&output.stderr)), (1, "".into()));
}

#[test]
fn folders_may_have_long_paths() {
    let engine = Engine::with_busybox();
    let deep = engine.folder().join("x".repeat(120));
    let command = |arguments: &[&str]| {
        let mut command = engine.command(arguments);
        testbed::stdout(command.env("MINI_DOCKER_EXEC_ROOT", &deep))
    };
    command(&["run", "-d", "--name", "deep", "busybox", "sleep", "1000"]);
    command(&["kill", "deep"]);
    command(&["rm", "deep"]);
}

#[test]
fn nothing_of_a_container_outlives_its_program() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "donor", "busybox", "sleep", "1000"]);
    for mode in ["host", "container:donor"] {
        // Where the process ids are others' too, the kernel does not end what the program has left.
        let left = "sleep 4321 & exit 7";
        let said = engine.run(&["run", "--name", "box", "--pid", mode, "busybox", "sh", "-c", left]);
        assert_eq!(said.status.code(), Some(7), "{mode}: {said:?}");
        assert_eq!(engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7", "{mode}");
        let runs = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words == b"sleep\x004321\0")
        };
        assert_eq!(Engine::entries("/proc".as_ref()).iter().find(|pid| runs(pid)), None, "{mode}");
        engine.ok(&["rm", "box"]);
    }
}

#[test]
fn containers_by_their_ports() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "web", "-p", "8080:80", "busybox"]);
    engine.ok(&["create", "--name", "game", "--expose", "7000-7001/udp", "busybox"]);
    let names = |filter: &str| engine.ok(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
    assert_eq!((names("publish=80"), names("publish=8080")), ("web".to_owned(), String::new()));
    assert_eq!((names("expose=80/tcp"), names("expose=7001/udp")), ("web".to_owned(), "game".to_owned()));
    assert_eq!((names("expose=7001"), names("is-task=true")), (String::new(), String::new()));
    assert_eq!(names("is-task=false"), "game\nweb");
    assert_eq!(engine.fails(&["ps", "-a", "--filter", "is-task=x"]), "1 Error: invalid filter 'is-task=x'");
}

#[test]
fn what_templates_of_others_look_for_is_there() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let say = |template: &str| engine.inspect("box", template);
    assert_eq!(say("{{.AppArmorProfile}}{{.ProcessLabel}}{{.MountLabel}} {{json .ExecIDs}}"), " null");
    assert_eq!(say("{{.HostConfig.Runtime}} {{.HostConfig.OomKillDisable}}"), "runtime false");
    assert!(say("{{json .HostConfig.MaskedPaths}}").contains("/proc/kcore"));
    assert_eq!(
        say("{{.NetworkSettings.HairpinMode}} {{json .NetworkSettings.SecondaryIPAddresses}}"),
        "false null"
    );
    // What the container sees, by a path of the host's.
    let merged = say("{{.GraphDriver.Data.MergedDir}}");
    assert!(std::path::Path::new(&merged).join("bin/busybox").exists(), "{merged}");
    let top = engine.inspect("busybox", "{{.GraphDriver.Data.UpperDir}}");
    assert!(std::path::Path::new(&top).join("bin/busybox").exists(), "{top}");
    // df(1) and others know the root by its device.
    assert!(engine.ok(&["exec", "box", "df", "/"]).contains("\noverlay "));
    engine.ok(&["rm", "-f", "box"]);
}

#[test]
fn wrong_words_end_as_dockers_do() {
    let engine = Engine::new();
    for (arguments, code) in [
        (&["run"][..], 1),
        (&["rm"], 1),
        (&["run", "--bogus", "busybox"], 125),
        (&["bogus"], 1),
        (&["ps", "--format", "{{.Bogus}}"], 1),
        (&["ps", "--format", "{{.Names}} {{.Status}}"], 0),
    ] {
        let ended = engine.run(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&ended.stderr).lines().count(),
            usize::from(code != 0),
            "{arguments:?}"
        );
    }
}
