//! The engine of an ordinary user, made for each test: the commands, the network and the ports of one who is not root.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use testbed::engine::Engine;
use testbed::network::{self, hear};
use testbed::rootfs::Rootfs;
use testbed::{output, until};

/// The user's id, and the first of the subordinate ones.
const USER: u32 = 4242;
const FIRST: u32 = 300_000;

/// An ordinary user with a home, a folder for sockets, and subordinate ids, whom only this thread's host knows.
struct User {
    folder: TempDir,
}

impl User {
    /// A user with an image `busybox`.
    fn new() -> Self {
        let user = Self::without_image();
        let root = Rootfs::busybox();
        let archive = user.folder.path().join("busybox.tar");
        testbed::stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."));
        user.ok(&["import", "--change", "CMD [\"sh\"]", archive.to_str().expect("a plain path"), "busybox"]);
        user
    }

    fn without_image() -> Self {
        network::own();
        let user = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        fs::set_permissions(user.folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        for name in ["home", "run"] {
            fs::create_dir(user.path(name)).expect("a fresh folder");
            fs::set_permissions(user.path(name), fs::Permissions::from_mode(0o700)).expect("our own folder");
            chown(user.path(name), Some(USER), Some(USER)).expect("root may give it away");
        }
        // A copy that the user may run, wherever the project lies.
        testbed::stdout(Command::new("cp").arg(Engine::program()).arg(user.path("mini-docker")));
        user.bring_accounts();
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets this thread's `/etc` know the user. `/dev/net/tun`, which some hosts keep to root, is everybody's, as it is by
    /// the kernel's own choice.
    fn bring_accounts(&self) {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("root may make a mount namespace");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        let cover = |ours: &Path, theirs: &Path| {
            assert!(theirs.exists(), "{} is needed to be covered", theirs.display());
            mount(Some(ours), theirs, none, MsFlags::MS_BIND, none).expect("a file over a file");
        };
        let spans = format!("learner:{FIRST}:65536\n");
        let home = self.path("home").display().to_string();
        let passwd = format!("root:x:0:0::/root:/bin/sh\nlearner:x:{USER}:{USER}::{home}:/bin/sh\n");
        for (name, text) in [
            ("passwd", passwd),
            ("group", format!("root:x:0:\nlearner:x:{USER}:\n")),
            ("subuid", spans.clone()),
            ("subgid", spans),
        ] {
            fs::write(self.path(name), text).expect("our own folder");
            cover(&self.path(name), &Path::new("/etc").join(name));
        }
        let tun = self.path("tun");
        testbed::stdout(Command::new("mknod").args(["-m", "666"]).arg(&tun).args(["c", "10", "200"]));
        cover(&tun, Path::new("/dev/net/tun"));
    }

    /// A command of the user's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("mini-docker"));
        command.args(arguments).current_dir(self.path("home")).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.path("home"));
        command.env("XDG_RUNTIME_DIR", self.path("run")).uid(USER).gid(USER);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// Runs a command that must succeed; its standard output without the last line end.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}\n{error}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must fail; its exit code and standard error.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{} {}", output.status.code().expect("it was not killed"), error.trim_end_matches('\n'))
    }

    /// Runs `line` in a container; what it prints.
    fn sh(&self, options: &[&str], line: &str) -> String {
        self.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
    }

    /// The user's processes.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
            let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
            let run = self.path("run").display().to_string();
            if String::from_utf8_lossy(&environ).contains(&run) && !status.contains("State:\tZ") {
                found.extend(status.lines().next().map(str::to_owned));
            }
        }
        found
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let ids = self.ok(&["ps", "--all", "--quiet"]);
        let mut remove = vec!["rm", "--force", "--volumes"];
        remove.extend(ids.lines());
        if remove.len() > 3 {
            self.ok(&remove);
        }
        if !std::thread::panicking() {
            until("nothing of the user's runs", || self.processes().is_empty());
        }
    }
}

#[test]
fn an_ordinary_user_is_root_of_containers() {
    let user = User::new();
    let seen = user.sh(
        &[],
        "id -u; cat /proc/self/uid_map | awk '{print $1, $2, $3}'; stat -c %u /bin/busybox; touch /mine && stat -c %u /mine; \
         grep -E '^(CapEff|Seccomp):' /proc/self/status; echo x > /dev/null && hostname | wc -c",
    );
    assert_eq!(seen, "0\n0 4242 1\n1 300000 65536\n0\n0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n13",);
    assert!(user.ok(&["run", "--rm", "hello"]).contains("id map        2 ranges"));
    assert_eq!(
        user.sh(&["-u", "user", "--init", "--read-only"], "id -u; touch /x 2>&1; true"),
        "1000\ntouch: /x: Read-only file system"
    );
    // Everything lies in the user's own folders, and is the user's.
    let data = user.path("home/.local/share/mini-docker");
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).expect("a file"));
    assert_eq!(owner(&data.join("images")), USER);
}

#[test]
fn the_commands_work_as_ever() {
    let user = User::new();
    user.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "echo up; touch /data/x; exec sleep 1000",
    ]);
    until("it has said so", || user.ok(&["logs", "web"]) == "up");
    assert_eq!(user.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "web running");
    assert_eq!(user.sh(&["-v", "data:/data"], "ls /data"), "x");
    assert_eq!(
        user.sh(
            &["--pid", "container:web", "--network", "container:web"],
            "ps -o args | grep -c '^sleep 1000'"
        ),
        "1"
    );
    user.ok(&["stop", "-t", "1", "web"]);
    assert_eq!(user.ok(&["ps", "-a", "--format", "{{.State}}"]), "exited");
    assert_eq!(user.run(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).status.code(), Some(7));
    user.ok(&["rm", "web"]);
    user.ok(&["rmi", "busybox"]);
    assert_eq!(user.ok(&["images", "-q"]), "");
}

#[test]
fn ports_and_names_reach_a_users_containers() {
    let user = User::new();
    user.ok(&["network", "create", "back"]);
    user.ok(&[
        "run",
        "-d",
        "--name",
        "db",
        "--network",
        "back",
        "-p",
        "8080:80",
        "busybox",
        "nc",
        "-ll",
        "-p",
        "80",
        "-e",
        "echo",
        "here",
    ]);
    // Through slirp4netns and the user's own firewall.
    until("it answers on the host's port", || hear("127.0.0.1:8080") == "here");
    assert_eq!(user.sh(&["--network", "back"], "nc -w 2 db 80"), "here");
    assert_eq!(user.ok(&["port", "db"]), "80/tcp -> 0.0.0.0:8080");
    user.ok(&["rm", "-f", "db"]);
    assert_eq!(hear("127.0.0.1:8080"), "(connection refused)");
    // A port of the host's that somebody has.
    let _listener = TcpListener::bind("0.0.0.0:8081").unwrap();
    let refused = user.fails(&["run", "--rm", "-p", "8081:80", "busybox", "true"]);
    assert!(refused.contains("Bind for 0.0.0.0:8081 failed: port is already allocated"), "{refused}");
    // Nothing on the host but what slirp4netns listened on.
    let links = testbed::stdout(Command::new("ip").args(["-o", "link"]));
    assert_eq!(links.lines().count(), 1, "{links}");
}

#[test]
fn a_limit_that_cannot_be_set_is_a_warning() {
    let user = User::new();
    let output = user.run(&["run", "--rm", "-m", "64m", "busybox", "true"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("WARNING: No limit of memory, processors, processes or disks is set"), "{said}");
}

#[test]
fn the_namespaces_end_with_the_last_container() {
    let user = User::new();
    user.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    assert!(user.processes().iter().any(|name| name.contains("md-rootless")), "{:?}", user.processes());
    user.ok(&["rm", "-f", "one"]);
    until("the anchor and slirp4netns have ended", || user.processes().is_empty());
    // And begin again.
    assert_eq!(user.sh(&[], "echo again"), "again");
}

#[test]
fn a_killed_anchor_is_no_end() {
    let user = User::new();
    user.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if name == "md-rootless\n"
            && String::from_utf8_lossy(&environ).contains(&user.path("run").display().to_string())
        {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        }
    }
    until("the anchor has ended", || !user.processes().iter().any(|name| name.contains("md-rootless")));
    assert_eq!(user.sh(&[], "echo on"), "on");
    user.ok(&["rm", "-f", "one"]);
}

#[test]
fn what_a_user_lacks_is_told() {
    let user = User::without_image();
    let output = user.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("09-user-namespace  rootless     ok       this user can be root of containers"),
        "{said}"
    );
    assert!(said.contains("04-overlay-layers  overlayfs    ok"), "{said}");
    assert!(said.contains("06-networking      bridge       ok"), "{said}");
    assert_eq!(
        user.fails(&["--userns-remap", "default", "ps"]),
        "1 Error: --userns-remap is for root: an ordinary user's containers have other ids anyway"
    );
}
