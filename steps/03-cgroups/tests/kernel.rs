//! Limits as the kernel enforces them, on whichever hierarchy this host has. To be run as root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, DeviceRule, Error, Hierarchy, IoLimit, Limits, Swap};
use nix::unistd::Pid;

const MIB: u64 = 1024 * 1024;

/// A cgroup in a parent of its own, which is gone when the test is over, however it ends.
struct Group {
    hierarchy: Hierarchy,
    parent: String,
    cgroup: Cgroup,
}

impl Group {
    fn new(name: &str) -> Self {
        let hierarchy = Hierarchy::detect().unwrap();
        let parent = format!("mini-docker-test-{}-{name}", std::process::id());
        let cgroup = Cgroup::create(&hierarchy, &parent, name).unwrap();
        Self { hierarchy, parent, cgroup }
    }

    /// Starts a shell script inside; nothing of it runs before it is.
    fn start(&self, script: &str) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go\n{script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.cgroup.add(pid(&child)).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    fn run(&self, script: &str) -> Output {
        self.start(script).wait_with_output().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.cgroup.kill().unwrap();
        Cgroup::open(&self.hierarchy, "", &self.parent).unwrap().unwrap().remove().unwrap();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Whether a test must be left out, which is said aloud, or not allowed at all.
fn skip(needed: bool, reason: &str) -> bool {
    if needed {
        return false;
    }
    assert!(std::env::var_os("MINI_DOCKER_NO_SKIP").is_none(), "skipping is not allowed here: {reason}");
    // Not `eprintln!`: the test harness swallows what that says.
    std::io::stderr().write_all(format!("SKIP: {reason}\n").as_bytes()).unwrap();
    true
}

fn has(hierarchy: &Hierarchy, v1: &str, v2: &str) -> bool {
    match hierarchy {
        Hierarchy::V1 { controllers } => controllers.contains_key(v1),
        Hierarchy::V2 { controllers, .. } => controllers.contains(v2),
    }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whoever waits for more of it would be woken for ever.
#[test]
fn a_watch_on_memory_ends_with_its_cgroup() {
    let group = Group::new("watch");
    if skip(has(&group.hierarchy, "memory", "memory"), "no memory controller") {
        return;
    }
    let mut watch = group.cgroup.watch_memory().unwrap().unwrap();
    assert!(!watch.hear().unwrap());
    group.cgroup.remove().unwrap();
    if group.hierarchy.is_v2() {
        let error = watch.hear().unwrap_err().to_string();
        assert!(error.contains("ENODEV"), "{error}");
    } else {
        // Told once, by the kernel's own taking leave.
        watch.hear().unwrap();
        assert!(!watch.hear().unwrap());
    }
}

#[test]
fn too_much_memory_is_killed() {
    let group = Group::new("memory");
    if skip(has(&group.hierarchy, "memory", "memory"), "no memory controller") {
        return;
    }
    let memory_swap = Some(Swap::Total(16 * MIB));
    group.cgroup.apply(&Limits { memory: Some(16 * MIB), memory_swap, ..Limits::default() }).unwrap();
    assert_eq!(group.cgroup.oom_kills().unwrap(), 0);
    let output = group.run("exec tail /dev/zero");
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    assert!(group.cgroup.oom_kills().unwrap() > 0);
    let memory = group.cgroup.stats().unwrap().memory.unwrap();
    assert_eq!(memory.limit, Some(16 * MIB));
    assert!(memory.peak.is_none_or(|peak| peak > 8 * MIB && peak <= 16 * MIB), "{memory:?}");
    assert!(memory.oom_kills > 0 && memory.working_set() <= memory.usage);
    // Limits can be raised and lowered later, in any order.
    for memory in [64 * MIB, 8 * MIB] {
        group.cgroup.apply(&Limits { memory: Some(memory), ..Limits::default() }).unwrap();
        assert_eq!(group.cgroup.stats().unwrap().memory.unwrap().limit, Some(memory));
    }
}

#[test]
fn too_many_processes_are_refused() {
    let group = Group::new("pids");
    if skip(has(&group.hierarchy, "pids", "pids"), "no pids controller") {
        return;
    }
    group.cgroup.apply(&Limits { pids: Some(4), ..Limits::default() }).unwrap();
    // A shell that cannot fork gives up, so an inner one does it, and the outer one is still there to be killed.
    let mut child = group.start("(for i in 1 2 3 4; do sleep 60 & done); sleep 60");
    assert_eq!(group.cgroup.stats().unwrap().pids.unwrap().limit, Some(4));
    let mut complaint = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut complaint).unwrap();
    assert!(complaint.contains("fork"), "{complaint:?}");
    assert!(group.cgroup.stats().unwrap().pids.unwrap().current <= 4);
    group.cgroup.kill().unwrap();
    child.wait().unwrap();
    group.cgroup.apply(&Limits { pids: Some(0), ..Limits::default() }).unwrap();
    assert_eq!(group.cgroup.stats().unwrap().pids.unwrap().limit, None);
}

#[test]
fn a_spinner_is_throttled() {
    let group = Group::new("cpu");
    if skip(has(&group.hierarchy, "cpu", "cpu"), "no cpu controller") {
        return;
    }
    let limits = Limits { nano_cpus: Some(100_000_000), cpu_shares: Some(2), ..Limits::default() };
    // After the process: on v1 the tree of `cpu` is only made now, and the process must get into it.
    let mut child = group.start("while :; do :; done");
    group.cgroup.apply(&limits).unwrap();
    eventually("throttling", || group.cgroup.stats().unwrap().cpu.unwrap().throttled_periods > 2);
    let cpu = group.cgroup.stats().unwrap().cpu.unwrap();
    assert!(cpu.usage_ns > 0 && cpu.throttled_ns > 0 && cpu.periods >= cpu.throttled_periods, "{cpu:?}");
    group.cgroup.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn processes_stay_on_their_processor() {
    let group = Group::new("cpuset");
    if skip(has(&group.hierarchy, "cpuset", "cpuset"), "no cpuset controller") {
        return;
    }
    group.cgroup.apply(&Limits { cpuset_cpus: Some("0".into()), ..Limits::default() }).unwrap();
    let output = group.run("grep Cpus_allowed_list /proc/self/status");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "Cpus_allowed_list:\t0");
    let limits = Limits { cpuset_cpus: Some("9999".into()), ..Limits::default() };
    let error = group.cgroup.apply(&limits).unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains("cpuset.cpus") && !error.contains('\n'), "{error}");
}

#[test]
fn only_the_devices_of_the_rules() {
    let group = Group::new("devices");
    if let Hierarchy::V1 { controllers } = &group.hierarchy
        && skip(controllers.contains_key("devices"), "no devices controller")
    {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let try_all = format!(
        "cd {}; (: >/dev/null) && echo null; (head -c 1 /dev/zero >full) && echo zero; mknod c c 9 9 && echo mknod; rm -f c full",
        directory.path().display()
    );
    let allowed = |devices: Vec<DeviceRule>| {
        group.cgroup.apply(&Limits { devices, ..Limits::default() }).unwrap();
        let output = group.run(&try_all);
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let null = "c 1:3 rwm".parse().unwrap();
    let (done, complaints) = allowed(vec![null]);
    assert_eq!(done, "null\n");
    assert_eq!(complaints.matches("not permitted").count(), 2, "{complaints}");
    // Again and differently: the old rules are gone.
    assert_eq!(allowed(DeviceRule::defaults()).0, "null\nzero\nmknod\n");
    assert_eq!(allowed(vec![null]).0, "null\n");
    assert_eq!(allowed(vec![DeviceRule::ALL]).0, "null\nzero\nmknod\n");
}

#[test]
fn a_disk_is_slowed_down() {
    let group = Group::new("io");
    let disk = fs::read_dir("/sys/block").ok().and_then(|entries| {
        entries.filter_map(|entry| IoLimit::on(&Path::new("/dev").join(entry.ok()?.file_name())).ok()).find(
            |disk| {
                // Only a disk with a medium can be limited.
                let (major, minor) = disk.device;
                let size =
                    fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/size")).unwrap_or_default();
                size.trim() != "0"
            },
        )
    });
    let possible = has(&group.hierarchy, "blkio", "io") && disk.is_some();
    if skip(possible, "no block device, or no controller for them") {
        return;
    }
    let limit = IoLimit { write_bps: Some(MIB), read_iops: Some(100), ..disk.unwrap() };
    group.cgroup.apply(&Limits { io: vec![limit], ..Limits::default() }).unwrap();
    let (major, minor) = limit.device;
    let path = format!("{}/io", group.parent);
    let shown = match &group.hierarchy {
        Hierarchy::V2 { root, .. } => fs::read_to_string(root.join(path).join("io.max")).unwrap(),
        Hierarchy::V1 { controllers } => {
            let directory = controllers["blkio"].join(path);
            ["write_bps", "read_iops"]
                .map(|name| {
                    fs::read_to_string(directory.join(format!("blkio.throttle.{name}_device"))).unwrap()
                })
                .concat()
        }
    };
    let expected = match &group.hierarchy {
        Hierarchy::V2 { .. } => format!("{major}:{minor} rbps=max wbps=1048576 riops=100 wiops=max\n"),
        Hierarchy::V1 { .. } => format!("{major}:{minor} 1048576\n{major}:{minor} 100\n"),
    };
    assert_eq!(shown, expected);
    assert!(IoLimit::on(Path::new("/dev/null")).unwrap_err().to_string().contains("not a block device"));
    assert!(IoLimit::on(Path::new("/dev/missing")).unwrap_err().to_string().contains("ENOENT"));
}

#[test]
fn frozen_is_frozen() {
    let group = Group::new("freeze");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ticks");
    let mut child = group.start(&format!("while :; do echo >>{}; done", file.display()));
    let ticks = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    eventually("the process runs", || ticks() > 0);
    assert!(!group.cgroup.frozen().unwrap());
    for _ in 0..3 {
        group.cgroup.freeze().unwrap();
        assert!(group.cgroup.frozen().unwrap());
        let before = ticks();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ticks(), before);
        group.cgroup.thaw().unwrap();
        assert!(!group.cgroup.frozen().unwrap());
        eventually("it goes on", || ticks() > before);
    }
    // A frozen cgroup can be killed.
    group.cgroup.freeze().unwrap();
    group.cgroup.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn killed_are_all_even_below() {
    let group = Group::new("kill");
    // A cgroup below, as a program inside may make one. (`Cgroup::create` would switch controllers on for it, and then
    // v2 suffers no process in the one above.)
    let roots: Vec<_> = match &group.hierarchy {
        Hierarchy::V2 { root, .. } => vec![root.clone()],
        Hierarchy::V1 { controllers } => controllers.values().cloned().collect(),
    };
    let above: Vec<_> = roots.iter().map(|root| root.join(&group.parent).join("kill")).collect();
    above.iter().filter(|path| path.exists()).for_each(|path| fs::create_dir(path.join("deep")).unwrap());
    let nested = Cgroup::open(&group.hierarchy, &format!("{}/kill", group.parent), "deep").unwrap().unwrap();
    // It ignores what it can, and forks as fast as it is killed.
    let mut shell = group.start("trap '' TERM INT HUP; while :; do sleep 60 & sleep 0.01; done");
    let mut below = Command::new("sleep").arg("60").spawn().unwrap();
    nested.add(pid(&below)).unwrap();
    eventually("several processes", || group.cgroup.processes().unwrap().len() > 5);
    assert_eq!(nested.processes().unwrap(), [pid(&below)]);
    assert!(group.cgroup.remove().unwrap_err().to_string().contains("kill them first"));
    group.cgroup.kill().unwrap();
    assert_eq!(group.cgroup.processes().unwrap(), []);
    assert_eq!((shell.wait().unwrap().signal(), below.wait().unwrap().signal()), (Some(9), Some(9)));
    group.cgroup.remove().unwrap();
    assert!(Cgroup::open(&group.hierarchy, &group.parent, "kill").unwrap().is_none());
    // Gone is gone: nothing is left to kill or remove, and that is fine.
    group.cgroup.kill().unwrap();
    group.cgroup.remove().unwrap();
    assert_eq!(group.cgroup.stats().unwrap().memory, None);
}

#[test]
fn leftovers_are_found() {
    let group = Group::new("crashed");
    assert_eq!(Cgroup::list(&group.hierarchy, &group.parent).unwrap(), ["crashed"]);
    let again = Cgroup::open(&group.hierarchy, &group.parent, "crashed").unwrap().unwrap();
    let mut child = group.start("sleep 60");
    again.kill().unwrap();
    child.wait().unwrap();
    again.remove().unwrap();
    assert_eq!(Cgroup::list(&group.hierarchy, &group.parent).unwrap(), [""; 0]);
    assert_eq!(Cgroup::list(&group.hierarchy, "no/such/parent").unwrap(), [""; 0]);
    for (parent, name) in [("a/../..", "x"), ("a", ".."), ("a", ""), ("a", "b/c")] {
        assert!(
            matches!(Cgroup::create(&group.hierarchy, parent, name), Err(Error::Name { .. })),
            "{parent} {name}"
        );
    }
}

#[test]
fn a_process_begins_inside() {
    let group = Group::new("begin");
    let Some(directory) = group.cgroup.directory().unwrap() else {
        assert!(!group.hierarchy.is_v2());
        return;
    };
    let path =
        fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory))).unwrap();
    assert!(path.ends_with(format!("{}/begin", group.parent)), "{path:?}");
    let pressure = group.cgroup.stats().unwrap().pressure;
    assert!(pressure.cpu.is_some() || !Path::new("/proc/pressure").exists());
}

/// As in a container or a systemd scope: the root that we see has processes in it, perhaps us.
#[test]
fn a_root_with_processes_is_cleared() {
    let group = Group::new("root");
    let Hierarchy::V2 { root, controllers } = &group.hierarchy else { return };
    let mut child = group.start("sleep 60");
    let here =
        Hierarchy::V2 { root: root.join(&group.parent).join("root"), controllers: controllers.clone() };
    let inner = Cgroup::create(&here, "mini-docker", "inner").unwrap();
    let leaf = Cgroup::open(&here, "", "mini-docker-init").unwrap().unwrap();
    assert_eq!(leaf.processes().unwrap(), [pid(&child)], "it moved one level down");
    inner.apply(&Limits { pids: Some(7), ..Limits::default() }).unwrap();
    assert_eq!(inner.stats().unwrap().pids.unwrap().limit, Some(7));
    // Elsewhere nobody is moved: who asked for that parent is told.
    let error = Cgroup::create(&here, "mini-docker-init", "x").unwrap_err().to_string();
    assert!(error.contains("EBUSY") && error.contains("choose another --cgroup-parent"), "{error}");
    leaf.kill().unwrap();
    child.wait().unwrap();
}

/// The step's program, from outside: limits hold, the bill is printed, nothing stays.
#[test]
fn the_program() {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let program = option_env!("CARGO_BIN_EXE_cgroups").filter(|path| Path::new(path).exists());
    if skip(
        busybox.is_some() && program.is_some(),
        "no static busybox, or no cgroups program beside this test",
    ) {
        return;
    }
    let (busybox, program) = (busybox.unwrap(), program.unwrap());
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    for name in ["sh", "tail", "cat", "sleep"] {
        testbed::programs::copy(busybox, root.path().join("bin").join(name));
    }
    let parent = format!("mini-docker-test-program-{}", std::process::id());
    let run = |options: &[&str], script: &str| {
        let mut command = Command::new(program);
        command
            .args(["--cgroup-parent", &parent])
            .args(options)
            .arg(root.path())
            .args(["/bin/sh", "-c", script]);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, out, bill) =
        run(&["-m", "64m", "--cpus", "0.5", "--pids-limit", "20"], "cat /proc/self/cgroup; exit 7");
    assert_eq!(code, Some(7), "{bill}");
    let own: Vec<_> = out.lines().filter(|line| line.contains(":pids:") || line.starts_with("0::")).collect();
    assert!(own.iter().any(|line| line.ends_with(":/")), "the namespace's root is its own cgroup: {out}");
    assert!(bill.contains("cpu ") && bill.contains("memory "), "{bill}");
    let (code, _, bill) = run(&["-m", "16m"], "tail /dev/zero; exit 3");
    assert!(bill.contains("killed because memory ran out: 1"), "{code:?} {bill}");
    let (code, _, error) = run(&["-m", "1m"], "true");
    assert_eq!(
        (code, error.as_str()),
        (Some(125), "cgroups: invalid limit: minimum memory limit allowed is 6MB\n")
    );
    let hierarchy = Hierarchy::detect().unwrap();
    assert_eq!(Cgroup::list(&hierarchy, &parent).unwrap(), [""; 0]);
    Cgroup::open(&hierarchy, "", &parent).unwrap().unwrap().remove().unwrap();
    let mut rest = String::new();
    fs::File::open("/proc/self/mountinfo").unwrap().read_to_string(&mut rest).unwrap();
    assert!(!rest.contains(root.path().to_str().unwrap()));
}
