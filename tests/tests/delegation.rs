//! Limits of an ordinary user's containers, in a cgroup that is delegated to the user.
//!
//! They need a host with cgroup v2 and no v1, and are for the virtual machine (`cargo xtask vm`); everywhere else they
//! are ignored, and say so.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::until;
use testbed::user::User;

const ALL: [&str; 3] = ["cpu", "memory", "pids"];

/// The cgroup of a container that runs, and is the only one.
fn cgroup(user: &User) -> PathBuf {
    let id = user.ok(&["ps", "--quiet", "--no-trunc"]);
    user.cgroup().join("mini-docker").join(id)
}

/// The cgroups of containers that there are.
fn left(user: &User) -> usize {
    let all = fs::read_dir(user.cgroup().join("mini-docker")).expect("it was made").flatten();
    all.filter(|entry| entry.path().is_dir()).count()
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).expect("a file of the cgroup's").trim_end().to_owned()
}

#[test]
#[ignore = "needs cgroup v2: cargo xtask vm runs it"]
fn limits_are_those_of_the_containers_cgroup() {
    let user = User::delegated(&ALL);
    let run = ["run", "-d", "-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "busybox", "sleep", "1000"];
    let output = user.run(&run);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    let cgroup = cgroup(&user);
    let files = ["memory.max", "cpu.max", "pids.max"].map(|file| read(&cgroup, file));
    assert_eq!(files, ["67108864", "50000 100000", "20"]);
    // All of it is inside, and it sees this as the root of the tree.
    let processes = read(&cgroup, "cgroup.procs");
    let pid = user.inspect(&user.ok(&["ps", "-q"]), "{{.State.Pid}}");
    assert_eq!(processes, pid);
    // Accounted for, and removed.
    assert!(read(&cgroup, "memory.current").parse::<u64>().unwrap() > 0);
    user.ok(&["rm", "-f", &user.ok(&["ps", "-q"])]);
    until("its cgroup is gone", || !cgroup.exists());
}

#[test]
#[ignore = "needs cgroup v2: cargo xtask vm runs it"]
fn who_takes_too_much_is_killed_or_refused() {
    let user = User::delegated(&ALL);
    // What is written to a tmpfs is memory of who writes it.
    let greedy = ["run", "--name", "greedy", "-m", "32m", "--tmpfs", "/big", "busybox", "sh", "-c"];
    let line = "dd if=/dev/zero of=/big/file bs=1M count=100 & wait $!";
    let output = user.run(&[&greedy[..], &[line]].concat());
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    assert_eq!(user.inspect("greedy", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(left(&user), 0);

    let said = user.run(&[
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6; do sleep 100 & done",
    ]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("can't fork"), "{said:?}");
    until("its cgroup is gone", || left(&user) == 0);
}

#[test]
#[ignore = "needs cgroup v2: cargo xtask vm runs it"]
fn what_is_not_delegated_is_a_warning() {
    let user = User::delegated(&["pids"]);
    let run = ["run", "-d", "-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "busybox", "sleep", "1000"];
    let output = user.run(&run);
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    let [memory, cpu] = lines[..] else { unreachable!("there are two") };
    assert!(
        memory.starts_with("WARNING: No limit of memory is set: the memory controller is not delegated"),
        "{memory}"
    );
    assert!(
        cpu.starts_with("WARNING: No limit of processor time is set: the cpu controller is not"),
        "{cpu}"
    );
    assert!(cpu.contains("Delegate=cpu cpuset io memory pids"), "{cpu}");
    assert_eq!(read(&cgroup(&user), "pids.max"), "20");
}

/// A cgroup with processes cannot be divided: they move one level down.
#[test]
#[ignore = "needs cgroup v2: cargo xtask vm runs it"]
fn the_session_may_be_in_the_delegated_cgroup_itself() {
    let user = User::delegated(&ALL);
    let program = user.program();
    // The shell is the one that is in the way.
    let line = format!(
        "echo $$ > {0}/cgroup.procs; {1} run --rm -m 64m busybox true && {1} run --rm -m 64m busybox true && cat {0}/cgroup.procs | wc -l; cat /proc/self/cgroup",
        user.cgroup().display(),
        program.display()
    );
    let output = testbed::output(&mut user.command_of(Path::new("/bin/sh"), &["-c", &line]));
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        said.starts_with("0\n") && said.trim_end().ends_with("/service/mini-docker-init"),
        "{said}{error}"
    );
    assert_eq!(error, "");
}

/// Whoever finds the shim dead knows where the cgroup is.
#[test]
#[ignore = "needs cgroup v2: cargo xtask vm runs it"]
fn a_killed_shim_leaves_nothing() {
    let user = User::delegated(&ALL);
    user.ok(&["run", "-d", "--name", "one", "-m", "64m", "busybox", "sleep", "1000"]);
    let cgroup = cgroup(&user);
    let shims = user.processes().into_iter().filter(|(name, _)| name == "md-shim");
    for (_, pid) in shims {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("its end is recorded", || {
        user.ok(&["ps", "-a", "--format", "{{.State}}"]) == "exited" && !cgroup.exists()
    });
    assert_eq!(user.inspect("one", "{{.State.ExitCode}}"), "255");
}
