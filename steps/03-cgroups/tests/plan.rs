//! What each limit becomes on v1 and on v2: no privileges needed.

use std::collections::{BTreeMap, BTreeSet};

use cgroups::{DeviceRule, Hierarchy, IoLimit, Limits, Swap, plan};

const MIB: u64 = 1024 * 1024;

fn v1() -> Hierarchy {
    let names = ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"];
    let controllers: BTreeMap<_, _> =
        names.iter().map(|name| ((*name).to_owned(), format!("/sys/fs/cgroup/{name}").into())).collect();
    Hierarchy::V1 { controllers }
}

fn v2(names: &[&str]) -> Hierarchy {
    let controllers: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy::V2 { root: "/sys/fs/cgroup".into(), controllers }
}

fn show(limits: &Limits, hierarchy: &Hierarchy) -> String {
    match plan(limits, hierarchy) {
        Ok(steps) => steps.iter().map(|step| format!("{step}\n")).collect(),
        Err(error) => error.to_string(),
    }
}

fn both(limits: &Limits) -> String {
    let v2 = v2(&["cpu", "cpuset", "io", "memory", "pids"]);
    format!("v1:\n{}\nv2:\n{}", show(limits, &v1()), show(limits, &v2))
}

#[test]
fn memory() {
    let limits = Limits { memory: Some(64 * MIB), memory_reservation: Some(32 * MIB), ..Limits::default() };
    insta::assert_snapshot!("memory", both(&limits));
    let swap =
        Limits { memory: Some(64 * MIB), memory_swap: Some(Swap::Total(80 * MIB)), ..Limits::default() };
    insta::assert_snapshot!("memory-and-swap", both(&swap));
    let unlimited =
        Limits { memory: Some(64 * MIB), memory_swap: Some(Swap::Unlimited), ..Limits::default() };
    insta::assert_snapshot!("unlimited-swap", both(&unlimited));
    let v1_only = Limits { swappiness: Some(10), oom_kill_disable: true, ..Limits::default() };
    insta::assert_snapshot!("v1-only", both(&v1_only));
}

#[test]
fn processors_and_processes() {
    let limits = Limits {
        nano_cpus: Some(1_500_000_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0-1,3".into()),
        cpuset_mems: Some("0".into()),
        pids: Some(20),
        ..Limits::default()
    };
    insta::assert_snapshot!("processors", both(&limits));
    let quota =
        Limits { cpu_quota: Some(5000), cpu_period: Some(10_000), pids: Some(-1), ..Limits::default() };
    insta::assert_snapshot!("quota", both(&quota));
}

#[test]
fn shares_become_weights_on_a_curve() {
    let weight = |shares| show(&Limits { cpu_shares: Some(shares), ..Limits::default() }, &v2(&["cpu"]));
    // Exact at the lowest, the default and the highest value; between them the curve, rounded up.
    for (shares, expected) in [
        (0, 1),
        (2, 1),
        (3, 2),
        (32, 8),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (5120, 363),
        (262_144, 10_000),
        (1 << 20, 10_000),
    ] {
        assert_eq!(weight(shares), format!("cpu.weight = {expected}\n"), "{shares} shares");
    }
}

#[test]
fn disks() {
    let limits = Limits {
        io: vec![
            IoLimit { device: (8, 0), read_bps: Some(MIB), write_iops: Some(50), ..IoLimit::default() },
            IoLimit { device: (259, 1), write_bps: Some(2 * MIB), read_iops: Some(9), ..IoLimit::default() },
        ],
        io_weight: Some(500),
        ..Limits::default()
    };
    insta::assert_snapshot!("disks", both(&limits));
}

#[test]
fn devices() {
    let devices =
        vec!["c 1:3 rwm".parse().unwrap(), DeviceRule { allow: false, ..("b 8:* rw".parse().unwrap()) }];
    insta::assert_snapshot!("devices", both(&Limits { devices, ..Limits::default() }));
    insta::assert_snapshot!(
        "all-devices",
        both(&Limits { devices: vec![DeviceRule::ALL], ..Limits::default() })
    );
    let rules: Vec<_> = DeviceRule::defaults().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("default-devices", rules.join("\n"));
}

#[test]
fn nothing_asked_is_nothing_done() {
    assert_eq!(plan(&Limits::default(), &v2(&[])), Ok(vec![]));
    assert_eq!(plan(&Limits::default(), &Hierarchy::V1 { controllers: BTreeMap::new() }), Ok(vec![]));
}

#[test]
fn impossible_limits_are_named() {
    let default = Limits::default;
    let limits = [
        Limits { memory: Some(MIB), ..default() },
        Limits { memory_reservation: Some(MIB), ..default() },
        Limits { memory: Some(8 * MIB), memory_reservation: Some(9 * MIB), ..default() },
        Limits { memory_swap: Some(Swap::Total(8 * MIB)), ..default() },
        Limits { memory: Some(8 * MIB), memory_swap: Some(Swap::Total(7 * MIB)), ..default() },
        Limits { swappiness: Some(101), ..default() },
        Limits { nano_cpus: Some(1_000_000_000), cpu_quota: Some(5000), ..default() },
        Limits { nano_cpus: Some(1), ..default() },
        Limits { cpu_period: Some(999), ..default() },
        Limits { cpu_quota: Some(999), ..default() },
        Limits { cpuset_cpus: Some("0-".into()), ..default() },
        Limits { cpuset_mems: Some("0\n1".into()), ..default() },
        Limits { io_weight: Some(9), ..default() },
    ];
    let errors: Vec<_> = limits.iter().map(|limits| show(limits, &v1())).collect();
    insta::assert_snapshot!("invalid", errors.join("\n"));
}

#[test]
fn what_the_host_lacks_is_named() {
    let default = Limits::default;
    let limits = [
        Limits { memory: Some(8 * MIB), ..default() },
        Limits { nano_cpus: Some(1_000_000_000), ..default() },
        Limits { cpuset_cpus: Some("0".into()), ..default() },
        Limits { pids: Some(1), ..default() },
        Limits { io_weight: Some(10), ..default() },
        Limits { oom_kill_disable: true, ..default() },
        Limits { swappiness: Some(1), ..default() },
    ];
    let errors: Vec<_> = limits.iter().map(|limits| show(limits, &v2(&[]))).collect();
    insta::assert_snapshot!("unavailable", errors.join("\n"));
    for rule in ["x 1:1 r", "c 1 r", "c 1:1 x", "c a:1 r", "c 1:1", "c 1:1 r w"] {
        assert!(rule.parse::<DeviceRule>().is_err(), "{rule}");
    }
}
