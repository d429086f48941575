//! Engines of others that start their containers through this runtime.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::PROGRAM;
use tempfile::TempDir;
use testbed::rootfs::Rootfs;

/// Where this machine's limits are too low for Podman's defaults, and may not be raised.
const ULIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];

fn text(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Removes the cgroups that an engine keeps its containers below, and the runtime's folder, if nothing is left in them.
fn remove_parents(name: &str) {
    for tree in fs::read_dir("/sys/fs/cgroup").expect("control groups are mounted").flatten() {
        remove_empty(&tree.path().join(name));
    }
    remove_empty(Path::new("/run/mini-docker-runtime"));
}

/// Removes a directory and those in it. Others may have something there: that stays.
fn remove_empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_empty(&entry.path());
        }
    }
    drop(fs::remove_dir(directory));
}

/// A Podman with folders of its own, which hold the image `bb`.
struct Podman(TempDir);

impl Podman {
    fn new() -> Self {
        let podman = Self(tempfile::tempdir().expect("a temporary directory"));
        let root = Rootfs::busybox();
        let tar = podman.0.path().join("bb.tar");
        testbed::stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg("."));
        podman.ok(&["import", "--quiet", &tar.display().to_string(), "bb"]);
        podman
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.0.path().join("root")).arg("--runroot").arg(self.0.path().join("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        testbed::output(command.args(["--runtime", PROGRAM]).args(arguments).stdin(Stdio::null()))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        text(&output).1
    }

    /// `podman run` of the image.
    fn container(&self, options: &[&str], command: &[&str]) -> Output {
        let arguments = [&["run", "--network", "none"], &ULIMITS[..], options, &["bb"], command].concat();
        self.run(&arguments)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0"]);
        remove_parents("libpod_parent");
    }
}

#[test]
fn podman() {
    let podman = Podman::new();
    let sh = |options: &[&str], line: &str| {
        text(&podman.container(&[&["--rm"], options].concat(), &["sh", "-c", line]))
    };
    assert_eq!(sh(&[], "echo hello; exit 7"), (Some(7), "hello".to_owned()));
    assert_eq!(podman.container(&["--rm"], &["nosuch"]).status.code(), Some(127));
    assert_eq!(podman.container(&["--rm"], &["/etc/passwd"]).status.code(), Some(126));
    assert_eq!(sh(&["-t"], "test -t 0 && tty"), (Some(0), "/dev/pts/0".to_owned()));
    assert_eq!(sh(&["--user", "5:6"], "id -u; id -g"), (Some(0), "5\n6".to_owned()));
    let confined = ["--cap-drop", "all", "--security-opt", "no-new-privileges"];
    let line = "grep -E '^(CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status | cut -f2";
    assert_eq!(sh(&confined, line), (Some(0), "0000000000000000\n1\n2".to_owned()));
    assert_eq!(sh(&["--read-only", "--tmpfs", "/x"], "touch /x/a && ! touch /b 2>/dev/null").0, Some(0));

    let detached = podman.container(&["--detach", "--name", "d", "--memory", "64m"], &["sleep", "1000"]);
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    let limit = ["exec", "d", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    assert_eq!(podman.ok(&limit), "67108864");
    assert_eq!(text(&podman.run(&["exec", "d", "sh", "-c", "exit 3"])).0, Some(3));
    podman.ok(&["pause", "d"]);
    podman.ok(&["unpause", "d"]);
    podman.ok(&["kill", "d"]);
    assert_eq!(podman.ok(&["wait", "d"]), "137");
    podman.ok(&["rm", "d"]);
    assert_eq!(podman.ok(&["ps", "--all", "--quiet"]), "");
}

/// A containerd with folders of its own, which hold the image `docker.io/library/bb:latest`.
struct Containerd {
    directory: TempDir,
    daemon: Child,
}

const IMAGE: &str = "docker.io/library/bb:latest";

impl Containerd {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n",
            path("root"),
            path("state"),
            path("socket")
        );
        fs::write(path("config.toml"), config).expect("our own directory");
        let daemon = Command::new("containerd")
            .args(["--config", &path("config.toml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd is installed");
        let containerd = Self { directory, daemon };
        testbed::until("containerd listens", || containerd.run(&["version"]).status.success());
        let archive = image(containerd.directory.path());
        containerd.ok(&["image", "import", "--snapshotter", "native", &archive]);
        containerd
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.directory.path().join("socket")).args(arguments);
        testbed::output(command.stdin(Stdio::null()))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        text(&output).1
    }

    fn container(&self, options: &[&str], command: &[&str]) -> Output {
        let runtime = ["--snapshotter", "native", "--runc-binary", PROGRAM];
        self.run(&[&["run"], &runtime[..], options, command].concat())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.run(&["task", "rm", "--force", "c"]);
        self.run(&["container", "rm", "c"]);
        self.daemon.kill().expect("it is ours");
        self.daemon.wait().expect("it is ours");
        remove_parents("default");
    }
}

/// A Docker archive with busybox in it.
fn image(directory: &Path) -> String {
    let run = |program: &str, arguments: &[&str]| {
        testbed::stdout(Command::new(program).args(arguments).current_dir(directory));
    };
    let root = Rootfs::busybox();
    run("umoci", &["init", "--layout", "oci"]);
    run("umoci", &["new", "--image", "oci:latest"]);
    run("umoci", &["unpack", "--image", "oci:latest", "bundle"]);
    run("cp", &["-a", &root.join(".").display().to_string(), "bundle/rootfs"]);
    run("umoci", &["repack", "--image", "oci:latest", "bundle"]);
    run("skopeo", &["copy", "--quiet", "oci:oci:latest", &format!("docker-archive:bb.tar:{IMAGE}")]);
    directory.join("bb.tar").display().to_string()
}

#[test]
fn containerd() {
    let containerd = Containerd::new();
    let output = containerd.container(&["--rm", IMAGE], &["c", "sh", "-c", "echo hi; exit 5"]);
    assert_eq!(text(&output), (Some(5), "hi".to_owned()), "{}", String::from_utf8_lossy(&output.stderr));
    let output = containerd.container(&["--detach", IMAGE], &["c", "sleep", "1000"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = |wanted: &str| containerd.ok(&["task", "ls"]).contains(wanted);
    assert!(status("RUNNING"));
    let more = containerd.run(&["task", "exec", "--exec-id", "e", "c", "sh", "-c", "echo in; exit 4"]);
    assert_eq!(text(&more), (Some(4), "in".to_owned()));
    containerd.ok(&["task", "pause", "c"]);
    assert!(status("PAUSED"));
    containerd.ok(&["task", "resume", "c"]);
    containerd.ok(&["task", "metrics", "c"]);
    containerd.ok(&["task", "kill", "--signal", "SIGKILL", "c"]);
    testbed::until("it has ended", || status("STOPPED"));
    // Its end is this command's exit code.
    containerd.run(&["task", "rm", "c"]);
    assert!(!status("c "));
    containerd.ok(&["container", "rm", "c"]);
}
