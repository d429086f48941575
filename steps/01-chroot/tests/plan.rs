//! The plan is plain data: these tests need no privileges.

use chroot::Plan;

fn printed(mountinfo: &str) -> String {
    Plan::container(mountinfo).mounts.iter().map(|mount| format!("{mount}\n")).collect()
}

#[test]
fn a_host_with_cgroup_v2() {
    insta::assert_snapshot!(printed(
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    ));
}

#[test]
fn a_hybrid_host_shows_each_hierarchy() {
    let mountinfo = "\
        30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
        31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n\
        35 24 0:31 / /home rw - ext4 /dev/sda1 rw\n";
    insta::assert_snapshot!(printed(mountinfo));
}

#[test]
fn a_host_without_cgroups() {
    assert!(!printed("35 24 0:31 / /home rw - ext4 /dev/sda1 rw\n").contains("cgroup"));
}

#[test]
fn a_plan_of_which_nobody_reads_the_end() {
    let line = format!("{} --dry-run / true | head -1", env!("CARGO_BIN_EXE_chroot"));
    let output = testbed::output(std::process::Command::new("sh").args(["-c", &line]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Plan {\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
