//! `mini-docker run`, as a user sees it and as the kernel does.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use testbed::engine::Engine;
use testbed::{programs, stdout};

fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", line]);
    engine.ok(&arguments)
}

#[test]
fn only_the_streams_that_are_attached_are_shown() {
    let engine = Engine::with_busybox();
    let line = "echo out; echo err >&2; cat; exit 3";
    let run = |options: &[&str]| {
        let command = [&["run", "--name", "box"], options, &["busybox", "sh", "-c", line]].concat();
        let mut command = engine.command(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"in\n").unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{options:?}");
        let id = engine.inspect("box", "{{.Id}}");
        let config = engine
            .inspect("box", "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}");
        engine.ok(&["rm", "box"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&id, "ID").replace('\n', "|");
        format!("{} / {} / {config}", text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&[]), "out| / err| / false true true");
    assert_eq!(run(&["-a", "stdout"]), "out| /  / false true false");
    assert_eq!(run(&["--attach=STDERR"]), " / err| / false false true");
    assert_eq!(run(&["-a", "stdin", "-i"]), "ID| /  / true false false");
    assert_eq!(run(&["-a", "stdin", "-a", "stdout", "-i"]), "out|in| /  / true true false");

    assert_eq!(
        engine.fails(&["run", "-d", "-a", "stdout", "busybox", "true"]),
        "1 Error: conflicting options: cannot specify both --attach and --detach"
    );
    let wrong = engine.fails(&["run", "-a", "stdin,stdout", "busybox", "true"]);
    assert!(
        wrong.starts_with("125 ") && wrong.contains("valid streams are STDIN, STDOUT and STDERR"),
        "{wrong}"
    );
    engine.ok(&["create", "-a", "stderr", "--name", "made", "busybox"]);
    assert_eq!(engine.inspect("made", "{{.Config.AttachStdout}} {{.Config.AttachStderr}}"), "false true");
}

#[test]
fn hello_needs_no_registry_and_is_made_once() {
    let engine = Engine::new();
    let screen = engine.ok(&["run", "--rm", "hello"]);
    assert!(screen.contains("number 1; its parent is outside"), "{screen}");
    let id = engine.inspect("hello", "{{.Id}}");
    engine.ok(&["run", "--rm", "hello"]);
    assert_eq!(engine.inspect("hello", "{{.Id}}"), id);
    assert_eq!(Engine::entries(&engine.data().join("layers")).len(), 1);
}

#[test]
fn output_exit_code_and_input_pass_through() {
    let engine = Engine::with_busybox();
    let output = engine.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(output.status.code(), Some(42));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));

    let mut cat = engine.command(&["run", "--rm", "-i", "busybox", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // More than the pipes on the way hold together.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let mut stdin = cat.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || stdin.write_all(&sent)
    });
    let output = cat.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == sent, "{} of {} bytes came back", output.stdout.len(), sent.len());
}

#[test]
fn without_interactive_the_input_is_empty() {
    let engine = Engine::with_busybox();
    assert_eq!(sh(&engine, &[], "wc -c"), "0");
}

/// Where the program may not be the image's own the start is made twice, of which nothing is to be seen.
#[test]
fn programs_from_elsewhere_are_started_once() {
    let engine = Engine::with_busybox();
    let app = engine.folder().join("app");
    fs::create_dir(&app).unwrap();
    programs::copy("/bin/busybox", app.join("echo"));
    programs::write(app.join("script"), "#!/bin/sh\necho script\n");
    programs::write(app.join("secret"), "#!/app/echo interpreted by");
    programs::write(app.join("neither"), "no program");
    let run = |command: &[&str]| {
        let volume = format!("{}:/app", app.display());
        let output = engine.run(&[&["run", "--name", "app", "-v", &volume, "busybox"], command].concat());
        let left = engine.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
        engine.ok(&["rm", "app"]);
        let (said, complaint) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let left = left.split(" (").next().unwrap();
        format!("{} {} {}{left}\n", output.status.code().unwrap(), said.trim_end(), complaint)
    };
    let table = ["/app/echo", "/app/script", "/app/secret", "/app/neither", "/app/nothing", "echo"]
        .map(|program| run(&[program, "an argument"]))
        .concat();
    insta::assert_snapshot!(table);
}

#[test]
fn what_cannot_run_has_dockers_exit_codes_and_one_line() {
    let engine = Engine::with_busybox();
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "busybox", "nothing"]), @r#"127 Error: exec: "nothing": executable file not found in $PATH"#);
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "busybox", "/no/where"]), @r#"127 Error: exec: "/no/where": no such file or directory"#);
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "busybox", "/etc/passwd"]), @r#"126 Error: exec: "/etc/passwd": permission denied"#);
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "--user", "nobody", "busybox", "true"]), @"125 Error: unable to find user nobody: no matching entries in passwd file");
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "--mount", "type=bind,source=/no/where,target=/x", "busybox", "true"]), @r#"125 Error: invalid mount config for type "bind": bind source path does not exist: /no/where"#);
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "--network", "blue", "busybox", "true"]), @"125 Error: network blue not found");
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "UPPER"]), @"125 Error: invalid reference format: repository name (library/UPPER) must be lowercase");
    insta::assert_snapshot!(engine.fails(&["run", "--nosuch", "busybox"]), @"125 Error: unknown flag: --nosuch");
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "-w", "srv", "busybox"]), @"125 Error: the working directory 'srv' is invalid, it needs to be an absolute path");
    insta::assert_snapshot!(engine.fails(&["run", "--memory", "much", "busybox"]), @"125 Error: invalid value 'much' for '--memory <BYTES>': invalid size: 'much' (see 'mini-docker --help')");
    insta::assert_snapshot!(engine.fails(&["run"]), @"1 Error: the following required arguments were not provided: <IMAGE> [COMMAND]... (see 'mini-docker --help')");
    insta::assert_snapshot!(engine.fails(&["ps", "--nosuch"]), @"125 Error: unexpected argument '--nosuch' found (see 'mini-docker --help')");
    insta::assert_snapshot!(engine.fails(&["nosuch"]), @"1 Error: unrecognized subcommand 'nosuch' (see 'mini-docker --help')");
    assert!(engine.run(&["container"]).status.success(), "a bare group prints its help");
}

#[test]
fn a_failed_start_without_rm_stays_to_be_looked_at() {
    let engine = Engine::with_busybox();
    engine.fails(&["run", "--name", "broken", "busybox", "nothing"]);
    assert_eq!(engine.inspect("broken", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
    assert!(engine.inspect("broken", "{{.State.Error}}").contains("not found in $PATH"));
}

#[test]
fn environment() {
    let engine = Engine::with_busybox();
    let file = engine.folder().join("vars");
    fs::write(&file, "# comment\nFROM_FILE=1\nBOTH=file\n").unwrap();
    let mut command = engine.command(&[
        "run",
        "--rm",
        "--hostname",
        "web",
        "--env-file",
        "vars",
        "-e",
        "BOTH=flag",
        "-e",
        "PASSED",
        "-e",
        "UNSET",
        "busybox",
        "env",
    ]);
    let seen = testbed::stdout(command.env("PASSED", "on"));
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @"
    BOTH=flag
    FROM_FILE=1
    HOME=/root
    HOSTNAME=web
    PASSED=on
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    ");
}

#[test]
fn who_and_where() {
    let engine = Engine::with_busybox();
    assert_eq!(
        sh(&engine, &["-u", "user"], "id; echo $HOME"),
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\n/home/user"
    );
    assert_eq!(sh(&engine, &["-u", "12:34"], "id -u; id -g; echo $HOME"), "12\n34\n/");
    assert_eq!(sh(&engine, &["-w", "/new/deep"], "pwd"), "/new/deep");
    assert_eq!(
        sh(
            &engine,
            &["-h", "web", "--domainname", "example.test"],
            "hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname"
        ),
        "web\nexample.test\nweb"
    );
    // A user may write to the pipes that are its standard streams.
    assert_eq!(sh(&engine, &["-u", "user"], "echo x > /dev/stdout"), "x");
}

#[test]
fn the_images_config_is_honoured_and_overridden() {
    let engine = Engine::with_busybox();
    let root = testbed::rootfs::Rootfs::busybox();
    let archive = engine.folder().join("app.tar");
    testbed::stdout(
        std::process::Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."),
    );
    let import = [
        "import",
        "-c",
        "ENTRYPOINT [\"echo\", \"entry\"]",
        "-c",
        "CMD [\"cmd\"]",
        "-c",
        "ENV A=image",
        "-c",
        "WORKDIR /srv",
        "-c",
        "USER user",
        "-c",
        "LABEL k=v",
        "-c",
        "STOPSIGNAL SIGINT",
        "app.tar",
        "app:1",
    ];
    engine.ok(&import);
    assert_eq!(engine.ok(&["run", "--rm", "app:1"]), "entry cmd");
    assert_eq!(engine.ok(&["run", "--rm", "app:1", "mine"]), "entry mine");
    assert_eq!(engine.ok(&["run", "--rm", "--entrypoint", "id", "app:1", "-u"]), "1000");
    assert_eq!(engine.ok(&["run", "--rm", "--entrypoint", "pwd", "app:1"]), "/srv");
    assert_eq!(
        engine.inspect("app:1", "{{.Config.Labels}} {{.Config.StopSignal}} {{.Config.Env}}"),
        "map[k:v] SIGINT [A=image]"
    );
    engine.ok(&["run", "-d", "--name", "box", "--entrypoint", "sleep", "app:1", "100"]);
    assert_eq!(engine.inspect("box", "{{.Config.StopSignal}} {{index .Config.Labels \"k\"}}"), "SIGINT v");
}

#[test]
fn volumes_and_mounts() {
    let engine = Engine::with_busybox();
    let host = engine.folder().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "from the host\n").unwrap();
    assert_eq!(sh(&engine, &["-v", "./host:/data"], "cat /data/file; echo new > /data/new"), "from the host");
    assert_eq!(fs::read_to_string(host.join("new")).unwrap(), "new\n");
    assert_eq!(
        sh(&engine, &["-v", "./host:/data:ro"], "touch /data/x 2>&1; echo $?"),
        "touch: /data/x: Read-only file system\n1"
    );
    assert_eq!(
        sh(&engine, &["--mount", "type=bind,source=host/file,target=/etc/motd,readonly"], "cat /etc/motd"),
        "from the host"
    );
    // A missing source is made for -v; a named volume outlives its containers, an anonymous one does not.
    sh(&engine, &["-v", "./made:/data"], "touch /data/x");
    assert!(engine.folder().join("made/x").exists());
    sh(&engine, &["-v", "keep:/data", "-v", "/anonymous"], "echo kept > /data/x; touch /anonymous/y");
    assert_eq!(sh(&engine, &["-v", "keep:/data"], "cat /data/x"), "kept");
    testbed::until("only the named volume stays", || {
        Engine::entries(&engine.data().join("volumes")) == ["keep"]
    });
    assert_eq!(
        sh(
            &engine,
            &["--mount", "type=tmpfs,target=/t,tmpfs-size=1m"],
            "grep ' /t ' /proc/mounts | cut -d' ' -f1,3; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2"
        ),
        "tmpfs tmpfs\n1024"
    );
    insta::assert_snapshot!(engine.fails(&["run", "--rm", "-v", "/a:/x", "-v", "/b:/x", "busybox"]), @"125 Error: Duplicate mount point: /x");
    assert!(engine.fails(&["run", "--rm", "-v", "/etc:/proc", "busybox"]).contains("EPERM"));
}

#[test]
fn a_volume_at_a_link_of_the_images_stays_inside() {
    let engine = Engine::with_busybox();
    let line = "readlink /link; ls /link /inside";
    let root = testbed::rootfs::Rootfs::busybox();
    std::os::unix::fs::symlink("../../../../inside", root.join("link")).unwrap();
    let archive = engine.folder().join("linked.tar");
    testbed::stdout(
        std::process::Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."),
    );
    engine.ok(&["import", "linked.tar", "linked"]);
    let volume = format!("{}:/link", root.join("etc").display());
    let seen = engine.ok(&["run", "--rm", "-v", &volume, "linked", "sh", "-c", line]);
    assert_eq!(seen, "../../../../inside\n/inside:\ngroup\npasswd\n\n/link:\ngroup\npasswd");
    assert!(!std::path::Path::new("/inside").exists());
}

#[test]
fn the_writable_layer_is_the_containers_own() {
    let engine = Engine::with_busybox();
    assert_eq!(
        sh(&engine, &[], "rm /etc/passwd; ls /etc/passwd 2>&1 | tail -1"),
        "ls: /etc/passwd: No such file or directory"
    );
    assert_eq!(sh(&engine, &[], "ls /etc/passwd"), "/etc/passwd");
    assert_eq!(
        sh(&engine, &["--read-only"], "touch /x 2>&1; touch /dev/shm/x && echo shm"),
        "touch: /x: Read-only file system\nshm"
    );
}

#[test]
fn nothing_of_a_container_is_written_for_the_mount_points() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "--name", "box", "busybox", "true"]);
    let id = engine.inspect("box", "{{.Id}}");
    assert_eq!(
        Engine::entries(&engine.data().join("containers").join(id).join("upper")),
        Vec::<String>::new()
    );
}

#[test]
fn an_init_process_reaps_and_forwards() {
    let engine = Engine::with_busybox();
    let line =
        "echo $$; (sleep 0.1 &); sleep 0.5; grep -h ^State /proc/[0-9]*/status | grep -c zombie || true";
    let seen = sh(&engine, &["--init"], line);
    assert_eq!(seen, "2\n0");
    engine.ok(&["run", "-d", "--init", "--name", "box", "busybox", "sleep", "100"]);
    engine.ok(&["stop", "box"]);
    assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "143");
}

#[test]
fn an_init_process_takes_real_time_signals_and_tells_nothing_of_the_host() {
    let engine = Engine::with_busybox();
    let line = "tr '\\0' ' ' < /proc/1/cmdline; echo; wc -c < /proc/1/environ";
    let mut command =
        engine.command(&["run", "--rm", "--init", "-e", "SECRET=inside", "busybox", "sh", "-c", line]);
    assert_eq!(testbed::stdout(command.env("HOST_SECRET", "outside")), "mini-docker-init 2 \n0\n");
    let line = "trap 'exit 6' RTMIN+3; trap 'exit 6' 37; echo ready; while :; do sleep 0.05; done";
    engine.ok(&["run", "-d", "--init", "--name", "box", "busybox", "sh", "-c", line]);
    testbed::until("the container is ready", || engine.ok(&["logs", "box"]).contains("ready"));
    engine.ok(&["stop", "--signal", "RTMIN+3", "box"]);
    assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "6");
}

#[test]
fn the_callers_umask_and_relative_folders_do_not_matter() {
    let engine = Engine::with_busybox();
    let line = format!(
        "umask 077; {} --data-root data --exec-root exec run --rm -u user -v ./made:/made busybox sh -c 'umask; cat /etc/hostname > /dev/null && ls -d / /made'",
        Engine::program().display()
    );
    let seen =
        testbed::stdout(std::process::Command::new("sh").args(["-c", &line]).current_dir(engine.folder()));
    assert_eq!(seen, "0022\n/\n/made\n");
}

#[test]
fn only_volumes_that_nobody_named_go_with_their_container() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "echo kept > /data/x; sleep 1000",
    ]);
    let volume = engine.inspect("box", "{{(index .Mounts 0).Name}}");
    testbed::until("it is written", || engine.data().join("volumes").join(&volume).join("_data/x").exists());
    assert_eq!(sh(&engine, &["-v", &format!("{volume}:/other")], "cat /other/x"), "kept");
    assert_eq!(Engine::entries(&engine.data().join("volumes")), [volume]);
}

#[test]
fn a_mount_over_etc_or_the_cgroups() {
    let engine = Engine::with_busybox();
    fs::create_dir(engine.folder().join("etc")).unwrap();
    assert_eq!(
        sh(&engine, &["-h", "web", "-v", "./etc:/etc"], "cat /etc/hostname; ls /etc"),
        "web\nhostname\nhosts\nresolv.conf"
    );
    sh(&engine, &["-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro"], "ls /sys/fs/cgroup/*");
}

#[test]
fn networks() {
    let engine = Engine::with_busybox();
    assert_eq!(
        sh(&engine, &["--network", "none"], "ls /sys/class/net; cat /sys/class/net/lo/operstate"),
        "lo\nunknown"
    );
    // The engine's host, for this test, is the test's own network.
    let host = fs::read_link("/proc/thread-self/ns/net").unwrap().display().to_string();
    assert_eq!(sh(&engine, &["--network", "host"], "readlink /proc/self/ns/net"), host);
    assert_ne!(sh(&engine, &[], "readlink /proc/self/ns/net"), host);
}

#[test]
fn no_descriptor_of_the_hosts_is_left_in_the_container() {
    let engine = Engine::with_busybox();
    for options in [&[][..], &["--init"]] {
        let seen =
            sh(&engine, options, "ls -l /proc/self/fd /proc/1/fd | grep -v pipe: | grep -o ' [0-9]* -> .*'");
        for line in seen.lines() {
            // Process 1 under --init holds a descriptor of its child: not the host's.
            let harmless = line.contains("[pidfd]")
                || line.contains("/dev/null")
                || line.contains("/proc/") && line.starts_with(" 3 ");
            assert!(harmless, "{seen}");
        }
    }
}

#[test]
fn a_callers_descriptors_do_not_reach_the_shim() {
    use rustix::fs::{FlockOperation, flock};
    let engine = Engine::with_busybox();
    let lock = engine.folder().join("lock");
    // A script that holds a lock on its descriptor 9, and starts a container.
    let line = format!(
        "exec 9>{}; {} run -d --name box busybox sleep 100",
        lock.display(),
        Engine::program().display()
    );
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", &line])
        .env("MINI_DOCKER_DATA_ROOT", engine.data())
        .env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    testbed::stdout(&mut command);
    let status = engine.inspect("box", "{{.State.Pid}}");
    let parent = fs::read_to_string(format!("/proc/{status}/status")).unwrap();
    let shim = parent.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    // Some are closed while this looks.
    let open: Vec<_> = fs::read_dir(format!("/proc/{shim}/fd"))
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .collect();
    assert!(!open.contains(&lock), "{open:?}");
    flock(fs::File::open(&lock).unwrap(), FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn explain_tells_every_step_with_its_chapter() {
    let engine = Engine::with_busybox();
    let output = engine.run(&["run", "--rm", "--explain", "busybox", "true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    for step in [
        "02-pid-namespace",
        "03-cgroups",
        "04-overlay-layers",
        "01-chroot",
        "pivot_root",
        "execve: become true",
    ] {
        assert!(said.contains(step), "{step} in {said}");
    }
    assert!(
        said.lines().all(|line| line.trim_start().split(' ').next().unwrap().parse::<f64>().is_ok()),
        "{said}"
    );
}

#[test]
fn output_that_may_not_wait_is_whole() {
    let engine = Engine::with_busybox();
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = engine.command(&["run", "--rm", "busybox", "head", "-c", "300000", "/dev/zero"]);
    let mut child = command.stdout(writer).spawn().unwrap();
    drop(command);
    // More than fits the pipe.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut text).unwrap();
    assert_eq!((text.len(), child.wait().unwrap().code()), (300_000, Some(0)));
}

#[test]
fn processors_that_the_host_does_not_have() {
    let engine = Engine::with_busybox();
    for (option, value, said) in [
        ("--cpus", "1000", "range of CPUs is from 0.01 to "),
        ("--cpuset-cpus", "999", "Requested CPUs are not available - requested 999, available: "),
    ] {
        let output = engine.run(&["run", "--rm", option, value, "busybox", "true"]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said) && error.lines().count() == 1, "{error}");
    }
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
}

/// A container's first process is told which processor to begin on. It may go on wherever its caller may.
#[test]
fn processors_are_those_of_the_caller() {
    let engine = Engine::with_busybox();
    let show = "grep Cpus_allowed_list: /proc/self/status";
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    let run = engine.command(&["run", "--rm", "busybox", "sh", "-c", show]);
    let processors = std::thread::available_parallelism().unwrap().get();
    // Of three it can be sent from one to another.
    let some = if processors > 2 { format!("0-{}", processors - 2) } else { "0".to_owned() };
    for _ in 0..5 {
        assert_eq!(sh(&engine, &[], show), ours);
        assert_eq!(sh(&engine, &["--cpuset-cpus", "0"], show), "Cpus_allowed_list:\t0");
        let mut limited = Command::new("taskset");
        limited.args(["-c", &some]).arg(run.get_program()).args(run.get_args());
        limited.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Who is born into a cgroup has, before Linux 6.2, all that its cpuset has.
        let allowed = stdout(&mut limited);
        assert!(
            [format!("Cpus_allowed_list:\t{some}\n"), format!("{ours}\n")].contains(&allowed),
            "{allowed}"
        );
    }
}
