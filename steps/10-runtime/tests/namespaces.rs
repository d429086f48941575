//! Namespaces that are there already, and a root without `pivot_root`.

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};

use common::{Bench, complaint};
use serde_json::json;

/// A process in namespaces of its own, which ends with the test.
struct Holder(Child);

impl Holder {
    /// `unshare` with these options, and a shell line to run in it that ends in `exec sleep`.
    fn of(options: &[&str], line: &str) -> Self {
        let mut command = Command::new("unshare");
        let child = command.args(options).args(["sh", "-c", line]).stdin(Stdio::null()).spawn();
        let holder = Self(child.expect("unshare is there"));
        let comm = format!("/proc/{}/comm", holder.0.id());
        testbed::until("a namespace", || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n"));
        holder
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }

    fn name(&self, kind: &str) -> String {
        fs::read_link(self.path(kind)).expect("it lives").to_string_lossy().into_owned()
    }

    /// Sets the maps of its user namespace.
    fn map(&self, map: &str) {
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", self.0.id()), map).expect("it lives");
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("our own child");
    }
}

/// Replaces the namespace of a kind by one at a path.
fn join(bench: &mut Bench, kind: &str, path: &str) {
    let all = bench.config["linux"]["namespaces"].as_array_mut().expect("an array");
    all.retain(|namespace| namespace["type"] != kind);
    all.push(json!({"type": kind, "path": path}));
}

#[test]
fn a_user_namespace_that_is_there() {
    let holder = Holder::of(&["--user"], "exec sleep 1000");
    let look =
        "readlink /proc/self/ns/user; id -u; echo $(cat /proc/self/uid_map); stat -c %u /etc; sleep 1000";
    let mut bench = Bench::sh(look);
    join(&mut bench, "user", &holder.path("user"));
    let refused = complaint(&bench.run(&["run", "c"]));
    assert!(refused.ends_with("invalid id map: it has no range (set its maps first)"), "{refused}");
    holder.map("0 100000 65536");
    let output = bench.create(&["--pid-file", "pid"]);
    bench.ok(&["start", "c"]);
    let expected = format!("{}\n0\n0 100000 65536\n65534\n", holder.name("user"));
    testbed::until("its output", || fs::read_to_string(&output).unwrap().lines().count() == 4);
    assert_eq!(fs::read_to_string(&output).unwrap(), expected);
    let pid = fs::read_to_string(bench.bundle().join("pid")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.contains(bench.cgroup()), "{cgroup}");
    assert_eq!(
        bench.ok(&["exec", "c", "readlink", "/proc/self/ns/user"]),
        format!("{}\n", holder.name("user"))
    );
    bench.ok(&["delete", "--force", "c"]);

    // A config may repeat the maps, but not contradict them.
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bench.set("/linux/uidMappings", maps.clone());
    bench.set("/linux/gidMappings", maps);
    bench.set("/process/args", json!(["id", "-u"]));
    assert_eq!(bench.ok(&["run", "c"]), "0\n");
    bench.set("/linux/gidMappings/0/size", json!(1));
    assert_eq!(
        complaint(&bench.run(&["run", "c"])),
        "Error: invalid config: linux.gidMappings: differs from that of the namespace that is joined \
         (0 100000 65536): leave it out"
    );
}

/// The network is one of its own, with a loopback interface that is up, or the host's, as the config has it.
#[test]
fn a_network_of_its_own_or_the_hosts() {
    let mut bench =
        Bench::sh("readlink /proc/self/ns/net; cat /sys/class/net/lo/operstate; ls /sys/class/net");
    let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let own = bench.ok(&["run", "c"]);
    assert!(!own.contains(&host), "{own}");
    // "unknown" is what a loopback interface is when it is up.
    assert!(own.ends_with("\nunknown\nlo\n"), "{own}");
    // The thread that makes it is sent to other processors, and nobody else.
    bench.set("/process/args", json!(["grep", "^Cpus_allowed:", "/proc/self/status"]));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap();
    for _ in 0..20 {
        assert_eq!(bench.ok(&["run", "c"]).trim_end(), allowed);
    }
    bench.set("/process/args", json!(["readlink", "/proc/self/ns/net"]));
    bench.set("/linux/namespaces", json!(["mount", "pid", "uts", "ipc"].map(|kind| json!({"type": kind}))));
    assert_eq!(bench.ok(&["run", "c"]), format!("{host}\n"));
}

/// Root of a user namespace may not mount a sysfs of the host's network; it does not get the host's directory in its place.
#[test]
fn a_kernel_file_system_of_the_hosts_elsewhere() {
    let mut bench = Bench::sh("ls /root");
    fs::create_dir(bench.root.join("root")).unwrap();
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let kinds = ["mount", "pid", "ipc", "uts", "cgroup", "user"].map(|kind| json!({"type": kind}));
    bench.set("/linux/namespaces", json!(kinds));
    bench.set("/linux/uidMappings", maps.clone());
    bench.set("/linux/gidMappings", maps);
    bench.set("/process/args", json!(["true"]));
    bench.ok(&["run", "c"]);
    bench.set("/mounts/-", json!({"destination": "/root", "type": "sysfs", "source": "sysfs"}));
    let refused = complaint(&bench.run(&["run", "c"]));
    assert!(refused.contains("sysfs: EPERM"), "{refused}");
}

#[test]
fn a_mount_namespace_that_is_there() {
    let mut bench = Bench::sh("readlink /proc/self/ns/mnt; cat /x/file; cat /etc/marker");
    // Mounted in that namespace alone.
    let inside = bench.bundle().join("inside");
    fs::create_dir(&inside).unwrap();
    let place = inside.display();
    let line = format!("mount -t tmpfs tmpfs {place} && echo inside > {place}/file && exec sleep 1000");
    let holder = Holder::of(&["--mount"], &line);
    bench.root.write("etc/marker", "from the root\n");
    fs::create_dir(bench.root.join("x")).unwrap();
    bench.set(
        "/mounts/-",
        json!({"destination": "/x", "type": "bind", "source": inside, "options": ["bind"]}),
    );
    join(&mut bench, "mount", &holder.path("mnt"));
    // A path in the command line is the host's, also afterwards.
    let said = bench.ok(&["run", "--pid-file", "pid", "c"]);
    assert_eq!(said, format!("{}\ninside\nfrom the root\n", holder.name("mnt")));
    assert!(bench.bundle().join("pid").exists());
}

#[test]
fn a_root_without_pivot_root() {
    let line =
        "cat /etc/marker; grep -c . /proc/mounts; unshare -Urmpf mount -t proc proc /proc || echo refused";
    let mut bench = Bench::sh(line);
    bench.root.write("etc/marker", "from the root\n");
    // Without this one, nobody may make himself root of a user namespace (capabilities(7)).
    for set in ["bounding", "effective", "permitted"] {
        bench.set(&format!("/process/capabilities/{set}/-"), json!("CAP_SETFCAP"));
    }
    let pivoted: Vec<String> = bench.ok(&["run", "c"]).lines().map(str::to_owned).collect();
    let moved: Vec<String> = bench.ok(&["run", "--no-pivot", "c"]).lines().map(str::to_owned).collect();
    assert_eq!(moved, pivoted);
    assert_eq!((moved[0].as_str(), moved[2].as_str()), ("from the root", "refused"));

    // What is refused there is refused because of what is covered, and of nothing else.
    for list in ["maskedPaths", "readonlyPaths"] {
        bench.set(&format!("/linux/{list}"), json!([]));
    }
    assert!(!bench.ok(&["run", "--no-pivot", "c"]).contains("refused"));

    // Root of a user namespace may not take the host's mounts away.
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bench.set("/linux/namespaces/-", json!({"type": "user"}));
    bench.set("/linux/uidMappings", maps.clone());
    bench.set("/linux/gidMappings", maps);
    bench.set("/process/args", json!(["cat", "/etc/marker", "/proc/self/uid_map"]));
    let said = bench.ok(&["run", "--no-pivot", "c"]);
    assert!(said.starts_with("from the root\n"), "{said}");
}
