//! A container's life, command by command.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bench, PROGRAM, complaint};
use serde_json::{Value, json};

#[test]
fn create_start_kill_delete() {
    let bench = Bench::sh("echo begins; sleep 100");
    let output = bench.create(&["--pid-file", "pid"]);
    assert_eq!(bench.status(), "created");
    assert_eq!(fs::read_to_string(&output).unwrap(), "", "it waits");
    let state: Value = serde_json::from_str(&bench.ok(&["state", "c"])).unwrap();
    let pid = fs::read_to_string(bench.bundle().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(state["bundle"], json!(bench.bundle()));
    let taken = bench.run(&["create", "c"]);
    assert_eq!(complaint(&taken), "Error: container c already exists");

    bench.ok(&["start", "c"]);
    assert_eq!(bench.status(), "running");
    testbed::until("its output", || fs::read_to_string(&output).unwrap() == "begins\n");
    assert_eq!(complaint(&bench.run(&["start", "c"])), "Error: cannot start container c: it is running");
    assert_eq!(complaint(&bench.run(&["delete", "c"])), "Error: cannot delete container c: it is running");
    let list: Value = serde_json::from_str(&bench.ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(list[0]["status"], "running");

    bench.ok(&["kill", "c", "KILL"]);
    bench.until("stopped");
    assert_eq!(complaint(&bench.run(&["kill", "c", "9"])), "Error: cannot kill container c: it is stopped");
    bench.ok(&["delete", "c"]);
    assert_eq!(complaint(&bench.run(&["state", "c"])), "Error: container c does not exist");
    assert_eq!(bench.ok(&["list", "-q"]), "");
    assert!(!fs::exists(format!("/sys/fs/cgroup/pids{}", bench.cgroup())).unwrap());
}

#[test]
fn run_passes_on_output_input_and_exit_code() {
    let bench = Bench::sh("read line; echo heard $line; echo error >&2; exit 9");
    let mut child = bench
        .command(&["run", "c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"this\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "heard this\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error\n");
    assert_eq!(bench.ok(&["list", "-q"]), "", "it is removed");

    let bench = Bench::sh("exit 3");
    let kept = bench.run(&["run", "--keep", "c"]);
    assert_eq!(kept.status.code(), Some(3));
    assert_eq!(bench.status(), "stopped");

    let bench = Bench::sh("sleep 100");
    let status =
        bench.command(&["run", "--detach", "c"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    assert_eq!(bench.status(), "running");
}

#[test]
fn more_processes() {
    let bench = Bench::sh("sleep 100");
    bench.create(&[]);
    bench.ok(&["start", "c"]);
    let look = "echo $$ > /dev/null; id -u; id -g; pwd; echo $A; readlink /proc/self/ns/pid; grep CapEff /proc/self/status";
    let options = [
        "exec",
        "--cwd",
        "/etc",
        "--env",
        "A=b",
        "--user",
        "5:6",
        "--cap",
        "CAP_CHOWN",
        "c",
        "sh",
        "-c",
        look,
    ];
    let said = bench.ok(&options);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], ["5", "6", "/etc", "b"]);
    let state: Value = serde_json::from_str(&bench.ok(&["state", "c"])).unwrap();
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", state["pid"])).unwrap();
    assert_eq!(lines[4], namespace.to_string_lossy());
    assert_eq!(bench.run(&["exec", "c", "sh", "-c", "exit 4"]).status.code(), Some(4));
    assert_eq!(bench.run(&["exec", "c", "nosuch"]).status.code(), Some(127));

    let process = json!({"args": ["sh", "-c", "umask; id -G; exit 5"], "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 1, "gid": 2, "umask": 0o70, "additionalGids": [3]}});
    fs::write(bench.bundle().join("process.json"), process.to_string()).unwrap();
    let output = bench.run(&["exec", "--process", "process.json", "c"]);
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0070\n2 3\n");

    let status = bench
        .command(&["exec", "--detach", "--pid-file", "second", "c", "sleep", "200"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let second: i64 = fs::read_to_string(bench.bundle().join("second")).unwrap().parse().unwrap();
    let pids: Value = serde_json::from_str(&bench.ok(&["ps", "--format", "json", "c"])).unwrap();
    assert!(pids.as_array().unwrap().contains(&json!(second)), "{pids}");
    bench.ok(&["kill", "--all", "c", "KILL"]);
    bench.until("stopped");
}

#[test]
fn a_terminal_goes_through_the_socket() {
    let mut bench = Bench::sh("test -t 0 && tty && stat -c '%F' /dev/console");
    bench.set("/process/terminal", json!(true));
    bench.set("/process/consoleSize", json!({"height": 30, "width": 90}));
    assert!(complaint(&bench.run(&["create", "c"])).contains("--console-socket"));
    let path = bench.bundle().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_string_lossy().into_owned();
    let creating = std::thread::spawn(move || listener.accept().unwrap().0);
    bench.create(&["--console-socket", &socket]);
    let master = runtime::console::receive(&creating.join().unwrap()).unwrap().unwrap();
    let size = rustix::termios::tcgetwinsize(&master).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (30, 90));
    bench.ok(&["start", "c"]);
    let mut shown = Vec::new();
    // EIO ends it: nobody holds the other side any more.
    let end = fs::File::from(master).read_to_end(&mut shown);
    assert!(end.is_err());
    assert_eq!(String::from_utf8_lossy(&shown), "/dev/pts/0\r\ncharacter special file\r\n");
}

#[test]
fn pause_resume_update_events() {
    let bench = Bench::sh("sleep 100");
    bench.create(&[]);
    bench.ok(&["start", "c"]);
    bench.ok(&["pause", "c"]);
    assert_eq!(bench.status(), "paused");
    let refused = complaint(&bench.run(&["exec", "c", "true"]));
    assert_eq!(refused, "Error: cannot run a process in container c: it is paused");
    bench.ok(&["resume", "c"]);
    assert_eq!(bench.status(), "running");

    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let read = |file: &str| {
        let tree = if unified { "" } else { file.split_once('.').unwrap().0 };
        fs::read_to_string(format!("/sys/fs/cgroup/{tree}{}/{file}", bench.cgroup()))
            .unwrap()
            .trim()
            .to_owned()
    };
    let memory = if unified { "memory.max" } else { "memory.limit_in_bytes" };
    bench.ok(&["update", "--pids-limit", "77", "--memory", "67108864", "c"]);
    assert_eq!((read("pids.max").as_str(), read(memory).as_str()), ("77", "67108864"));
    let mut update =
        bench.command(&["update", "--resources", "-", "c"]).stdin(Stdio::piped()).spawn().unwrap();
    update.stdin.take().unwrap().write_all(br#"{"pids": {"limit": 78}, "memory": {"limit": -1}}"#).unwrap();
    assert!(update.wait().unwrap().success());
    assert_eq!(read("pids.max"), "78");
    let stats: Value = serde_json::from_str(&bench.ok(&["events", "--stats", "c"])).unwrap();
    assert_eq!(stats["data"]["pids"], json!({"current": 1, "limit": 78}));
    bench.ok(&["pause", "c"]);
    bench.ok(&["delete", "--force", "c"]);
}

#[test]
fn hooks_at_each_point() {
    let mut bench = Bench::sh("echo program >> /log");
    bench.set("/root/readonly", json!(false));
    let log = bench.root.join("log");
    for (point, place) in [
        ("prestart", log.display().to_string()),
        ("createRuntime", log.display().to_string()),
        ("createContainer", log.display().to_string()),
        ("startContainer", "/log".to_owned()),
        ("poststart", log.display().to_string()),
        ("poststop", log.display().to_string()),
    ] {
        // A hook is told the state. From the container's own `sh` where it runs inside.
        let line = format!(
            "read state; status=${{state#*status\\\":\\\"}}; echo {point} ${{status%%\\\"*}} $POINT >> {place}"
        );
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": [format!("POINT={point}")], "timeout": 5});
        bench.set(&format!("/hooks/{point}"), json!([hook]));
    }
    bench.create(&[]);
    let expected = "prestart creating prestart\ncreateRuntime creating createRuntime\ncreateContainer creating createContainer\n";
    assert_eq!(fs::read_to_string(&log).unwrap(), expected);
    bench.ok(&["start", "c"]);
    bench.until("stopped");
    bench.ok(&["delete", "c"]);
    let text = fs::read_to_string(&log).unwrap();
    for line in [
        "startContainer creating startContainer",
        "poststart running poststart",
        "program",
        "poststop stopped poststop",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }

    for (point, fails) in [
        ("prestart", true),
        ("createRuntime", true),
        ("createContainer", true),
        ("poststart", false),
        ("poststop", false),
    ] {
        let mut bench = Bench::new();
        bench.set(&format!("/hooks/{point}"), json!([{"path": "/bin/false"}]));
        let output = bench.run(&["run", "c"]);
        assert_eq!(!output.status.success(), fails, "{point}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).contains("/bin/false failed"), "{point}");
        assert_eq!(bench.ok(&["list", "-q"]), "");
    }
    let mut bench = Bench::new();
    bench.set("/hooks/createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}]));
    assert!(complaint(&bench.run(&["run", "c"])).contains("did not end within 1 s"));

    // More than fits a pipe is no reason to wait, nor is one who goes on with it.
    let line = "head -c 200000 /dev/zero >&2; echo talkative >&2; sleep 30 & echo $! > $SLEEPER; exit $CODE";
    for (code, fails) in [("0", false), ("3", true)] {
        let mut bench = Bench::new();
        let sleeper = bench.bundle().join("sleeper");
        let env = [format!("CODE={code}"), format!("SLEEPER={}", sleeper.display())];
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": env, "timeout": 20});
        bench.set("/hooks/createRuntime", json!([hook]));
        let begin = std::time::Instant::now();
        let output = bench.run(&["run", "c"]);
        assert_eq!(!output.status.success(), fails, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(begin.elapsed() < std::time::Duration::from_secs(20));
        let sleeper = fs::read_to_string(sleeper).unwrap();
        testbed::stdout(std::process::Command::new("kill").arg(sleeper.trim()));
    }

    // Whoever kills the child while its parent prepares the start does not kill the parent, which has yet to write to it.
    let mut bench = Bench::new();
    let line = "kill -9 $(grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*'); sleep 0.2";
    bench.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]));
    let output = bench.run(&["run", "c"]);
    assert_eq!(output.status.code(), Some(137), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(bench.ok(&["list", "-q"]), "");
}

/// A command whose output nobody reads ends without a word, be it a pipe's or a socket's.
#[test]
fn output_that_nobody_reads() {
    let pipe = std::io::pipe().unwrap();
    let socket = UnixStream::pair().unwrap();
    drop((pipe.0, socket.0));
    for output in [Stdio::from(pipe.1), OwnedFd::from(socket.1).into()] {
        let output = Command::new(PROGRAM).arg("features").stdout(output).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn descriptors_are_handed_over_and_no_others() {
    let mut bench = Bench::sh("cat <&3; cd /proc/self/fd; echo *");
    bench.root.write("here", "");
    let text = fs::File::create_new(bench.bundle().join("three")).map(|mut file| file.write_all(b"three\n"));
    text.unwrap().unwrap();
    let file = fs::File::open(bench.bundle().join("three")).unwrap();
    let number = file.as_raw_fd();
    let with = |bench: &Bench, arguments: &[&str]| {
        let mut command = bench.command(arguments);
        // SAFETY: fcntl and dup2 are safe to call between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // From far away, since a descriptor that is put where it is would still be closed by execve.
                let far = libc::fcntl(number, libc::F_DUPFD, 50);
                for place in [3, 9] {
                    if libc::dup2(far, place) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            })
        };
        testbed::output(&mut command)
    };
    // The last one is the directory that the shell reads.
    let output = with(&bench, &["run", "--preserve-fds", "1", "c"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "three\n0 1 2 3 4\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    bench.set("/process/args", json!(["sh", "-c", "cd /proc/self/fd; echo *"]));
    assert_eq!(String::from_utf8_lossy(&with(&bench, &["run", "c"]).stdout), "0 1 2 3\n");
}

#[test]
fn the_binary_cannot_be_written_from_inside() {
    let line =
        "cat /proc/1/exe > /dev/null && (echo x > /proc/1/exe) 2>&1; (echo x > /proc/self/exe) 2>&1; true";
    let mut bench = Bench::sh(line);
    bench.set("/process/args", json!(["/proc/self/exe", "--version"]));
    // Whether it becomes this program or fails: the file is as it was.
    let before = fs::metadata(PROGRAM).unwrap().len();
    bench.run(&["run", "c"]);
    assert_eq!(fs::metadata(PROGRAM).unwrap().len(), before);
    assert!(Command::new(PROGRAM).arg("--version").status().unwrap().success());
}

#[test]
fn what_a_kill_leaves_is_removed_by_force() {
    for delay in [2_u64, 5, 8, 12, 20] {
        let bench = Bench::sh("sleep 100");
        let mut child =
            bench.command(&["create", "c"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        bench.ok(&["delete", "--force", "c"]);
        assert_eq!(bench.ok(&["list", "-q"]), "", "after {delay} ms");
        assert!(!fs::exists(format!("/sys/fs/cgroup/pids{}", bench.cgroup())).unwrap(), "after {delay} ms");
    }
}

#[test]
fn who_waited_for_a_container_that_is_gone_hears_so() {
    let bench = Bench::new();
    bench.create(&[]);
    let folder = bench.bundle().join("state/c");
    let lock = fs::File::open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = bench.command(&["state", "c"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let held = format!("/proc/{}/fd", waiting.id());
    testbed::until("it waits for the lock", || {
        let mut open = fs::read_dir(&held).into_iter().flatten().flatten();
        open.any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == folder.join("lock")))
    });
    // As another's delete, and then another's create, would leave it.
    let aside = bench.bundle().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::create_dir(&folder).unwrap();
    drop(lock);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(complaint(&output), "Error: container c does not exist");
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
}

#[test]
fn a_bundle_of_umoci() {
    let (bench, directory) = (Bench::new(), tempfile::tempdir().unwrap());
    let umoci =
        |arguments: &[&str]| testbed::stdout(Command::new("umoci").args(arguments).current_dir(&directory));
    umoci(&["init", "--layout", "oci"]);
    umoci(&["new", "--image", "oci:x"]);
    umoci(&["unpack", "--image", "oci:x", "bundle"]);
    testbed::stdout(
        Command::new("cp").arg("-a").arg(bench.root.join(".")).arg(directory.path().join("bundle/rootfs")),
    );
    let path = directory.path().join("bundle/config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    common::set(&mut config, "/process/args", json!(["sh", "-c", "echo hello from $(hostname)"]));
    common::set(&mut config, "/process/terminal", json!(false));
    common::set(&mut config, "/process/rlimits", json!([]));
    fs::write(&path, config.to_string()).unwrap();
    let said = bench.ok(&["run", "--bundle", &directory.path().join("bundle").display().to_string(), "c"]);
    assert!(said.starts_with("hello from "), "{said}");
}

#[test]
fn a_mount_under_other_owners() {
    let mut bench = Bench::sh("stat -c '%u %g' /x/file; touch /x/new");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let maps = json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
    let mount = json!({"destination": "/x", "type": "bind", "source": directory.path(), "options": ["rbind", "idmap"],
        "uidMappings": maps, "gidMappings": maps});
    bench.set("/mounts/-", mount);
    bench.set("/root/readonly", json!(false));
    let output = bench.run(&["run", "c"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "5000 5000\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // A container with a user namespace sees its own files in a directory of the host's.
    let mut bench = Bench::sh("stat -c '%u %g' /x/file; touch /x/new; stat -c '%u' /x/new");
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bench.set("/linux/namespaces/-", json!({"type": "user"}));
    bench.set("/linux/uidMappings", maps.clone());
    bench.set("/linux/gidMappings", maps);
    fs::create_dir(bench.root.join("x")).unwrap();
    let mount = json!({"destination": "/x", "type": "bind", "source": directory.path(), "options": ["bind", "idmap"]});
    bench.set("/mounts/-", mount);
    assert_eq!(bench.ok(&["run", "c"]), "0 0\n0\n");
    assert_eq!(
        fs::metadata(directory.path().join("new"))
            .map(|new| std::os::unix::fs::MetadataExt::uid(&new))
            .unwrap(),
        0
    );
}

#[test]
fn beyond_what_runc_of_debian_can_do() {
    let line = "cat /proc/sys/kernel/domainname /proc/self/timens_offsets; uname -m; \
                awk '$5 == \"/\" { print $7 ~ /shared/ ? \"shared\" : \"private\" }' /proc/self/mountinfo; \
                awk '{ print $41 }' /proc/self/stat; grep Cpus_allowed_list /proc/self/status";
    let mut bench = Bench::sh(line);
    bench.set("/ociVersion", json!("1.2.0"));
    bench.set("/domainname", json!("example"));
    bench.set("/linux/namespaces/-", json!({"type": "time"}));
    bench.set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 100}, "boottime": {"secs": -1, "nanosecs": 5}}),
    );
    bench.set("/linux/rootfsPropagation", json!("shared"));
    bench.set("/linux/personality", json!({"domain": "LINUX32"}));
    bench.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
    bench.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    bench.set("/process/execCPUAffinity", json!({"final": "0"}));
    let said = bench.ok(&["run", "c"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "example",
            "monotonic",
            "100",
            "0",
            "boottime",
            "-1",
            "5",
            "i686",
            "shared",
            "3",
            "Cpus_allowed_list:",
            "0"
        ]
    );
}

/// CVE-2019-5736: `run` tries without the read-only mount first, and makes the start again if this very binary turns out
/// to be the program.
#[test]
fn a_program_that_is_the_runtime() {
    let mut bench = Bench::new();
    let again = json!(["/proc/self/exe", "--root", "/tmp", "run", "--bundle", "/bin", "x"]);
    bench.set("/process/args", again);
    // It waits for its config.
    let fifo = bench.root.join("bin/config.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = ["run", "--detach", "--pid-file", "pid", "c"];
    let status = bench.command(&run).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    let exe = format!("/proc/{}/exe", fs::read_to_string(bench.bundle().join("pid")).unwrap());
    let identity = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).unwrap();
    assert_eq!(identity(&exe), identity(PROGRAM));
    assert!(rustix::fs::statvfs(&exe).unwrap().f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    assert_eq!(bench.status(), "running");
}
