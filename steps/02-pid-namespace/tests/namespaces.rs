//! Runs the step's program and compares what a process sees inside with what the kernel says outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pid_namespace::namespaces;
use testbed::rootfs::Rootfs;
use testbed::{output, stdout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pid-namespace");

fn program(root: &Rootfs, options: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options).arg(root.path());
    command
}

fn sh(root: &Rootfs, options: &[&str], line: &str) -> String {
    stdout(program(root, options).args(["/bin/sh", "-c", line]))
}

/// A command started in the background, with its first process's id on the host; killed when dropped.
struct Background {
    program: Child,
    first: i32,
}

impl Background {
    /// Starts `line` and waits until it has printed `ready`.
    fn start(root: &Rootfs, options: &[&str], line: &str) -> Self {
        use std::io::BufRead;
        let mut program = program(root, options)
            .args(["/bin/sh", "-c", line])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the step's program");
        let mut said = String::new();
        let out = program.stdout.take().expect("it was asked for");
        std::io::BufReader::new(out).read_line(&mut said).expect("a line");
        assert_eq!(said, "ready\n");
        let children = format!("/proc/{0}/task/{0}/children", program.id());
        let first = std::fs::read_to_string(children).expect("it runs").trim().parse().expect("one child");
        Self { program, first }
    }

    /// The states (`S`, `Z`, …) of the first process's children.
    fn children(&self) -> Vec<char> {
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.first)).expect("it runs");
        let status = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
        children
            .split_whitespace()
            // One that is reaped between the two reads is no longer a child.
            .filter_map(|pid| status(pid)?.split_once("State:\t")?.1.chars().next())
            .collect()
    }

    /// Waits, for at most ten seconds, until the first process's children are in these states.
    fn until_children_are(&self, states: &[char]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.children() != states {
            assert!(Instant::now() < deadline, "the children are {:?}, not {states:?}", self.children());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The first process's end is the end of its namespace.
        let first = nix::unistd::Pid::from_raw(self.first);
        match nix::sys::signal::kill(first, nix::sys::signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => panic!("cannot end {first}: {errno}"),
        }
        self.program.wait().expect("our own child");
    }
}

#[test]
fn the_first_process_is_number_one_and_sees_only_its_own() {
    let root = Rootfs::busybox();
    assert_eq!(sh(&root, &[], "echo $$"), "1\n");
    let listed = sh(&root, &[], "ps -o pid,comm");
    assert_eq!(listed, "PID   COMMAND\n    1 ps\n");
}

#[test]
fn five_namespaces_are_new_and_three_are_the_hosts() {
    let root = Rootfs::busybox();
    let line = "for kind in cgroup ipc mnt net pid time user uts; do echo $kind $(stat -L -c %i /proc/self/ns/$kind); done";
    let inside: BTreeMap<String, u64> = sh(&root, &[], line)
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(kind, inode)| (kind.to_owned(), inode.parse().unwrap()))
        .collect();
    let shared: Vec<_> = namespaces::inodes(Path::new("/proc/self"))
        .unwrap()
        .into_iter()
        .filter(|(kind, inode)| inside[*kind] == *inode)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(shared, ["net", "time", "user"]);
}

#[test]
fn the_hostname_changes_inside_only() {
    let root = Rootfs::busybox();
    let before = stdout(&mut Command::new("hostname"));
    assert_eq!(sh(&root, &["--hostname", "web"], "hostname; hostname other; hostname"), "web\nother\n");
    assert_eq!(stdout(&mut Command::new("hostname")), before);
}

#[test]
fn one_process_has_two_ids() {
    let root = Rootfs::busybox();
    let running = Background::start(&root, &[], "echo ready; sleep 100");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.first)).unwrap();
    let ids = namespaces::pids(&status);
    // The suite may itself run in a pid namespace; what counts is the last two.
    assert_eq!(ids[ids.len() - 2..], [running.first, 1]);
}

#[test]
fn what_ends_with_number_one() {
    let root = Rootfs::busybox();
    let running = Background::start(&root, &[], "sleep 1000 & echo ready; wait");
    let children = format!("/proc/{0}/task/{0}/children", running.first);
    let orphan: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    drop(running);
    assert!(!Path::new(&format!("/proc/{orphan}")).exists(), "the kernel kills the rest of the namespace");
}

#[test]
fn without_init_orphans_stay_zombies_and_with_init_they_do_not() {
    let root = Rootfs::busybox();
    // The subshell ends at once, and its child becomes a child of process 1.
    let line = "(sleep 0.1 &); echo ready; exec sleep 100";
    Background::start(&root, &[], line).until_children_are(&['Z']);
    Background::start(&root, &["--init"], line).until_children_are(&['S']);
}

#[test]
fn a_signal_without_a_handler_is_lost_on_number_one_but_init_passes_it_on() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let root = Rootfs::busybox();

    let mut with_init = Background::start(&root, &["--init"], "echo ready; exec sleep 100");
    kill(Pid::from_raw(with_init.first), Signal::SIGTERM).unwrap();
    assert_eq!(with_init.program.wait().unwrap().code(), Some(143));

    let plain = Background::start(&root, &[], "echo ready; exec sleep 100");
    kill(Pid::from_raw(plain.first), Signal::SIGTERM).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", plain.first)).unwrap();
    let pending = status.lines().find(|line| line.starts_with("ShdPnd:")).unwrap();
    assert!(pending.ends_with("0000000000000000"), "the kernel dropped the signal: {pending}");
    assert!(!status.contains("State:\tZ"), "and it goes on");
}

#[test]
fn joining_shows_the_same_processes_and_hostname() {
    let root = Rootfs::busybox();
    let running =
        Background::start(&root, &["--hostname", "first"], "touch /mark; echo ready; exec sleep 100");
    let pid = running.first.to_string();
    // It is ready a moment before it becomes `sleep`.
    let wait =
        "tries=0; until grep -q sleep /proc/1/comm || test $((tries += 1)) = 1000; do usleep 1000; done";
    let line = format!("{wait}; hostname; ls /mark; ps -o pid,comm | grep ' sleep'");
    let seen = sh(&root, &["--join", &pid], &line);
    assert_eq!(seen, "first\n/mark\n    1 sleep\n");
}

#[test]
fn clocks_can_be_ahead() {
    let root = Rootfs::busybox();
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let outside = uptime(&std::fs::read_to_string("/proc/uptime").unwrap());
    let inside = uptime(&sh(&root, &["--uptime", "864000"], "cat /proc/uptime"));
    assert!((outside + 864_000..outside + 864_100).contains(&inside), "{outside} {inside}");
}

#[test]
fn the_exit_code_and_the_signal_come_back() {
    let root = Rootfs::busybox();
    let code = |options: &[&str], line: &str| {
        output(program(&root, options).args(["/bin/sh", "-c", line])).status.code().unwrap()
    };
    for options in [&[][..], &["--init"][..]] {
        assert_eq!(code(options, "exit 42"), 42);
        assert_eq!(code(options, "exec nothing"), 127);
    }
    assert_eq!(code(&["--init"], "kill -9 $$"), 137);
}

#[test]
fn a_process_that_is_not_there_cannot_be_joined() {
    let root = Rootfs::busybox();
    let refused = output(program(&root, &["--join", "4194304"]).arg("/bin/true"));
    assert_eq!(refused.status.code(), Some(125));
    insta::assert_snapshot!(String::from_utf8_lossy(&refused.stderr),
        @"pid-namespace: cannot open process 4194304: ESRCH: No such process");
}
