//! The engine of an ordinary user, made for each test: the commands, the network and the ports of one who is not root.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use testbed::network::hear;
use testbed::until;
use testbed::user::{USER, User};

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
        "touch /data/x; echo up; exec sleep 1000",
    ]);
    until("it has said so", || user.ok(&["logs", "web"]) == "up");
    assert_eq!(user.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "web running");
    assert_eq!(user.sh(&["-v", "data:/data"], "ls /data"), "x");
    let name = format!("/proc/{}/comm", user.inspect("web", "{{.State.Pid}}"));
    until("the shell has become sleep", || fs::read_to_string(&name).unwrap() == "sleep\n");
    let seen = user.sh(&["--pid", "container:web", "--network", "container:web"], "ps -o pid,ppid,args");
    // The other container's processes, and none of the host's: the heading, that one's, and who looks.
    assert!(seen.lines().count() == 3 && seen.contains(" sleep 1000\n"), "{seen}");
    user.ok(&["stop", "-t", "1", "web"]);
    assert_eq!(user.ok(&["ps", "-a", "--format", "{{.State}}"]), "exited");
    assert_eq!(user.run(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).status.code(), Some(7));
    user.ok(&["rm", "web"]);
    user.ok(&["rmi", "busybox"]);
    assert_eq!(user.ok(&["images", "-q"]), "");
}

/// The check goes to the container it is for, though another's process 1 is process 1 there.
#[test]
fn health_among_anothers_processes() {
    let user = User::new();
    user.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    let line = "touch /mark; exec sleep 1000";
    let check = ["--health-cmd", "test -e /mark && ls -d /proc/$$", "--health-interval", "100ms"];
    let run = ["run", "-d", "--name", "second", "--pid", "container:first"];
    user.ok(&[&run[..], &check, &["busybox", "sh", "-c", line]].concat());
    until("it is well", || user.inspect("second", "{{.State.Health.Status}}") == "healthy");
    user.ok(&["rm", "-f", "second", "first"]);
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
fn a_user_without_subordinate_ids_is_root_alone() {
    let user = User::without_ids();
    let line = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; cat /proc/self/setgroups; sleep 1000";
    let output = user.run(&["run", "-d", "--name", "one", "busybox", "sh", "-c", line]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let warning = "WARNING: containers have no user but root: /etc/subuid gives no ids to learner";
    assert!(said.starts_with(warning), "{said}");
    until("it is up", || user.ok(&["logs", "one"]) == "0\n0 4242 1\ndeny");
    // Told once, by who makes the namespace; the next one finds it made.
    let output = user.run(&["run", "--rm", "busybox", "touch", "/mine"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    // The image's other users are nobody that this user could be.
    let refused = user.fails(&["run", "--rm", "-u", "user", "busybox", "id"]);
    assert!(refused.starts_with("125 Error: cannot run as user 1000: EINVAL: "), "{refused}");
}

/// Who looks at a list does not want to hear that nothing leads outside; who connects a container does.
#[test]
fn what_cannot_reach_the_outside_is_told_where_it_matters() {
    let user = User::new();
    // What sets maps is there, and nothing that connects.
    let programs = user.path("programs");
    fs::create_dir(&programs).expect("our own folder");
    for name in ["newuidmap", "newgidmap"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), programs.join(name))
            .expect("a new name");
    }
    let said = |arguments: &[&str]| {
        let output = user.command(arguments).env("PATH", &programs).output().expect("the engine runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said(&["ps"]), "");
    assert_eq!(said(&["run", "--rm", "--network", "none", "busybox", "true"]), "");
    let warning = "WARNING: containers cannot reach the outside: slirp4netns is not installed (package slirp4netns) \
                   (this is tried again when no container runs)\n";
    assert_eq!(said(&["run", "--rm", "busybox", "true"]), warning);
    // Installed now, and begun again.
    until("the anchor has ended", || user.processes().is_empty());
    let output = user.run(&["run", "--rm", "busybox", "true"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_namespaces_end_with_the_last_container() {
    let user = User::new();
    user.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    assert!(user.processes().iter().any(|(name, _)| name == "md-rootless"), "{:?}", user.processes());
    user.ok(&["rm", "-f", "one"]);
    until("the anchor and slirp4netns have ended", || user.processes().is_empty());
    // And begin again.
    assert_eq!(user.sh(&[], "echo again"), "again");
}

#[test]
fn a_killed_anchor_is_no_end() {
    let user = User::new();
    user.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    for (_, pid) in user.processes().into_iter().filter(|(name, _)| name == "md-rootless") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("the anchor has ended", || !user.processes().iter().any(|(name, _)| name == "md-rootless"));
    assert_eq!(user.sh(&[], "echo on"), "on");
    user.ok(&["rm", "-f", "one"]);
}

#[test]
fn what_a_user_lacks_is_told() {
    let user = User::without_image();
    let output = user.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<String> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "09-user-namespace rootless ok this user can be root of containers",
        "04-overlay-layers overlayfs ok a writable overlay",
        "06-networking bridge ok a bridge, and a firewall with its rules",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{said}");
    }
    assert_eq!(
        user.fails(&["--userns-remap", "default", "ps"]),
        "1 Error: --userns-remap is for root: an ordinary user's containers have other ids anyway"
    );
}

#[test]
fn files_come_and_go_as_ever() {
    let user = User::new();
    let line = "mkdir /data; echo mine > /data/x; chown 1000:1000 /data/x /data; rm /etc/group; echo up; exec sleep 1000";
    user.ok(&["run", "-d", "--name", "box", "-v", "/vol", "busybox", "sh", "-c", line]);
    until("it has said so", || user.ok(&["logs", "box"]) == "up");
    let changed = user.ok(&["diff", "box"]);
    assert_eq!(changed, "A /data\nA /data/x\nC /etc\nD /etc/group\nA /vol");
    user.ok(&["commit", "box", "made"]);
    // A volume is filled with what belongs to others than root, too.
    let seen = user.ok(&["run", "--rm", "-v", "named:/data", "made", "stat", "-c", "%u", "/data", "/data/x"]);
    assert_eq!(seen, "1000\n1000");
    for state in ["running", "stopped"] {
        user.ok(&["cp", "box:/data/x", "back"]);
        user.ok(&["cp", "back", "box:/vol/y"]);
        user.ok(&["cp", "back", "box:/z"]);
        user.ok(&["cp", "box:/z", "back"]);
        user.ok(&["export", "-o", "all.tar", "box"]);
        if state == "running" {
            user.ok(&["kill", "box"]);
        }
    }
    // Relative paths are those of whoever calls.
    user.ok(&["import", "all.tar", "again"]);
    assert_eq!(user.ok(&["run", "--rm", "-v", "./back:/back", "again", "cat", "/back"]), "mine");
    let look = "ls /z; stat -c %u /data/x; cat /data/x";
    assert_eq!(user.ok(&["run", "--rm", "again", "sh", "-c", look]), "/z\n1000\nmine");
    user.ok(&["system", "df", "-v"]);
    user.ok(&["container", "prune", "-f"]);
    assert!(user.ok(&["system", "prune", "-a", "-f", "--volumes"]).contains("untagged: made:latest"));
    assert_eq!(user.ok(&["volume", "ls", "-q"]), "named");
    user.ok(&["volume", "rm", "named"]);
}
