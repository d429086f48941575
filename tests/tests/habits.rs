//! Small habits of Docker's that scripts count on.

use std::fs;

use testbed::engine::Engine;

fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    engine.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
}

/// What a command that must fail prints on its standard output.
fn printed(engine: &Engine, arguments: &[&str], code: i32) -> String {
    let output = engine.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[test]
fn a_containers_id_is_told() {
    let engine = Engine::with_busybox();
    // Also of one that could not start.
    let id = printed(&engine, &["run", "-d", "--name", "box", "busybox", "nosuch"], 127);
    assert_eq!(engine.inspect("box", "{{.Id}} {{.State.Status}}"), format!("{id} created"));

    let file = engine.folder().join("id");
    let path = file.to_str().unwrap();
    for command in [&["run", "-d"][..], &["create"]] {
        let id = engine.ok(&[command, &["--cidfile", path, "busybox", "true"]].concat());
        assert_eq!(fs::read_to_string(&file).unwrap(), id);
        let again = engine.fails(&[command, &["--cidfile", path, "busybox", "true"]].concat());
        assert!(again.starts_with("125 ") && again.contains("container ID file found"), "{again}");
        fs::remove_file(&file).unwrap();
    }
    // Before it runs, and also if it does not; one that there is no container for does not stay; one whose start is made again is its container's.
    engine.fails(&["run", "--cidfile", path, "-v", "/srv:/srv:odd", "busybox", "true"]);
    assert!(!file.exists());
    let seen = ["run", "--name", "seen", "--cidfile", path, "-v", &format!("{path}:/id"), "busybox"];
    let id = engine.ok(&[&seen[..], &["sh", "-c", "read id < /id; echo $id"]].concat());
    assert_eq!(id, engine.inspect("seen", "{{.Id}}"));
    fs::remove_file(&file).unwrap();
    // The engine's binary, which knows no such command.
    let again = ["run", "--name", "other", "--cidfile", path, "busybox", "/proc/self/exe", "nosuch"];
    assert_eq!(printed(&engine, &again, 1), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), engine.inspect("other", "{{.Id}}"));
}

#[test]
fn names_and_labels() {
    let engine = Engine::with_busybox();
    let file = engine.folder().join("labels");
    fs::write(&file, "# of a file\na=1\n\nb\nc=1\n").unwrap();
    let labels = ["--label-file", file.to_str().unwrap(), "-l", "c=2"];
    engine.ok(&[&["create", "--name", "/box"], &labels[..], &["busybox"]].concat());
    assert_eq!(
        engine.inspect("box", "{{.Name}} {{json .Config.Labels}}"),
        r#"/box {"a":"1","b":"","c":"2"}"#
    );
    for label in ["", "=x"] {
        let said = engine.fails(&["create", "-l", label, "busybox"]);
        assert!(said.starts_with("125 ") && said.contains("empty name"), "{said}");
    }
    engine.ok(&["create", "--name", "boxes", "busybox"]);
    assert!(engine.fails(&["ps", "-f", "name=("]).starts_with("1 Error: invalid filter 'name=('"));
    for (filter, found) in [
        ("name=^/box$", "box"),
        ("name=^box$", "box"),
        ("name=^box", "boxes\nbox"),
        ("name=es$", "boxes"),
        ("name=/box", "boxes\nbox"),
        ("name=/ox", ""),
        ("name=^ox", ""),
        ("name=^(box|ox)$", "box"),
        ("name=b.x[aeiou]s", "boxes"),
    ] {
        assert_eq!(engine.ok(&["ps", "-a", "-f", filter, "--format", "{{.Names}}"]), found, "{filter}");
    }
}

#[test]
fn templates_of_what_is_not_there() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "-l", "a=1", "busybox"]);
    let template = r#"{{index .Config.Labels "b"}}|{{eq (index .Config.Labels "b") ""}}|{{if .State.Health}}{{.State.Health.Status}}{{end}}"#;
    assert_eq!(engine.inspect("box", template), "|true|");
    assert_eq!(engine.inspect("box", "{{json .Config.Healthcheck}}"), "null");
    let size = engine.ok(&["images", "--format", "{{.Size}}"]);
    let image = engine.ok(&[
        "images",
        "--format",
        "{{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}}",
    ]);
    assert_eq!(image, format!("N/A N/A N/A {size}"));
    for list in [&["ps", "-a"][..], &["images"]] {
        // 2026-01-02 03:04:05 +0000 UTC
        let created = engine.ok(&[list, &["--format", "{{.CreatedAt}}"]].concat());
        let words: Vec<usize> = created.split(' ').map(str::len).collect();
        assert!(matches!(words[..], [10, 8, 5, _]), "{created}");
    }
}

#[test]
fn values_that_are_left_open() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "-m", "64m", "busybox"]);
    let values = "{{.HostConfig.MemorySwap}} {{.HostConfig.ShmSize}} {{json .HostConfig.PidsLimit}}";
    assert_eq!(engine.inspect("box", values), "134217728 67108864 null");
    engine.ok(&[
        "create",
        "--name",
        "other",
        "--memory-swap",
        "-1",
        "-m",
        "64m",
        "--shm-size",
        "1m",
        "--pids-limit",
        "9",
        "busybox",
    ]);
    assert_eq!(engine.inspect("other", values), "-1 1048576 9");
    assert_eq!(engine.ok(&["info", "--format", "{{.CgroupDriver}}"]), "cgroupfs");
}

/// Its containers can still be committed, and its name is another's.
#[test]
fn an_image_in_use_loses_its_name_only() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    assert!(engine.fails(&["rmi", "busybox"]).contains("must force"));
    assert_eq!(engine.ok(&["rmi", "-f", "busybox"]), "Untagged: busybox:latest");
    assert_eq!(engine.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "<none>:<none>");
    engine.ok(&["commit", "box", "made"]);
    engine.ok(&["rm", "-f", "box"]);
    engine.ok(&["image", "prune", "-f"]);
    assert_eq!(engine.ok(&["run", "--rm", "made", "echo", "works"]), "works");
    assert_eq!(engine.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "made:latest");
}

#[test]
fn exit_codes_of_bad_usage() {
    let engine = Engine::with_busybox();
    for (arguments, code) in [
        (&["create", "--junk", "busybox"][..], "125"),
        (&["run", "--junk", "busybox"], "125"),
        (&["ps", "--junk"], "125"),
        (&["ps", "extra"], "1"),
        (&["logs", "a", "b"], "1"),
        (&["logs"], "1"),
        (&["run", "--mount", "type=tmpfs,dst=/x,readonly=junk", "busybox"], "125"),
        (&["create", "--mount", "type=volume,dst=/x,volume-nocopy=junk", "busybox"], "125"),
        (&["create", "-v", "/x:/x:junk", "busybox"], "125"),
    ] {
        let said = engine.fails(arguments);
        assert_eq!((said.split(' ').next(), said.lines().count()), (Some(code), 1), "{arguments:?}: {said}");
    }
}

#[test]
fn what_a_container_sees_of_itself() {
    let engine = Engine::with_busybox();
    let hosts = sh(&engine, &["-h", "one.example.org"], "grep one /etc/hosts");
    assert!(hosts.ends_with("\tone.example.org one"), "{hosts}");
    let hosts = sh(&engine, &["-h", "one", "--domainname", "example.org"], "grep one /etc/hosts");
    assert!(hosts.ends_with("\tone.example.org one"), "{hosts}");
    let write =
        "for name in hosts hostname resolv.conf; do echo x 2>&- >> /etc/$name && echo $name; done; true";
    assert_eq!(sh(&engine, &["--read-only"], write), "");
    assert_eq!(sh(&engine, &[], write), "hosts\nhostname\nresolv.conf");
    let output = engine.run(&["run", "--rm", "--network", "host", "-p", "8080:80", "busybox", "true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "WARNING: Published ports are discarded when using host network mode\n");
}

#[test]
fn a_running_container_has_its_present_state_and_name() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo said; sleep 1000"]);
    testbed::until("it has said it", || engine.ok(&["logs", "--tail", "-1", "box"]) == "said");
    engine.ok(&["pause", "box"]);
    assert!(engine.fails(&["start", "box"]).contains("cannot start a paused container, try unpause instead"));
    engine.ok(&["unpause", "box"]);
    engine.ok(&["rename", "box", "other"]);
    engine.ok(&["kill", "other"]);
    let told =
        ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}} {{.Actor.Attributes.name}}"];
    let told = engine.ok(&told);
    for line in ["rename other", "kill other", "die other"] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    engine.ok(&["rm", "other"]);
}

/// What a directory shows to nobody, the file system over it does not show either.
#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "--name", "box", "busybox", "mkdir", "-m", "750", "/kept"]);
    engine.ok(&["commit", "box", "made"]);
    for (option, mode) in [("/kept", "750"), ("/kept:mode=711", "711"), ("/new", "1777")] {
        let path = option.split(':').next().unwrap();
        let seen = engine.ok(&["run", "--rm", "--tmpfs", option, "made", "stat", "-c", "%a", path]);
        assert_eq!(seen, mode, "{option}");
    }
}
