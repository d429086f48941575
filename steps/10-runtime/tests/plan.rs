//! From a config to a plan: pure, and so compared as text, without privileges.

mod common;

use cgroups::Hierarchy;
use runtime::Config;
use runtime::config::Facts;
use serde_json::{Value, json};

/// The facts of a host with one tree of control groups.
fn facts() -> Facts {
    Facts {
        id: "c".to_owned(),
        bundle: "/bundle".into(),
        mountinfo: "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_owned(),
        hierarchy: Some(Hierarchy::V2 {
            root: "/sys/fs/cgroup".into(),
            controllers: ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into(),
        }),
        systemd_cgroup: false,
        descriptors: 0,
        own_keyring: true,
        no_pivot: false,
        user_namespace: None,
    }
}

fn config(changes: &[(&str, Value)]) -> Config {
    let mut config = common::base();
    for (pointer, value) in changes {
        common::set(&mut config, pointer, value.clone());
    }
    Config::parse(&config.to_string()).expect("it has the right shape")
}

#[test]
fn what_a_plain_config_asks_for() {
    insta::assert_debug_snapshot!(config(&[]).plan(&facts()).expect("it is right"));
}

#[test]
fn mounts() {
    let of = |kind: &str, options: &[&str]| {
        let mount = json!({"destination": "/x", "type": kind, "source": "source", "options": options});
        let plan = config(&[("/mounts", json!([mount]))]).plan(&facts());
        match plan {
            Ok(plan) => format!("{kind} {options:?}\n{:#?}\n", plan.root.mounts[0]),
            Err(error) => format!("{kind} {options:?}\n{error}\n"),
        }
    };
    let said = [
        of("tmpfs", &["ro", "nosuid", "strictatime", "mode=755", "tmpcopyup"]),
        of("bind", &["rbind", "ro", "noatime", "rslave"]),
        of("none", &["bind", "rro", "rnosuid", "dev", "nodev", "unbindable"]),
        of("ext4", &["sync", "async", "lazytime", "errors=continue"]),
        of("", &["rbind", "rw"]),
    ];
    insta::assert_snapshot!(said.concat());
}

#[test]
fn resources_of_who_has_no_cgroup() {
    let facts = Facts { hierarchy: None, ..facts() };
    assert!(config(&[]).plan(&facts).is_ok(), "the plain config asks for nothing but rules for devices");
    let said: String = [
        json!({"memory": {"limit": 1 << 20}}),
        json!({"pids": {"limit": 5}}),
        json!({"unified": {"memory.high": "max"}}),
    ]
    .into_iter()
    .map(|resources| match config(&[("/linux/resources", resources)]).plan(&facts) {
        Ok(_) => "it is taken\n".to_owned(),
        Err(error) => format!("{error}\n"),
    })
    .collect();
    insta::assert_snapshot!(said);
}

#[test]
fn resources() {
    let document = json!({
        "memory": {"limit": 1000, "swap": 3000, "reservation": -1},
        "cpu": {"shares": 1024, "quota": -1, "period": 50000, "burst": 5, "cpus": "0-1", "idle": 1},
        "pids": {"limit": -1},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 99}],
            "weightDevice": [{"major": 8, "minor": 0, "weight": 300}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        "devices": [{"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"}],
    });
    let steps = |v2: bool| {
        let (limits, steps) = runtime::config::resources(&document.to_string(), v2).expect("it is right");
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        format!("{limits:#?}\n{}\n", steps.join("\n"))
    };
    insta::assert_snapshot!(format!("v2\n{}\nv1\n{}", steps(true), steps(false)));
}

#[test]
fn where_cgroups_are() {
    let place = |path: &str, systemd_cgroup: bool| {
        let facts = Facts { systemd_cgroup, ..facts() };
        let cgroup = config(&[("/linux/cgroupsPath", json!(path))]).cgroup(&facts);
        match cgroup {
            Ok(cgroup) => format!("{path:?}: {:?}\n", cgroup.expect("there is a tree").path()),
            Err(error) => format!("{path:?}: {error}\n"),
        }
    };
    let said = [
        place("", false),
        place("/a/b", false),
        place("a/b", false),
        place("/", false),
        place("/a/../b", false),
        place("user.slice:libpod:1", true),
        place("a-b.slice:x:1", true),
        place(":x:1", true),
        place("/a/b", true),
    ];
    insta::assert_snapshot!(said.concat());
}
