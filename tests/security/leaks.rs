//! What a container could inherit from the process that starts it: descriptors, working directory, environment, keys.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use testbed::engine::Engine;
use testbed::rootfs::Rootfs;
use testbed::{output, until};

use crate::{import, probe};

/// Runs the engine as a caller does that has the host's root open on descriptors 3 to 20, and stands there.
fn from_the_hosts_root(engine: &Engine, arguments: &[&str]) -> String {
    let open: String = (3..=20).map(|number| format!("exec {number}</\n")).collect();
    let mut run = Command::new("bash");
    run.args(["-c", &format!("{open} cd /; exec \"$0\" \"$@\"")])
        .arg(Engine::program())
        .args(arguments)
        .env("MINI_DOCKER_DATA_ROOT", engine.data())
        .env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    let output = output(&mut run);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// CVE-2024-21626: a descriptor of a host directory that stays open is a door out.
#[test]
fn nothing_is_open_but_the_streams() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    for options in [&[][..], &["-i"], &["--init"], &["--pid", "container:other"], &["--pid", "host"]] {
        // Among the host's processes, 1 is another.
        let first = if options.contains(&"host") { "" } else { "/proc/1/fd/" };
        let line = format!("ls -l /proc/$$/fd/ {first}; true");
        let arguments = [&["run", "--rm"], options, &["busybox", "sh", "-c", &line]].concat();
        let seen = from_the_hosts_root(&engine, &arguments);
        let open: Vec<_> = seen.lines().filter_map(|line| line.split_once(" -> ")).collect();
        assert!(open.len() >= 3, "{options:?}: {seen}");
        for (descriptor, target) in open {
            let number = descriptor.rsplit(' ').next().unwrap();
            let is_stream = target.starts_with("pipe:") || target == "/dev/null";
            assert!(["0", "1", "2"].contains(&number) && is_stream, "{options:?}: {seen}");
        }
    }
}

/// CVE-2024-21626: a working directory of `/proc/self/fd/7` is whatever the engine has open there.
#[test]
fn a_working_directory_that_is_a_descriptor() {
    let engine = Engine::with_busybox();
    fs::write(engine.folder().join("of-the-host"), "").unwrap();
    // Up from wherever it is, and down to a file of the host's.
    let secret = engine.folder().join("of-the-host");
    let line = format!("ls ../../../../..{} && echo escaped", secret.display());
    let others = ["/proc/self/cwd", "/proc/self/root", "/proc/1/cwd", "/proc/1/root/.."].map(str::to_owned);
    for directory in (3..=20).map(|number| format!("/proc/self/fd/{number}")).chain(others) {
        let seen =
            from_the_hosts_root(&engine, &["run", "--rm", "-w", &directory, "busybox", "sh", "-c", &line]);
        assert!(!seen.contains("escaped") && !seen.is_empty(), "{directory}: {seen}");
    }
    // As the image says it.
    let archive = engine.folder().join("busybox.tar").display().to_string();
    for number in [3, 7, 8, 9] {
        let change = format!("WORKDIR /proc/self/fd/{number}");
        engine.ok(&["import", "--change", &change, &archive, "evil"]);
        let seen = from_the_hosts_root(&engine, &["run", "--rm", "evil", "sh", "-c", &line]);
        assert!(!seen.contains("escaped") && !seen.is_empty(), "{change}: {seen}");
    }
}

/// A script that waits for the end of a pipe, or for a lock, must not wait for the container's end.
#[test]
fn a_callers_pipe_is_closed_while_the_container_runs() {
    let engine = Engine::with_busybox();
    for options in [&[][..], &["--init"]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let name = if options.is_empty() { "plain" } else { "init" };
        let line = format!("exec 9>&{}; exec \"$0\" \"$@\" > /dev/null", 3);
        let mut run = Command::new("bash");
        run.args(["-c", &line])
            .arg(Engine::program())
            .args(["run", "-d", "--name", name])
            .args(options)
            .args(["busybox", "sleep", "1000"])
            .env("MINI_DOCKER_DATA_ROOT", engine.data())
            .env("MINI_DOCKER_EXEC_ROOT", engine.exec());
        inherit(&mut run, &writer);
        testbed::stdout(&mut run);
        drop(writer);
        // Whoever still holds the other end keeps this one from ending.
        let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&reader), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(Duration::from_secs(5)).unwrap();
        assert_eq!(poll(&mut fds, timeout), Ok(1), "{options:?}: the pipe is still open");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert_eq!(engine.inspect(name, "{{.State.Running}}"), "true");
    }
}

/// Lets the child have `writer` as its descriptor 3.
fn inherit(command: &mut Command, writer: &std::io::PipeWriter) {
    use std::os::unix::process::CommandExt;
    let writer = writer.as_raw_fd();
    // SAFETY: dup2 may be called between fork and execve, and 3 belongs to nobody in the child.
    unsafe {
        command.pre_exec(move || {
            nix::errno::Errno::result(nix::libc::dup2(writer, 3)).map(drop).map_err(Into::into)
        })
    };
}

/// The environment and the arguments of the command that starts a container, with whatever secrets they hold, are in
/// its first process until the program starts; who shares the pid namespace (CVE-2016-9962) must not come to them,
/// nor to the host's root, which is that process's at first.
#[test]
fn a_neighbour_sees_nothing_of_the_start() {
    let secret = "hidden-from-containers";
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    fs::copy(probe(), root.join("bin/probe")).unwrap();
    import(&engine, "probe", &root);
    fs::create_dir(engine.folder().join("seen")).unwrap();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "spy",
        "-v",
        "./seen:/seen",
        "probe",
        "probe",
        "watch",
        secret,
        "/seen/it",
    ]);
    let seen = engine.folder().join("seen/it");
    until("the spy watches", || seen.exists());
    // The command stands in a folder that has a file by that name.
    fs::write(engine.folder().join(secret), "").unwrap();
    for round in 0..20 {
        let init: &[&str] = if round % 2 == 0 { &["--init"] } else { &[] };
        let options = ["run", "--rm", "--pid", "container:spy", "--label", secret];
        let mut run = engine.command(&[&options[..], init, &["busybox", "true"]].concat());
        assert!(run.env("HOST_SECRET", secret).status().unwrap().success());
    }
    assert_eq!(engine.inspect("spy", "{{.State.Running}}"), "true");
    assert_eq!(fs::read_to_string(seen).unwrap(), "");
}

/// Everybody on the host can read the arguments of every process, and a shim is there as long as its container: the
/// passwords that were given with `-e` must not be.
#[test]
fn a_shim_shows_no_arguments_of_the_command() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "-e", "PASSWORD=hidden", "busybox", "sleep", "1000"]);
    let first = engine.inspect("box", "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    let shown = fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
    assert!(shown.starts_with("md-shim") && !shown.contains("hidden"), "{shown}");
}

/// Who sees process 1 sees the program's own arguments and environment, and nothing of the engine's.
#[test]
fn process_1_knows_only_what_it_was_given() {
    let engine = Engine::with_busybox();
    let line = "tr '\\0' '\\n' < /proc/1/environ | sort; tr '\\0' ' ' < /proc/1/cmdline; true";
    let mut run = engine.command(&["run", "--rm", "-h", "box", "-e", "MINE=1", "busybox", "sh", "-c", line]);
    let seen = testbed::stdout(run.env("HOST_SECRET", "hidden"));
    let arguments = seen.lines().skip(4).collect::<Vec<_>>().join("\n");
    assert_eq!(
        seen.lines().take(4).collect::<Vec<_>>(),
        ["HOME=/root", "HOSTNAME=box", "MINE=1", &format!("PATH={}", chroot::program::DEFAULT_PATH)]
    );
    assert!(arguments.starts_with("sh -c tr ") && !arguments.contains("busybox"), "{arguments}");
}

/// A session keyring is inherited like a descriptor: the keys of whoever starts a container would be its own. The
/// default filter refuses to read them, and is not always there.
#[test]
fn the_callers_keys_stay_outside() {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    fs::copy(probe(), root.join("bin/probe")).unwrap();
    import(&engine, "probe", &root);
    let mut run = engine.command(&[
        "run",
        "--rm",
        "--security-opt",
        "seccomp=unconfined",
        "probe",
        "probe",
        "key",
        "secret",
    ]);
    with_a_key(&mut run);
    assert_eq!(testbed::stdout(&mut run), "ENOKEY\n");
    // It can be seen where it is meant to be.
    let mut outside = Command::new(probe());
    with_a_key(outside.args(["key", "secret"]));
    assert_eq!(testbed::stdout(&mut outside), "of the host\n");
}

/// Gives the child a session keyring with a key called `secret`.
fn with_a_key(command: &mut Command) {
    use nix::libc;
    use std::os::unix::process::CommandExt;
    const JOIN: u64 = 1;
    const SESSION: i64 = -3;
    let make = || {
        let text = "of the host";
        // SAFETY: no memory but constants is passed.
        let (joined, added) = unsafe {
            (
                libc::syscall(libc::SYS_keyctl, JOIN, 0),
                libc::syscall(
                    libc::SYS_add_key,
                    c"user".as_ptr(),
                    c"secret".as_ptr(),
                    text.as_ptr(),
                    text.len(),
                    SESSION,
                ),
            )
        };
        nix::errno::Errno::result(joined).and(nix::errno::Errno::result(added)).map(drop).map_err(Into::into)
    };
    // SAFETY: two system calls and nothing else happen between fork and execve.
    unsafe { command.pre_exec(make) };
}
